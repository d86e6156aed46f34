import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.meta_v1 import LabelSelector, LabelSelectorRequirement

from skerry.machinery import selectors
from skerry.machinery.selectors import (
    EVERYTHING,
    NOTHING,
    FieldSelector,
    FieldTerm,
    Requirement,
    SelectorError,
    exactly,
    label_selector,
    parse_fields,
    parse_labels,
)

GOLDEN = Path(__file__).parent / "golden" / "label_selectors.txt"
REFUSED = re.findall(r"^(\S.*)\n    (.*)$", GOLDEN.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("text", "complaint"), REFUSED)
def test_what_is_no_label_selector(text: str, complaint: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parse_labels(text)
    assert str(refused.value) == complaint


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", ""),
        ("  ", ""),
        ("a=b,c!=d,e in (x,y),!f,g", "a=b,c!=d,e in (x,y),!f,g"),
        (" a = b , ! c ", "a=b,!c"),
        ("z=1,a==2", "a==2,z=1"),
        ("a in (y,x,y)", "a in (x,y)"),
        ("a in ()", "a in ()"),
        ("a in (,)", "a in ()"),
        ("a notin (x,,y)", "a notin (,x,y)"),
        ("a in (x,)", "a in (,x)"),
        ("a=", "a="),
        ("a=,b", "a=,b"),
        ("in", "in"),
        ("in in (in,notin)", "in in (in,notin)"),
        ("a=in", "a=in"),
        ("a>1,b<2", "a>1,b<2"),
        ("example.com/a=b", "example.com/a=b"),
    ],
)
def test_label_selectors_are_read_and_written(text: str, written: str) -> None:
    selector = parse_labels(text)
    assert str(selector) == written
    assert parse_labels(written) == selector


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a=", {"a": ""}, True),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {"a": "b"}, False),
        ("a!=b", {}, True),
        ("a in (b,c)", {"a": "c"}, True),
        ("a in (b,c)", {"a": "d"}, False),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a notin (b,c)", {}, True),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {"a": ""}, False),
        ("!a", {}, True),
        ("a>5", {"a": "6"}, True),
        ("a>5", {"a": "5"}, False),
        ("a<5", {"a": "-7"}, True),
        ("a<5", {"a": "5"}, False),
        ("a<5", {"a": "four"}, False),
        ("a<5", {}, False),
        ("a=b,c", {"a": "b"}, False),
    ],
)
def test_labels_match(text: str, labels: Mapping[str, str], matches: bool) -> None:
    assert parse_labels(text).matches(labels) is matches


def test_a_label_selector_object() -> None:
    as_dict = {
        "matchLabels": {"b": "1"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["x", "y"]},
            {"key": "c", "operator": "NotIn", "values": ["z"]},
            {"key": "d", "operator": "Exists"},
            {"key": "e", "operator": "DoesNotExist"},
        ],
    }
    as_struct = LabelSelector(
        matchLabels={"b": "1"},
        matchExpressions=[
            LabelSelectorRequirement(key="a", operator="In", values=["x", "y"]),
            LabelSelectorRequirement(key="c", operator="NotIn", values=["z"]),
            LabelSelectorRequirement(key="d", operator="Exists"),
            LabelSelectorRequirement(key="e", operator="DoesNotExist"),
        ],
    )
    assert str(label_selector(as_dict)) == "a in (x,y),b=1,c notin (z),d,!e"
    assert label_selector(as_struct) == label_selector(as_dict)


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert label_selector(None) is NOTHING
    assert not NOTHING.matches({})
    assert label_selector({}) == EVERYTHING
    assert EVERYTHING.matches({"a": "b"})
    assert exactly({}).matches({})


def test_exact_labels() -> None:
    assert str(exactly({"b": "2", "a": "1"})) == "a=1,b=2"
    assert exactly({"a": "1"}) == parse_labels("a=1")


@pytest.mark.parametrize(
    ("selector", "complaint"),
    [
        ({"matchExpressions": [{"key": "a", "operator": "Near"}]}, '"Near" is not a valid label selector operator'),
        ({"matchExpressions": [{"key": "a"}]}, '"" is not a valid label selector operator'),
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]},
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]},
            'values: Invalid value: ["x"]: values set must be empty for exists and does not exist',
        ),
        (
            {"matchExpressions": [{"operator": "Exists"}]},
            (
                'key: Invalid value: "": name part must be non-empty; '
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ),
        ),
    ],
)
def test_what_is_no_label_selector_object(selector: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SelectorError) as refused:
        label_selector(selector)
    assert str(refused.value) == complaint


def test_fields_match() -> None:
    fields = {"metadata.name": "a", "status.phase": "Running"}
    selector = parse_fields("status.phase!=Pending,metadata.name=a,spec.nodeName==")
    assert selector.names() == ["metadata.name", "spec.nodeName", "status.phase"]
    assert selector.matches(lambda name: fields.get(name, ""))
    assert not parse_fields("status.phase!=Running").matches(lambda name: fields.get(name, ""))
    assert not selector.also(parse_fields("metadata.name=b")).matches(lambda name: fields.get(name, ""))
    assert parse_fields("").matches(lambda _: "anything")
    assert parse_fields(",,") == FieldSelector()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        (r"a=b\d", r"invalid field selector: invalid escape sequence: \d"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_what_is_no_field_selector(text: str, complaint: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parse_fields(text)
    assert str(refused.value) == complaint


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,5}[A-Za-z0-9])?", fullmatch=True)
KEYS = st.one_of(NAMES, NAMES.map("example.com/".__add__))
VALUES = st.one_of(NAMES, st.just(""))
REQUIREMENTS = st.one_of(
    st.builds(Requirement, KEYS, st.sampled_from(["exists", "!"])),
    st.builds(Requirement, KEYS, st.sampled_from(["=", "==", "!="]), st.tuples(VALUES)),
    st.builds(Requirement, KEYS, st.sampled_from(["gt", "lt"]), st.tuples(st.integers(0, 99).map(str))),
    st.builds(
        Requirement,
        KEYS,
        st.sampled_from(["in", "notin"]),
        st.sets(VALUES, min_size=1, max_size=3).map(sorted).map(tuple),
    ),
)


@given(st.lists(REQUIREMENTS, max_size=4, unique_by=lambda requirement: requirement.key))
def test_written_label_selectors_are_read_back(requirements: list[Requirement]) -> None:
    selector = selectors.LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))
    assert parse_labels(str(selector)) == selector


@given(KEYS, VALUES, st.dictionaries(KEYS, VALUES, max_size=3))
def test_negations_are_opposites(key: str, value: str, labels: dict[str, str]) -> None:
    for one, other in (("=", "!="), ("in", "notin"), ("exists", "!")):
        values = () if one == "exists" else (value,)
        assert Requirement(key, one, values).matches(labels) != Requirement(key, other, values).matches(labels)


@given(st.text(alphabet="ab=!(),<> in\t\x00é", max_size=12))
def test_any_text_is_a_label_selector_or_refused(text: str) -> None:
    try:
        selector = parse_labels(text)
    except SelectorError:
        return
    assert parse_labels(str(selector)) == selector


TERMS = st.builds(FieldTerm, st.from_regex("[a-z.]{1,4}", fullmatch=True), st.text(max_size=5), st.booleans())


@given(st.lists(TERMS, max_size=3))
def test_written_field_selectors_are_read_back(terms: list[FieldTerm]) -> None:
    selector = FieldSelector(tuple(terms))
    assert set(parse_fields(str(selector)).terms) == set(terms)


@given(st.text(alphabet="ab=!\\,", max_size=10))
def test_any_text_is_a_field_selector_or_refused(text: str) -> None:
    try:
        selector = parse_fields(text)
    except SelectorError:
        return
    assert parse_fields(str(selector)) == selector
