"""Logs are facts with keys: a constant event text and fields, one line per state change.

`log = logger(__name__)`, then `log.info("pod started", pod=name, took=seconds)`. On a terminal the line is for people,
elsewhere it is one JSON object.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

_FIELDS: Final = "skerry_fields"
_OWN: Final = frozenset({"time", "level", "logger", "event", "trace"})


class Logger:
    """The standard library's logger with the values as keyword arguments."""

    def __init__(self, target: logging.Logger) -> None:
        self._target = target

    def debug(self, event: str, /, **fields: Any) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields, trace=True)

    def _write(self, level: int, event: str, fields: Mapping[str, Any], *, trace: bool = False) -> None:
        if self._target.isEnabledFor(level):
            self._target.log(level, event, extra={_FIELDS: fields}, exc_info=trace and sys.exc_info()[0] is not None)


def logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(logging.getLogger(name))


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, event, then the fields; a field of such a name gets a `_`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        for key, value in _fields(record).items():
            line[f"{key}_" if key in _OWN else key] = value
        try:
            return json.dumps(line, default=str, allow_nan=False)
        except (TypeError, ValueError):  # a key that is no text, a number that JSON has not, a circle
            return json.dumps({key: value if isinstance(value, int) else str(value) for key, value in line.items()})


class ForPeople(logging.Formatter):
    """`12:00:01 I pod started pod=demo took=0.4`, with a trace below it where there is one.

    A value that is not one plain word stands in quotes, its control characters spelled out: text from outside must not
    write lines of its own or speak to the terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {key}={_word(value)}" for key, value in _fields(record).items())
        text = f"{moment} {record.levelname[0]} {record.getMessage()}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, _FIELDS, {})
    return fields


def _word(value: Any) -> str:
    text = str(value)
    plain = text.isprintable() and '"' not in text and " " not in text and text
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


def configure(level: str = "info", *, json_lines: bool | None = None) -> None:
    """Send the logs of the process to standard error; as JSON unless that is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    handler.setFormatter(JsonLines() if as_json else ForPeople())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx2", "httpcore2", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
