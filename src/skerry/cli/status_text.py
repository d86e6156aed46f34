"""The screen of `skerry status`, as lines.

On a terminal nothing is wider than it: a command at the end of a message must not be cut off. A message that does not
fit beside its model stands below it. Words are never broken, so that commands and paths can be copied.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from skerry.cli.store_status import store_lines
from skerry.machinery.table import print_table

_LABEL: Final = 10
_INDENT: Final = 4
_LEAST: Final = 40  # narrower than this nothing can be read: the terminal has to break the lines


def lines(seen: dict[str, Any], width: int | None) -> list[str]:
    """Say what was seen; `width` of the terminal, None where lines may be of any length."""
    room = None if width is None else max(width, _LEAST)
    found = [line for label, text in _facts(seen) for line in _labelled(label, text, room)]
    if seen["models"] and not seen["problem"]:
        found += ["", *_models(seen["models"], room), *_next(seen["models"])]
    return found


def labelled(facts: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """Write each fact behind its label."""
    room = None if width is None else max(width, _LEAST)
    return [line for label, text in facts for line in _labelled(label, text, room)]


def _facts(seen: dict[str, Any]) -> Iterator[tuple[str, str]]:
    daemon = seen["daemon"]
    yield "Platform", f"running (pid {daemon['pid']})"
    yield "API", daemon["api"]
    yield "Gateway", daemon["gateway"]
    for node in seen["nodes"]:
        words = ["Ready" if node["ready"] == "True" else "NotReady", *node["pressure"]]
        if node["unschedulable"]:
            words.append(f"SchedulingDisabled; kubectl uncordon {node['name']} lets pods start again")
        yield "Node", f"{node['name']} {','.join(words)}"
    yield from store_lines(seen["store"])
    if seen["problem"]:
        yield "Problem", seen["problem"]
    elif not seen["models"]:
        yield "Models", "none; docs/tutorial/first-model.md deploys one"


def _labelled(label: str, text: str, room: int | None) -> list[str]:
    first, *more = [piece for line in text.splitlines() for piece in _wrapped(line, room, _LABEL)] or [""]
    return [f"{label:<{_LABEL}}{first}".rstrip(), *(" " * _LABEL + line for line in more)]


def _wrapped(text: str, room: int | None, indent: int) -> list[str]:
    if room is None:
        return [text]
    return textwrap.wrap(text, room - indent, break_long_words=False, break_on_hyphens=False) or [""]


def _models(models: Sequence[dict[str, Any]], room: int | None) -> list[str]:
    header = ["NAMESPACE", "MODEL", "READY", "ROUTE", "MESSAGE"]
    rows = [
        [item["namespace"], item["name"], item["off"] or item["ready"], item["route"] or "<none>", item["message"]]
        for item in models
    ]
    table = print_table(header, rows).splitlines()
    if room is None or max(map(len, table)) <= room:
        return table
    head, *table = print_table(header[:-1], [row[:-1] for row in rows]).splitlines()
    found = [head]
    for line, item in zip(table, models, strict=True):
        found.append(line)
        if item["message"]:
            found += [" " * _INDENT + part for part in _wrapped(item["message"], room, _INDENT)]
    return found


def _next(models: Sequence[dict[str, Any]]) -> list[str]:
    for item in models:
        if item["ready"] != "True" and not item["off"]:
            text = f"skerry describe isvc {item['name']} -n {item['namespace']}"
            return ["", f"Next: {text}"]
    return []
