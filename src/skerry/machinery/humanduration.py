"""How long something took or lives, in the few characters of a table cell: `72s`, `2m3s`, `119m`, `3h5m`, `2d3h`.

Fact: k8s.io/apimachinery `pkg/util/duration` HumanDuration. Two units are shown while the small one still matters.
"""

import re
from datetime import timedelta
from typing import Final

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
_UNITS: Final = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
    "µs": timedelta(microseconds=1),
    "ns": timedelta(),
}


def human_duration(elapsed: timedelta | float) -> str:
    """Format a duration, seconds or a timedelta. Negative ones are `<invalid>`, but for a second of skew."""
    seconds = int(elapsed.total_seconds() if isinstance(elapsed, timedelta) else elapsed)
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def go_duration(elapsed: timedelta) -> str:
    """Format as Go's `Duration.String` does, which is how a `metav1.Duration` travels: `15.02s`, `1m0s`, `350ms`."""
    micros = elapsed // timedelta(microseconds=1)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if not micros:
        return "0s"
    if micros < 1000:
        return f"{sign}{micros}µs"
    if micros < 1_000_000:
        return f"{sign}{_trimmed(micros, 1000)}ms"
    minutes, rest = divmod(micros, 60_000_000)
    seconds = f"{_trimmed(rest, 1_000_000)}s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def parse_go_duration(text: str) -> timedelta:
    """Read what `go_duration` writes; raises ValueError for anything else."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+-"):
        raise ValueError(f"invalid duration {text!r}")
    total = sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())
    return -total if text.startswith("-") else total


def _trimmed(number: int, unit: int) -> str:
    whole, fraction = divmod(number, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
