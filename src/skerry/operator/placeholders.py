"""Placeholders in a runtime's containers: `{{.Name}}` becomes the name of the InferenceService.

KServe renders the container with Go's text/template against the InferenceService's metadata. Of that language the part
that is in use is understood: fields, members of labels and annotations, `index` for keys with dots or slashes, quoted
text, and the trim markers. As in Go, a member that is missing renders as `<no value>` (with `index`: as nothing).
Anything else is an error that names the expression.
"""

import re
from typing import Any, Final

from lightkube.models.meta_v1 import ObjectMeta

_ACTION: Final = re.compile(
    r"(?P<before>\s*)\{\{(?P<trim_left>- )?\s*(?P<expression>.*?)\s*(?P<trim_right> -)?\}\}(?P<after>\s*)"
)
_FIELD: Final = re.compile(r"\.(Name|Namespace|UID|ResourceVersion|GenerateName|Generation)")
_MEMBER: Final = re.compile(r"\.(Labels|Annotations)\.([A-Za-z_][A-Za-z0-9_]*)")
_INDEX: Final = re.compile(r"""index\s+\.(Labels|Annotations)\s+(?:"([^"]*)"|`([^`]*)`)""")
_TEXT: Final = re.compile(r"""(?:"([^"\\]*)"|`([^`]*)`)""")
_NO_VALUE: Final = "<no value>"


class PlaceholderError(Exception):
    """A placeholder that is not understood."""


def replace_placeholders(value: Any, meta: ObjectMeta) -> Any:
    """Return the JSON value with the placeholders in all its texts replaced; raises `PlaceholderError`."""
    if isinstance(value, str):
        return _replace(value, meta) if "{{" in value else value
    if isinstance(value, list):
        return [replace_placeholders(item, meta) for item in value]
    if isinstance(value, dict):
        return {key: replace_placeholders(item, meta) for key, item in value.items()}
    return value


def _replace(text: str, meta: ObjectMeta) -> str:
    def action(match: re.Match[str]) -> str:
        before = "" if match["trim_left"] else match["before"]
        after = "" if match["trim_right"] else match["after"]
        return before + _evaluate(match["expression"], meta) + after

    replaced = _ACTION.sub(action, text)
    if "{{" in _ACTION.sub("", text):
        raise PlaceholderError(f"cannot replace the placeholder in {text!r}: its braces are not closed")
    return replaced


def _evaluate(expression: str, meta: ObjectMeta) -> str:
    if field := _FIELD.fullmatch(expression):
        return _field(field[1], meta)
    if member := _MEMBER.fullmatch(expression):
        return str(_map(member[1], meta).get(member[2], _NO_VALUE))
    if index := _INDEX.fullmatch(expression):
        return str(_map(index[1], meta).get(index[2] if index[2] is not None else index[3], ""))
    if text := _TEXT.fullmatch(expression):
        return text[1] if text[1] is not None else text[2]
    raise PlaceholderError(
        f"cannot replace the placeholder {{{{{expression}}}}}: only .Name, .Namespace, .Labels.KEY, .Annotations.KEY "
        'and index .Annotations "KEY" are understood'
    )


def _field(name: str, meta: ObjectMeta) -> str:
    attribute = {"UID": "uid"}.get(name, name[0].lower() + name[1:])
    value = getattr(meta, attribute)
    return "" if value is None else str(value)


def _map(name: str, meta: ObjectMeta) -> dict[str, str]:
    return (meta.labels if name == "Labels" else meta.annotations) or {}
