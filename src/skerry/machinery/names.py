"""Names, label keys and values, and the rest of metadata, with Kubernetes' own messages.

Facts: k8s.io/apimachinery `pkg/util/validation`, `pkg/api/validation`.
"""

import random
import re
from collections.abc import Callable
from typing import Any, Final

from skerry.machinery.fielderrors import FieldError, forbidden, invalid, required

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = f"({_QUALIFIED})?"

_ANNOTATIONS_LIMIT: Final = 256 * 1024
# Without vowels and without characters that look alike, so that no word comes out.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX: Final = 5
_LONGEST_BASE: Final = 63 - _SUFFIX

NameRule = Callable[[str], list[str]]  # what is wrong with a name, in words


def is_dns1123_label(name: str) -> list[str]:
    """Return what is wrong with a label such as a namespace's name."""
    problems = _too_long(name, 63)
    if not re.fullmatch(_LABEL, name):
        problems.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            f"'{_LABEL}')"
        )
    return problems


def is_dns1123_subdomain(name: str) -> list[str]:
    """Return what is wrong with a subdomain, the form of most names."""
    problems = _too_long(name, 253)
    if not re.fullmatch(_SUBDOMAIN, name):
        problems.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            f"'{_LABEL}(\\.{_LABEL})*')"
        )
    return problems


def is_dns1035_label(name: str) -> list[str]:
    """Return what is wrong with a Service's name."""
    problems = _too_long(name, 63)
    if not re.fullmatch(_LABEL_1035, name):
        problems.append(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            f"validation is '{_LABEL_1035}')"
        )
    return problems


def is_qualified_name(name: str) -> list[str]:
    """Return what is wrong with a label or annotation key, `[prefix/]name`."""
    prefix, slash, last = name.rpartition("/")
    problems: list[str] = []
    if "/" in prefix:
        whole = (
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_QUALIFIED}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
        return [whole]
    if slash:
        if not prefix:
            problems.append("prefix part must be non-empty")
        else:
            problems += [f"prefix part {problem}" for problem in is_dns1123_subdomain(prefix)]
    if not last:
        problems.append("name part must be non-empty")
    elif len(last.encode()) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not re.fullmatch(_QUALIFIED, last):
        problems.append(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_QUALIFIED}')"
        )
    return problems


def is_label_value(value: str) -> list[str]:
    """Return what is wrong with the value of a label."""
    problems = _too_long(value, 63)
    if not re.fullmatch(_VALUE, value):
        problems.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            f"validation is '({_QUALIFIED})?')"
        )
    return problems


def validate_object_meta(
    meta: dict[str, Any], *, namespaced: bool, name_rule: NameRule = is_dns1123_subdomain
) -> list[FieldError]:
    """Return what is wrong with the metadata of an object whose kind names its objects by `name_rule`."""
    errors: list[FieldError] = []
    name = meta.get("name", "")
    if not name:
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        errors += [invalid("metadata.name", name, problem) for problem in name_rule(name)]
    if namespaced:
        namespace = meta.get("namespace", "")
        errors += [invalid("metadata.namespace", namespace, problem) for problem in is_dns1123_label(namespace)]
    elif meta.get("namespace"):
        errors.append(forbidden("metadata.namespace", "not allowed on this type"))
    return [
        *errors,
        *_label_errors(meta),
        *_annotation_errors(meta),
        *_owner_errors(meta),
        *_finalizer_errors(meta),
    ]


def generate_name(base: str, source: random.Random) -> str:
    """Return the base with five random characters, cut to fit a label."""
    return base[:_LONGEST_BASE] + "".join(source.choice(_ALPHABET) for _ in range(_SUFFIX))


def _label_errors(meta: dict[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in (meta.get("labels") or {}).items():
        errors += [invalid("metadata.labels", key, problem) for problem in is_qualified_name(key)]
        if not isinstance(value, str):
            errors.append(invalid("metadata.labels", value, f'the value of label "{key}" must be a string'))
        else:
            errors += [invalid("metadata.labels", value, problem) for problem in is_label_value(value)]
    return errors


def _annotation_errors(meta: dict[str, Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    size = 0
    for key, value in (meta.get("annotations") or {}).items():
        # Keys are checked in lower case: annotations may be written in any.
        errors += [invalid("metadata.annotations", key, problem) for problem in is_qualified_name(key.lower())]
        if not isinstance(value, str):
            errors.append(invalid("metadata.annotations", value, f'the value of annotation "{key}" must be a string'))
        else:
            size += len(key.encode()) + len(value.encode())
    if size > _ANNOTATIONS_LIMIT:
        detail = f"may not be more than {_ANNOTATIONS_LIMIT} bytes"
        errors.append(FieldError("FieldValueTooLong", "metadata.annotations", f"Too long: {detail}"))
    return errors


def _owner_errors(meta: dict[str, Any]) -> list[FieldError]:
    references, errors, controller = meta.get("ownerReferences") or [], [], ""
    for reference in references:
        errors += _reference_errors(reference)
        if not reference.get("controller"):
            continue
        shown = f"{reference.get('kind', '')}/{reference.get('name', '')}"
        if controller:
            detail = 'Only one reference can have Controller set to true. Found "true" in references for '
            errors.append(invalid("metadata.ownerReferences", references, f"{detail}{controller} and {shown}"))
        controller = controller or shown
    return errors


def _reference_errors(reference: dict[str, Any]) -> list[FieldError]:
    errors = []
    for name in ("apiVersion", "kind", "name", "uid"):
        if not reference.get(name):
            detail = "version must not be empty" if name == "apiVersion" else "must not be empty"
            errors.append(invalid(f"metadata.ownerReferences.{name}", reference.get(name) or "", detail))
    if (reference.get("apiVersion"), reference.get("kind")) == ("v1", "Event"):
        detail = "/v1, Kind=Event is disallowed from being an owner"
        errors.append(invalid("metadata.ownerReferences", reference, detail))
    return errors


def _finalizer_errors(meta: dict[str, Any]) -> list[FieldError]:
    finalizers = meta.get("finalizers") or []
    errors = [
        invalid("metadata.finalizers", name, problem) for name in finalizers for problem in is_qualified_name(name)
    ]
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid("metadata.finalizers", finalizers, detail))
    return errors


def _too_long(name: str, limit: int) -> list[str]:
    return [f"must be no more than {limit} bytes"] if len(name.encode()) > limit else []
