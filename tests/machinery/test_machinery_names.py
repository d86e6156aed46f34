import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.machinery import names

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
DNS_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
QUALIFIED = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
OPTIONAL_PREFIX = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "x" * 63])
def test_labels(name: str) -> None:
    assert names.is_dns1123_label(name) == []
    assert names.is_dns1123_subdomain(f"{name}.{name}") == []


@pytest.mark.parametrize("name", ["", "X_y", "a.b", "-a", "a-", "a\n", "é"])
def test_what_is_no_label(name: str) -> None:
    assert names.is_dns1123_label(name) == [LABEL]


def test_lengths_are_counted_in_bytes() -> None:
    assert names.is_dns1123_label("x" * 64) == ["must be no more than 63 bytes"]
    assert names.is_dns1123_subdomain("x" * 254) == ["must be no more than 253 bytes"]
    assert names.is_dns1035_label("x" * 64) == ["must be no more than 63 bytes"]
    assert names.is_label_value("é" * 32) == ["must be no more than 63 bytes", VALUE]
    assert names.is_qualified_name("x" * 64) == ["name part must be no more than 63 bytes"]


@pytest.mark.parametrize("name", ["", "X_y", "a..b", ".a", "a/b"])
def test_what_is_no_subdomain(name: str) -> None:
    assert names.is_dns1123_subdomain(name) == [SUBDOMAIN]


@pytest.mark.parametrize(("name", "problems"), [("a0", []), ("0a", [DNS_1035]), ("", [DNS_1035]), ("A", [DNS_1035])])
def test_names_of_services(name: str, problems: list[str]) -> None:
    assert names.is_dns1035_label(name) == problems


@pytest.mark.parametrize(
    ("key", "problems"),
    [
        ("a", []),
        ("My_Name.x", []),
        ("example.com/a", []),
        ("", ["name part must be non-empty", "name part " + QUALIFIED]),
        ("-a", ["name part " + QUALIFIED]),
        ("/a", ["prefix part must be non-empty"]),
        ("A/a", ["prefix part " + SUBDOMAIN]),
        ("a/", ["name part must be non-empty", "name part " + QUALIFIED]),
        ("a/b/c", [f"a qualified name {QUALIFIED} {OPTIONAL_PREFIX}"]),
    ],
)
def test_keys_of_labels(key: str, problems: list[str]) -> None:
    assert names.is_qualified_name(key) == problems


@pytest.mark.parametrize(("value", "problems"), [("", []), ("a_B.0", []), ("-", [VALUE]), ("a b", [VALUE])])
def test_values_of_labels(value: str, problems: list[str]) -> None:
    assert names.is_label_value(value) == problems


def complaints(meta: dict[str, Any], *, namespaced: bool = True) -> list[str]:
    """Return what is wrong with some metadata beside a good name and namespace."""
    whole = {"name": "a", **({"namespace": "b"} if namespaced else {}), **meta}
    return [str(error) for error in names.validate_object_meta(whole, namespaced=namespaced)]


def owner(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "1", **more}


def test_good_metadata() -> None:
    meta = {
        "labels": {"a": "b", "example.com/x": ""},
        "annotations": {"Example.com/A": "anything at all"},
        "finalizers": ["example.com/keep"],
        "ownerReferences": [owner("x", controller=True), owner("y")],
    }
    assert complaints(meta) == []
    assert complaints(meta, namespaced=False) == []
    assert complaints({"labels": None, "annotations": None, "finalizers": None, "ownerReferences": None}) == []


@pytest.mark.parametrize(
    ("meta", "complaint"),
    [
        ({"name": "X_y"}, f'metadata.name: Invalid value: "X_y": {SUBDOMAIN}'),
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"namespace": "A"}, f'metadata.namespace: Invalid value: "A": {LABEL}'),
        ({"labels": {"a": 1}}, 'metadata.labels: Invalid value: 1: the value of label "a" must be a string'),
        ({"labels": {"a": "-"}}, f'metadata.labels: Invalid value: "-": {VALUE}'),
        ({"labels": {"-": "a"}}, f'metadata.labels: Invalid value: "-": name part {QUALIFIED}'),
        ({"annotations": {"-": "a"}}, f'metadata.annotations: Invalid value: "-": name part {QUALIFIED}'),
        (
            {"annotations": {"a": True}},
            'metadata.annotations: Invalid value: true: the value of annotation "a" must be a string',
        ),
        (
            {"annotations": {"a": "é" * 131072}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        ({"finalizers": ["-"]}, f'metadata.finalizers: Invalid value: "-": name part {QUALIFIED}'),
        (
            {"finalizers": ["orphan", "foregroundDeletion"]},
            (
                'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
                "finalizer orphan and foregroundDeletion cannot be both set"
            ),
        ),
        (
            {"ownerReferences": [owner("x", controller=True), owner("y", controller=True)]},
            (
                'metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","kind":"Pod","name":"x","uid":"1",'
                '"controller":true},{"apiVersion":"v1","kind":"Pod","name":"y","uid":"1","controller":true}]: Only one '
                'reference can have Controller set to true. Found "true" in references for Pod/x and Pod/y'
            ),
        ),
        (
            {"ownerReferences": [{**owner("x"), "uid": ""}]},
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        ),
        (
            {"ownerReferences": [{**owner("x"), "apiVersion": ""}]},
            'metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
        ),
        (
            {"ownerReferences": [{**owner("x"), "kind": "Event"}]},
            (
                'metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"x","uid":"1"}: '
                "/v1, Kind=Event is disallowed from being an owner"
            ),
        ),
    ],
)
def test_bad_metadata(meta: dict[str, Any], complaint: str) -> None:
    assert complaints(meta) == [complaint]


def test_a_namespace_where_there_is_none() -> None:
    assert complaints({"namespace": "b"}, namespaced=False) == [
        "metadata.namespace: Forbidden: not allowed on this type"
    ]


@given(st.from_regex(r"[a-z]{1,80}-", fullmatch=True), st.integers())
def test_generated_names_fit_a_label(base: str, seed: int) -> None:
    name = names.generate_name(base, random.Random(seed))
    assert re.fullmatch(re.escape(base[:58]) + "[bcdfghjklmnpqrstvwxz2456789]{5}", name)
    assert names.is_dns1123_label(name) == []
