"""Log lines: one JSON object each for machines, one readable line for people; nothing can break the line."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from skerry.kit import log as kit_log
from skerry.kit.clock import SystemClock, timestamp
from skerry.kit.log import ForPeople, JsonLines, configure, logger


class Lines(logging.Handler):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def both() -> Iterator[tuple[kit_log.Logger, list[str], list[str]]]:
    machine, person = Lines(JsonLines()), Lines(ForPeople())
    target = logging.getLogger("test.kit.log")
    target.handlers[:] = [machine, person]
    target.propagate = False
    target.setLevel("DEBUG")
    yield logger("test.kit.log"), machine.lines, person.lines
    target.handlers[:] = []


def test_values_are_fields_in_both_forms(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    log, machine, person = both
    log.info("pod started", pod="demo", took=0.4, tries=3)
    line = json.loads(machine[0])
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "info",
        "logger": "test.kit.log",
        "event": "pod started",
        "pod": "demo",
        "took": 0.4,
        "tries": 3,
    }
    assert person[0][8:] == " I pod started pod=demo took=0.4 tries=3"


def test_any_name_can_be_a_field(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    log, machine, person = both
    fields: dict[str, Any] = {"event": "ADDED", "level": 7, "time": "late", "logger": "x", "self": 1, "trace": "t"}
    log.warning("something came", **fields)
    line = json.loads(machine[0])
    assert (line["event"], line["level"], line["logger"]) == ("something came", "warning", "test.kit.log")
    assert line["time"] != "late"
    assert (line["event_"], line["level_"], line["time_"], line["self"]) == ("ADDED", 7, "late", 1)
    assert "event=ADDED" in person[0]


def test_text_from_outside_cannot_forge_a_line(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    log, machine, person = both
    log.error("start failed", why='no such file\n12:00:00 I all is well "really"', escape="\x1b[2J", plain="a=b")
    assert len(machine[0].splitlines()) == 1
    assert len(person[0].splitlines()) == 1
    assert "\x1b" not in person[0]
    assert person[0].endswith(
        r'E start failed why="no such file\n12:00:00 I all is well \"really\"" escape="\u001b[2J" plain=a=b'
    )


def test_words_with_spaces_are_quoted_for_people(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    log, _, person = both
    log.info("x", text="two words", empty="", none=None, yes=True, items=["a", 1], accent="déjà-vu")
    assert person[0][8:] == ' I x text="two words" empty="" none=None yes=True items="[\'a\', 1]" accent=déjà-vu'


class Awkward:
    def __repr__(self) -> str:
        return "awkward"


def test_values_that_are_not_json(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    log, machine, _ = both
    log.info(
        "odd", path=Path("/x"), when=datetime(2026, 1, 1, tzinfo=UTC), obj=Awkward(), nan=float("nan"), data={(1, 2): 3}
    )
    line = json.loads(machine[0], parse_constant=pytest.fail)
    assert (line["path"], line["obj"]) == ("/x", "awkward")
    assert line["when"].startswith("2026-01-01")
    assert line["nan"] == "nan"


def test_an_exception_brings_its_trace(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    log, machine, person = both
    try:
        int("broken")
    except ValueError:
        log.exception("reconcile crashed", key="a/b")
    assert "ValueError: invalid literal" in json.loads(machine[0])["trace"]
    first, *trace = person[0].split("\n")
    assert first.endswith("E reconcile crashed key=a/b")
    assert trace[-1].startswith("ValueError: invalid literal")
    log.exception("outside of an except clause")  # noqa: LOG004 - a mistake that must not make the line odd
    assert "trace" not in json.loads(machine[1])


def test_levels_are_respected(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    log, machine, _ = both
    logging.getLogger("test.kit.log").setLevel("WARNING")
    log.debug("no")
    log.info("no")
    log.warning("yes")
    assert [json.loads(line)["event"] for line in machine] == ["yes"]


def test_records_of_other_libraries_are_formatted_too(both: tuple[kit_log.Logger, list[str], list[str]]) -> None:
    _, machine, person = both
    logging.getLogger("test.kit.log").warning("took %d s", 3)
    assert json.loads(machine[0])["event"] == "took 3 s"
    assert person[0].endswith("W took 3 s")


def test_configure_writes_json_where_nobody_watches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure("warning")
        logger("x").warning("hello", a=1)
        logger("x").info("not this")
        assert json.loads(capsys.readouterr().err)["a"] == 1
        configure(json_lines=False)
        logger("x").info("hello", a=1)
        assert capsys.readouterr().err.endswith(" I hello a=1\n")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        configure()
        logger("x").info("hello", a=2)
        assert capsys.readouterr().err.endswith(" I hello a=2\n")
    finally:
        root.handlers[:] = before
        root.setLevel(level)


def test_timestamps_are_kubernetes_own() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2026-01-02T01:04:05Z"


async def test_the_system_clock_goes_forward() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now().tzinfo is UTC
