"""YAML bodies, read as Kubernetes reads them: into the JSON that they stand for.

PyYAML follows YAML 1.1 to the letter where Go's library does not: a date stays text, `12:30` is no number of seconds,
`=` is a word. Keys become text. A document whose aliases grow beyond all measure when they are written out is refused.
"""

import re
from functools import cache
from typing import Any, Final

from skerry.machinery import status

_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_INT: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_VALUE: Final = "tag:yaml.org,2002:value"
_VALUES_LIMIT: Final = 500_000  # more than fit into the largest body without aliases that are repeated

_INTEGER_FORM: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)$")
_FLOAT_FORM: Final = re.compile(r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d+(?=[eE]))([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$")


def decode_yaml(body: bytes) -> Any:
    """Decode one document; raises a 400 that says what is wrong."""
    import yaml

    try:
        decoded = yaml.load(body, Loader=_loader())  # noqa: S506 - a safe loader
        return _as_json(decoded, [_VALUES_LIMIT])
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise status.bad_request(f"error converting YAML to JSON: {error}") from None


@cache
def _loader() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("KubernetesLoader", (base,), {})
    loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in {_TIMESTAMP, _INT, _FLOAT, _VALUE}]
        for first, forms in base.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver(_INT, _INTEGER_FORM, list("-+0123456789"))
    loader.add_implicit_resolver(_FLOAT, _FLOAT_FORM, list("-+.0123456789"))
    return loader


def _as_json(value: Any, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise ValueError("document contains excessive aliasing")
    if isinstance(value, dict):
        return {_key(key): _as_json(inner, left) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner, left) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"a value of type {type(value).__name__} has no form in JSON")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return str(key)
    raise ValueError(f"a key of type {type(key).__name__} has no form in JSON")
