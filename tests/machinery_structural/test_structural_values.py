"""Pruning, defaulting and validation by structural schemas, case by case, with Kubernetes' words."""

from typing import Any

import pytest

from skerry.machinery.structural.defaulting import defaulted
from skerry.machinery.structural.formats import fits
from skerry.machinery.structural.pruning import pruned, unknown
from skerry.machinery.structural.validating import errors_of


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


STRING = {"type": "string"}
INTEGER = {"type": "integer"}
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

# Pruning


@pytest.mark.parametrize(
    ("schema", "value", "kept", "lost"),
    [
        (obj(a=STRING), {"a": "x", "b": 1}, {"a": "x"}, ["b"]),
        (
            obj(),
            {"apiVersion": "v", "kind": "k", "metadata": {"x": 1}, "o": 1},
            {"apiVersion": "v", "kind": "k", "metadata": {"x": 1}},
            ["o"],
        ),
        (obj(s=obj(a=STRING)), {"s": {"metadata": 1, "a": "x"}}, {"s": {"a": "x"}}, ["s.metadata"]),
        (obj(s=OPEN), {"s": {"any": {"thing": [1]}}}, {"s": {"any": {"thing": [1]}}}, []),
        (
            obj(s={**OPEN, "properties": {"known": obj(a=STRING)}}),
            {"s": {"free": 1, "known": {"a": "x", "b": 1}}},
            {"s": {"free": 1, "known": {"a": "x"}}},
            ["s.known.b"],
        ),
        (
            obj(m={"type": "object", "additionalProperties": obj(a=STRING)}),
            {"m": {"k": {"a": "x", "b": 1}}},
            {"m": {"k": {"a": "x"}}},
            ["m.k.b"],
        ),
        (obj(m={"type": "object", "additionalProperties": True}), {"m": {"k": {"b": 1}}}, {"m": {"k": {"b": 1}}}, []),
        (
            obj(l={"type": "array", "items": obj(a=STRING)}),
            {"l": [{"a": "x", "b": 1}]},
            {"l": [{"a": "x"}]},
            ["l[0].b"],
        ),
        (
            obj(e={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": obj(a=STRING)}}),
            {"e": {"apiVersion": "v1", "kind": "P", "metadata": {"name": "n"}, "spec": {"b": 1}, "x": 1}},
            {"e": {"apiVersion": "v1", "kind": "P", "metadata": {"name": "n"}, "spec": {}}},
            ["e.spec.b", "e.x"],
        ),
        (obj(i={"x-kubernetes-int-or-string": True}), {"i": "5"}, {"i": "5"}, []),
    ],
)
def test_unknown_fields_go(schema: dict[str, Any], value: Any, kept: Any, lost: list[str]) -> None:
    assert pruned(value, schema) == kept
    assert list(unknown(value, schema)) == lost


# Defaulting


@pytest.mark.parametrize(
    ("schema", "value", "filled"),
    [
        (obj(a={**STRING, "default": "x"}), {}, {"a": "x"}),
        (obj(a={**STRING, "default": "x"}), {"a": "y"}, {"a": "y"}),
        (obj(a={**STRING, "default": "x"}), {"a": None}, {"a": "x"}),
        (obj(a={**STRING, "default": "x", "nullable": True}), {"a": None}, {"a": None}),
        (obj(a=STRING), {"a": None}, {}),
        (obj(a={**STRING, "nullable": True}), {"a": None}, {"a": None}),
        (obj(s=obj(a={**STRING, "default": "x"})), {}, {}),
        (obj(s={**obj(a={**STRING, "default": "x"}), "default": {}}), {}, {"s": {"a": "x"}}),
        (
            obj(l={"type": "array", "items": obj(a={**INTEGER, "default": 1})}),
            {"l": [{}, {"a": 2}]},
            {"l": [{"a": 1}, {"a": 2}]},
        ),
        (
            obj(m={"type": "object", "additionalProperties": obj(a={**INTEGER, "default": 1})}),
            {"m": {"k": {}}},
            {"m": {"k": {"a": 1}}},
        ),
        (
            obj(m={"type": "object", "additionalProperties": {**INTEGER, "default": 1}}),
            {"m": {"k": None}},
            {"m": {"k": 1}},
        ),
    ],
)
def test_what_is_missing_is_filled(schema: dict[str, Any], value: Any, filled: Any) -> None:
    assert defaulted(value, schema) == filled


def test_a_default_is_a_copy() -> None:
    schema = obj(a={"type": "object", "additionalProperties": INTEGER, "default": {"x": 1}})
    first = defaulted({}, schema)
    first["a"]["x"] = 2
    assert defaulted({}, schema) == {"a": {"x": 1}}


# Validation


@pytest.mark.parametrize(
    ("schema", "value", "complaint"),
    [
        (obj(a=INTEGER), {"a": "x"}, 'a: Invalid value: "string": a in body must be of type integer: "string"'),
        (obj(a=INTEGER), {"a": 1.5}, 'a: Invalid value: "number": a in body must be of type integer: "number"'),
        (obj(a=STRING), {"a": None}, 'a: Invalid value: "null": a in body must be of type string: "null"'),
        (
            obj(a={"type": "boolean"}),
            {"a": 1},
            'a: Invalid value: "integer": a in body must be of type boolean: "integer"',
        ),
        (
            obj(a={"x-kubernetes-int-or-string": True}),
            {"a": []},
            'a: Invalid value: "array": a in body must be of type integer,string: "array"',
        ),
        (obj(a={**STRING, "enum": ["x", "y"]}), {"a": "z"}, 'a: Unsupported value: "z": supported values: "x", "y"'),
        (obj(a={**INTEGER, "enum": [1, 2]}), {"a": 3}, 'a: Unsupported value: 3: supported values: "1", "2"'),
        (
            obj(a={**INTEGER, "minimum": 1}),
            {"a": 0},
            "a: Invalid value: 0: a in body should be greater than or equal to 1",
        ),
        (
            obj(a={**INTEGER, "minimum": 1, "exclusiveMinimum": True}),
            {"a": 1},
            "a: Invalid value: 1: a in body should be greater than 1",
        ),
        (
            obj(a={**INTEGER, "maximum": 9}),
            {"a": 10},
            "a: Invalid value: 10: a in body should be less than or equal to 9",
        ),
        (
            obj(a={"type": "number", "maximum": 0.5, "exclusiveMaximum": True}),
            {"a": 0.5},
            "a: Invalid value: 0.5: a in body should be less than 0.5",
        ),
        (obj(a={**INTEGER, "multipleOf": 5}), {"a": 7}, "a: Invalid value: 7: a in body should be a multiple of 5"),
        (obj(a={**STRING, "maxLength": 2}), {"a": "xyz"}, "a: Too long: may not be more than 2 bytes"),
        (
            obj(a={**STRING, "minLength": 2}),
            {"a": "x"},
            'a: Invalid value: "x": a in body should be at least 2 chars long',
        ),
        (obj(a={**STRING, "pattern": "^a+$"}), {"a": "b"}, "a: Invalid value: \"b\": a in body should match '^a+$'"),
        (
            obj(a={**STRING, "format": "date-time"}),
            {"a": "soon"},
            'a: Invalid value: "soon": a in body must be of type date-time: "soon"',
        ),
        (
            obj(a={**INTEGER, "format": "int32"}),
            {"a": 2**31},
            '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in a',
        ),
        (
            obj(l={"type": "array", "items": INTEGER, "maxItems": 1}),
            {"l": [1, 2]},
            "l: Too many: 2: must have at most 1 items",
        ),
        (
            obj(l={"type": "array", "items": INTEGER, "minItems": 1}),
            {"l": []},
            "l: Invalid value: 0: l in body should have at least 1 items",
        ),
        (
            obj(l={"type": "array", "items": STRING}),
            {"l": ["x", 1]},
            'l[1]: Invalid value: "integer": l[1] in body must be of type string: "integer"',
        ),
        (
            obj(m={"type": "object", "additionalProperties": STRING, "maxProperties": 1}),
            {"m": {"a": "1", "b": "2"}},
            "m: Too many: 2: must have at most 1 items",
        ),
        (
            obj(m={"type": "object", "additionalProperties": INTEGER}),
            {"m": {"k": "x"}},
            'm.k: Invalid value: "string": m.k in body must be of type integer: "string"',
        ),
        (obj(s={**obj(a=STRING), "required": ["a"]}), {"s": {}}, "s.a: Required value"),
        (
            obj(s={**obj(a=INTEGER, b=INTEGER), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            {"s": {"a": 1, "b": 2}},
            '<nil>: Invalid value: "": "s" must validate one and only one schema (oneOf). Found 2 valid alternatives',
        ),
        (
            obj(a={**STRING, "not": {"enum": ["x"]}}),
            {"a": "x"},
            '<nil>: Invalid value: "": "a" must not validate the schema (not)',
        ),
        (
            obj(l={"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}),
            {"l": ["a", "b", "a"]},
            'l[2]: Duplicate value: "a"',
        ),
        (
            obj(
                l={
                    "type": "array",
                    "items": obj(name=STRING),
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                }
            ),
            {"l": [{"name": "a"}, {"name": "a"}]},
            'l[1]: Duplicate value: {"name":"a"}',
        ),
        (
            obj(
                e={
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                }
            ),
            {"e": {"kind": "Pod"}},
            "e.apiVersion: Required value: must not be empty",
        ),
    ],
)
def test_a_misfit_is_said_as_kubernetes_says_it(schema: dict[str, Any], value: Any, complaint: str) -> None:
    assert [str(error) for error in errors_of(value, schema)] == [complaint]


def test_logic_tells_what_came_nearest() -> None:
    schema = obj(a={"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]})
    assert errors_of({"a": 1}, schema) == errors_of({"a": "1"}, schema) == []
    texts = [str(error) for error in errors_of({"a": True}, schema)]
    assert '<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)' in texts
    every = obj(a={**INTEGER, "allOf": [{"minimum": 1}, {"maximum": 5}]})
    assert [str(error) for error in errors_of({"a": 7}, every)] == [
        "a: Invalid value: 7: a in body should be less than or equal to 5",
        '<nil>: Invalid value: "": "a" must validate all the schemas (allOf)',
    ]


def test_whole_floats_are_integers_and_integers_are_numbers() -> None:
    assert errors_of({"a": 2.0, "b": 3}, obj(a=INTEGER, b={"type": "number"})) == []


def test_an_update_is_held_to_what_it_changes() -> None:
    keyed = {
        "type": "array",
        "items": obj(name=STRING, n={**INTEGER, "maximum": 5}),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    schema = obj(a={**STRING, "maxLength": 1}, b=STRING, l=keyed)
    old = {"a": "too long", "b": "x", "l": [{"name": "x", "n": 9}]}
    assert errors_of({**old, "b": "y"}, schema, old) == []
    assert errors_of({**old, "l": [{"name": "y", "n": 1}, {"name": "x", "n": 9}]}, schema, old) == []
    assert [error.field for error in errors_of({**old, "a": "longer still"}, schema, old)] == ["a"]
    assert [error.field for error in errors_of({**old, "l": [{"name": "x", "n": 8}]}, schema, old)] == ["l[0].n"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2026-01-02T03:04:05Z", "2026-13-02T03:04:05Z"),
        ("datetime", "2026-01-02T03:04:05.678+01:00", "2026-01-02"),
        ("date", "2026-01-02", "2026-02-30"),
        ("duration", "1h30m", "1 fortnight"),
        ("duration", "22 ns", "h"),
        ("email", "a@b.example", "a"),
        ("hostname", "a.example", "a_b"),
        ("ipv4", "127.0.0.1", "::1"),
        ("ipv6", "::1", "127.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("mac", "00:1a:2B:3c:4d:5e", "00:1a"),
        ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810"),
        ("uuid4", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("byte", "aGk=", "aGk"),
        ("hexcolor", "#ff00AA", "#ff"),
        ("rgbcolor", "rgb(1, 2, 255)", "rgb(1,2,256)"),
        ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("isbn10", "0306406152", "0306406153"),
        ("isbn", "978-0-306-40615-7", "978-0-306-40615-8"),
        ("ssn", "111-11-1111", "111-11-11"),
        ("uri", "https://a.example/b", "not a uri"),
        ("bsonobjectid", "507f1f77bcf86cd799439011", "507f"),
        ("k8s-short-name", "a-b", "a.b"),
        ("k8s-long-name", "a.b-c", "a_b"),
    ],
)
def test_formats(name: str, good: str, bad: str) -> None:
    assert fits(good, name)
    assert not fits(bad, name)


def test_a_format_that_nobody_knows_fits_everything() -> None:
    assert fits("anything", "of-the-author's-own")
