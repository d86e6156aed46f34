"""The server's log, on standard output in OVMS's line pattern: `[time][thread][serving][level][place] event key=value`.

The platform's own log module is not used because this room imports no other; the rule is the same: a constant text,
values as fields, never a payload.
"""

import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

TRACE: Final = 5
LEVELS: Final = {
    "TRACE": TRACE,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
}
_FIELDS: Final = "skerry_fields"
_serving: Final = logging.getLogger("serving")


def debug(event: str, **fields: Any) -> None:
    """Something that helps to follow one request or one load."""
    _serving.debug(event, extra={_FIELDS: fields}, stacklevel=2)


def info(event: str, **fields: Any) -> None:
    """A change of state."""
    _serving.info(event, extra={_FIELDS: fields}, stacklevel=2)


def warning(event: str, **fields: Any) -> None:
    """Something that a person should look at before it becomes an error."""
    _serving.warning(event, extra={_FIELDS: fields}, stacklevel=2)


def exception(event: str, **fields: Any) -> None:
    """A defect of ours, with its trace."""
    _serving.error(event, extra={_FIELDS: fields}, stacklevel=2, exc_info=True)


class _Pattern(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        place = f"{record.filename}:{record.lineno}"
        fields = "".join(f" {key}={value}" for key, value in getattr(record, _FIELDS, {}).items())
        text = (
            f"[{moment}.{int(record.msecs):03d}][{record.process}][{record.name}][{record.levelname.lower()}][{place}]"
        )
        text += f" {record.getMessage()}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(level: str, path: Path | None) -> None:
    """Send the log to standard output, and to a file too when one is named."""
    logging.addLevelName(TRACE, "TRACE")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if path is not None:
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    root = logging.getLogger()
    root.handlers[:] = handlers
    for handler in handlers:
        handler.setFormatter(_Pattern())
    root.setLevel(LEVELS[level])
