"""Steps of paths: one spelling each, the words of messages, the server's order."""

import pytest

from skerry.machinery.apply import elements
from skerry.machinery.apply.elements import ElementError, canonical, order, shown


def test_keys_are_sorted_and_written_without_spaces() -> None:
    assert elements.item({"protocol": "TCP", "containerPort": 80}) == 'k:{"containerPort":80,"protocol":"TCP"}'


def test_text_is_escaped_as_go_does() -> None:
    assert elements.member("a<b>&c\u2028") == 'v:"a\\u003cb\\u003e\\u0026c\\u2028"'
    assert elements.item({"name": "é"}) == 'k:{"name":"é"}'


@pytest.mark.parametrize(
    ("spelled", "one"),
    [
        ('k:{ "protocol": "TCP", "port": 80 }', 'k:{"port":80,"protocol":"TCP"}'),
        ('v: "x"', 'v:"x"'),
        ('v:"a<b"', 'v:"a\\u003cb"'),
        ("v:true", "v:true"),
        ("i:007", "i:7"),
        ("f:a.b/c", "f:a.b/c"),
        ("f:", "f:"),
    ],
)
def test_a_client_may_spell_a_step_in_its_own_way(spelled: str, one: str) -> None:
    assert canonical(spelled) == one


def test_a_step_of_an_unknown_sort_has_no_spelling() -> None:
    assert canonical("z:new") is None


@pytest.mark.parametrize("bad", ["", "f", "name", "k:[]", "k:{", "v:", "i:x", 'k:"x"'])
def test_what_is_no_step_is_refused(bad: str) -> None:
    with pytest.raises(ElementError):
        canonical(bad)


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ("f:spec", ".spec"),
        ("f:example.com/x", ".example.com/x"),
        ('k:{"name":"web"}', '[name="web"]'),
        ('k:{"containerPort":80,"protocol":"TCP"}', '[containerPort=80,protocol="TCP"]'),
        ('v:"it\\"s"', '[="it\\"s"]'),
        ("v:3", "[=3]"),
        ("v:null", "[=null]"),
        ("v:true", "[=true]"),
        ("i:2", "[2]"),
    ],
)
def test_messages_show_steps_as_the_server_does(element: str, text: str) -> None:
    assert shown(element) == text


def test_order_is_fields_then_items_then_members_then_places_and_numbers_by_value() -> None:
    wanted = [
        ".",
        "f:a",
        "f:b",
        'k:{"name":"a"}',
        'k:{"port":80,"protocol":"TCP"}',
        'k:{"port":80,"protocol":"UDP"}',
        'k:{"port":443,"protocol":"TCP"}',
        "v:2",
        "v:10",
        'v:"a"',
        "v:true",
        "v:null",
        "i:2",
        "i:10",
    ]
    assert sorted(set(wanted), key=order) == wanted
