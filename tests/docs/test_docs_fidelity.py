"""The table of what the Kubernetes API is judged by: each line names tests, and each of them exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/kubernetes-api.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::((?:\w+::)?\w+)`")


def lines_of_the_table() -> list[str]:
    section = PAGE.read_text().partition("## How faithful it is")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith("| what ")]


def test_every_line_names_a_test() -> None:
    rows = lines_of_the_table()
    assert len(rows) > 20
    assert [row for row in rows if not NAMED.search(row)] == []


def test_every_named_test_exists() -> None:
    missing = [
        f"{path}::{name}"
        for row in lines_of_the_table()
        for path, name in NAMED.findall(row)
        if name not in named_in(ROOT / path)
    ]
    assert missing == []


def named_in(path: Path) -> set[str]:
    if not path.exists():
        return set()
    found = set()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        functions = [one.name for one in inside if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        found |= {prefix + name for name in functions if name.startswith("test_")}
    return found
