from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.machinery.table import build_table, column_definition, print_table

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": []}}

# Each text is what kubectl prints of a Table with these cells; · stands for a space.
PRINTED: list[tuple[list[str] | None, list[list[Any]], str]] = [
    (
        ["NAME", "READY", "AGE"],
        [["a", "1/1", "5d"], ["longer-name", "0/1", "3h5m"]],
        "NAME··········READY···AGE\na·············1/1·····5d\nlonger-name···0/1·····3h5m\n",
    ),
    (
        ["NAME", "HOST", "TLS"],
        [["a", "h", ""], ["b", "hhhhhh", None]],
        "NAME···HOST·····TLS\na······h········\nb······hhhhhh···\n",
    ),
    (
        ["NAME", "N", "B", "F", "L", "M"],
        [["a", 1, True, 1.5, ["x", "y"], {"k": 1}], ["b", 10000000, False, 1e21, [], {}]],
        (
            "NAME···N··········B·······F·······L·······M\n"
            "a······1··········true····1.5·····[x·y]···map[k:1]\n"
            "b······10000000···false···1e+21···[]······map[]\n"
        ),
    ),
    (
        ["NAME", "MSG"],
        [["a", "two\nlines"], ["b", "tab\there"], ["c", "\x1b[31mred"], ["d", "e\r\nf"]],
        "NAME···MSG\na······two...\nb······tab···here\nc······^[[31mred\nd······e...\n",
    ),
    (["NAME", "X"], [["日本語", "c"], ["é", "yé"]], "NAME···X\n日本語····c\né······yé\n"),
    (["NAME"], [["a"]], "NAME\na\n"),
    (["NAME", "X"], [], "NAME···X\n"),
    (None, [["a", "b"]], "a·····b\n"),
    (None, [], ""),
    (["NAME", "X"], [["a", "  b "], [" c", "d"]], "NAME···X\na········b·\n·c·····d\n"),
    (["NAME", "X", "Y"], [["a", "b"], ["c", "d", "e"]], "NAME···X·····Y\na······b\nc······d·····e\n"),
]


@pytest.mark.parametrize(("header", "rows", "text"), PRINTED)
def test_tables_are_printed_as_kubectl_prints_them(header: list[str] | None, rows: list[list[Any]], text: str) -> None:
    assert print_table(header, rows).replace(" ", "·") == text


def test_nothing_of_a_cell_reaches_the_terminal_as_a_command() -> None:
    assert print_table(None, [["a\x07b\x7f\x9b0m\x00", [None]]]) == "a^Gb^?\\x9b0m^@   [<nil>]\n"


@given(st.lists(st.lists(st.text("ab c", min_size=1, max_size=12), min_size=3, max_size=3), min_size=1, max_size=4))
def test_columns_stand_below_each_other(rows: list[list[str]]) -> None:
    lines = print_table(["ONE", "TWO", "THREE"], rows).splitlines()
    second, third = lines[0].index("TWO"), lines[0].index("THREE")
    for row, line in zip(rows, lines[1:], strict=True):
        assert line[:second].rstrip() == row[0].rstrip()
        assert line[second:third].rstrip() == row[1].rstrip()
        assert line[third:] == row[2]


def test_a_table_for_a_client() -> None:
    columns = [column_definition("Name", form="name"), column_definition("Node", priority=1)]
    made = build_table(columns, [(["a", "skerry"], POD)], {"resourceVersion": "7"})
    assert made["columnDefinitions"][1] == {
        "name": "Node",
        "type": "string",
        "format": "",
        "description": "",
        "priority": 1,
    }
    assert (made["kind"], made["apiVersion"], made["metadata"]) == ("Table", "meta.k8s.io/v1", {"resourceVersion": "7"})
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}}
    assert made["rows"] == [{"cells": ["a", "skerry"], "object": partial}]


def test_what_a_row_carries() -> None:
    rows = [(["a"], POD)]
    assert build_table([], rows, {}, include="Object")["rows"] == [{"cells": ["a"], "object": POD}]
    assert build_table([], rows, {}, include="None")["rows"] == [{"cells": ["a"]}]
