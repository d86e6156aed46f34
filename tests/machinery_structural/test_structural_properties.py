"""Laws that hold for any schema and any value, and `jsonschema` as the judge of what both understand."""

from typing import Any

import jsonschema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.machinery.structural import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_MAP_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVE,
    RULES,
)
from skerry.machinery.structural.defaulting import defaulted
from skerry.machinery.structural.pruning import pruned, unknown
from skerry.machinery.structural.rules import remarks_on, schema_errors
from skerry.machinery.structural.validating import errors_of

KEYWORDS = [
    "type",
    "properties",
    "items",
    "additionalProperties",
    "anyOf",
    "allOf",
    "not",
    "required",
    "enum",
    "default",
]
KEYWORDS += ["pattern", "minimum", "maxLength", "multipleOf", "nullable", "format", "$ref", "a", "metadata"]
KEYWORDS += [PRESERVE, EMBEDDED, INT_OR_STRING, LIST_TYPE, LIST_MAP_KEYS, MAP_TYPE, RULES]
NAMES = st.sampled_from(["a", "b", "c", "metadata"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([0.5, 2.0, -1.5]),
    st.text(alphabet="abx1", max_size=4),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)
FEW: dict[str, Any] = {"max_examples": 60, "suppress_health_check": [HealthCheck.too_slow]}


@st.composite
def limits(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    options: dict[str, st.SearchStrategy[Any]] = {
        "string": st.fixed_dictionaries(
            {},
            optional={
                "minLength": st.integers(0, 2),
                "maxLength": st.integers(1, 3),
                "pattern": st.sampled_from(["^a", "x$", "^[ab]*$", "1|b"]),
                "enum": st.lists(st.sampled_from(["a", "ab", "x"]), min_size=1, max_size=2, unique=True),
            },
        ),
        "integer": st.fixed_dictionaries(
            {},
            optional={
                "minimum": st.integers(-2, 2),
                "maximum": st.integers(3, 9),
                "multipleOf": st.integers(1, 3),
                "enum": st.just([1, 2, 3]),
            },
        ),
        "number": st.fixed_dictionaries({}, optional={"minimum": st.just(-1.5), "maximum": st.just(2.5)}),
        "boolean": st.just({}),
    }
    return draw(options[kind])


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2, *, extensions: bool = True) -> dict[str, Any]:
    kind = draw(
        st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "map"][: 7 if depth else 4])
    )
    if kind in {"string", "integer", "number", "boolean"}:
        schema = {"type": kind, **draw(limits(kind))}
    elif kind == "array":
        schema = {"type": "array", "items": draw(schemas(depth - 1, extensions=extensions))}
        schema |= draw(st.fixed_dictionaries({}, optional={"minItems": st.just(1), "maxItems": st.just(2)}))
    elif kind == "map":
        schema = {"type": "object", "additionalProperties": draw(schemas(depth - 1, extensions=extensions))}
    else:
        schema = draw(objects(depth, extensions=extensions))
    if extensions:
        schema |= draw(st.fixed_dictionaries({}, optional={"nullable": st.just(True)}))
        if draw(st.integers(0, 3)) == 0:
            schema["default"] = draw(fitting(schema))
    return schema


@st.composite
def objects(draw: st.DrawFn, depth: int = 2, *, extensions: bool = True) -> dict[str, Any]:
    inner = schemas(depth - 1, extensions=extensions)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": draw(st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    }
    schema |= draw(st.fixed_dictionaries({}, optional={"required": st.just(["a"]), "minProperties": st.just(1)}))
    if extensions and draw(st.booleans()):
        schema["x-kubernetes-preserve-unknown-fields"] = True
    if not extensions:
        schema |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "oneOf": st.just([{"required": ["a"]}, {"required": ["b"]}]),
                    "anyOf": st.just([{"required": ["b"]}, {"minProperties": 2}]),
                    "not": st.just({"required": ["c"]}),
                    "allOf": st.just([{"maxProperties": 2}, {"minProperties": 1}]),
                },
            )
        )
    return schema


@st.composite
def fitting(draw: st.DrawFn, schema: dict[str, Any]) -> Any:
    """A value that the schema lets in, as a definition's defaults must be; the simplest when none is found."""
    value = draw(VALUES)
    return (
        value
        if not errors_of(value, schema)
        else {"object": {}, "array": [], "string": "", "boolean": False}.get(schema["type"], 0)
    )


@settings(**FEW)
@given(objects(), VALUES)
def test_pruning_twice_is_pruning_once(schema: dict[str, Any], value: Any) -> None:
    once = pruned(value, schema)
    assert pruned(once, schema) == once
    assert list(unknown(once, schema)) == []
    assert (once == value) == (list(unknown(value, schema)) == [])


@settings(**FEW)
@given(objects(), st.dictionaries(NAMES, VALUES, max_size=4))
def test_defaulting_twice_is_defaulting_once(schema: dict[str, Any], value: Any) -> None:
    once = defaulted(value, schema)
    assert defaulted(once, schema) == once


def valid_defaults(schema: Any) -> bool:
    """Whether every default fits once it is filled in, which a definition's validation makes sure of."""
    if isinstance(schema, list):
        return all(map(valid_defaults, schema))
    if not isinstance(schema, dict):
        return True
    if "default" in schema and errors_of(defaulted(schema["default"], schema, root=False), schema):
        return False
    return all(map(valid_defaults, (inner for key, inner in schema.items() if key != "default")))


@settings(**FEW)
@given(objects(), st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_valid_stays_valid_when_defaults_come(schema: dict[str, Any], value: Any) -> None:
    if valid_defaults(schema) and not errors_of(value, schema):
        assert errors_of(defaulted(value, schema), schema) == []


@settings(**FEW)
@given(schemas(extensions=False), VALUES)
def test_jsonschema_says_the_same(schema: dict[str, Any], value: Any) -> None:
    judge = jsonschema.Draft4Validator(schema)
    assert judge.is_valid(value) == (errors_of(value, schema) == []), list(judge.iter_errors(value))


@settings(**FEW)
@given(schemas(extensions=False), VALUES)
def test_what_is_not_changed_is_not_complained_about(schema: dict[str, Any], value: Any) -> None:
    assert errors_of(value, schema, value) == []


JUNK = st.recursive(
    st.one_of(SCALARS, st.sampled_from(["object", "string", "array", "integer", "map", "set"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    ),
    max_leaves=10,
)


@settings(**FEW)
@given(st.dictionaries(st.sampled_from(KEYWORDS), JUNK, max_size=6), VALUES)
def test_what_is_no_schema_is_refused_and_what_is_one_can_be_used(schema: dict[str, Any], value: Any) -> None:
    if schema_errors(schema, "s"):
        return
    errors_of(defaulted(pruned(value, schema), schema), schema)
    remarks_on(schema)


def test_a_schema_that_nests_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        schema = {"type": "object", "properties": {"a": schema}}
    assert "must not be nested more than 100 levels deep" in str(schema_errors(schema, "s")[0])
