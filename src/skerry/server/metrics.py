"""Counters and their text, byte for byte as OVMS writes them.

The common Python client appends `_total` to counters, adds `_created` series and prints `4.0`; dashboards made for OVMS
then find nothing. This exposition prints integers, sorts labels by name with `le` last, and writes `_count`, `_sum` and
`_bucket` in that order. Only the event loop's thread changes a value, so nothing is locked.

A series that no family shows (switched off by `--metrics_list`) still counts, which keeps the callers free of
questions.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final, Protocol, TypeVar

Labels = Mapping[str, str]

# floor(10 * 1.8 ** i), microseconds.
BUCKETS: Final = tuple(int(10 * 1.8**i) for i in range(33))
_MOST_NOTES: Final = 512
_MOST_POWER: Final = 10


class Series(Protocol):
    """One labelled value of a family."""

    def lines(self, name: str, labels: str) -> Iterator[str]: ...


AnySeries = TypeVar("AnySeries", bound=Series)


class Counter:
    """A whole number; also serves as a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def lines(self, name: str, labels: str) -> Iterator[str]:
        yield f"{name}{{{labels}}} {self.value}"


class Gauge:
    """A whole number that is found out when somebody looks."""

    __slots__ = ("read",)

    def __init__(self) -> None:
        self.read: Callable[[], int] = int

    def lines(self, name: str, labels: str) -> Iterator[str]:
        yield f"{name}{{{labels}}} {self.read()}"


class Histogram:
    """Durations in whole microseconds, in OVMS's buckets.

    Observing only notes the value; the notes are counted when somebody looks, or when there are many.
    """

    __slots__ = ("_counts", "_notes", "_total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._notes: list[float] = []
        self._total = 0

    def observe(self, seconds: float) -> None:
        self._notes.append(seconds)
        if len(self._notes) > _MOST_NOTES:
            self._count()

    def observe_each(self, seconds: list[float]) -> None:
        """Observe several at once."""
        self._notes += seconds
        if len(self._notes) > _MOST_NOTES:
            self._count()

    def _count(self) -> None:
        if len(self._notes) > _MOST_NOTES:
            self._count_many()
            return
        for seconds in self._notes:
            microseconds = int(seconds * 1e6)
            self._counts[bisect_left(BUCKETS, microseconds)] += 1
            self._total += microseconds
        self._notes.clear()

    def _count_many(self) -> None:
        """The same at a twentieth of the price; who has so many notes has loaded NumPy anyway."""
        import numpy as np

        microseconds = (np.array(self._notes) * 1e6).astype(np.int64)
        found = np.bincount(np.searchsorted(BUCKETS, microseconds), minlength=len(self._counts))
        self._counts = [before + more for before, more in zip(self._counts, found.tolist(), strict=True)]
        self._total += int(microseconds.sum())
        self._notes.clear()

    @property
    def count(self) -> int:
        return sum(self._counts) + len(self._notes)

    @property
    def total(self) -> int:
        self._count()
        return self._total

    def lines(self, name: str, labels: str) -> Iterator[str]:
        self._count()
        yield f"{name}_count{{{labels}}} {self.count}"
        yield f"{name}_sum{{{labels}}} {self.total}"
        for bound, below in zip((*BUCKETS, "+Inf"), accumulate(self._counts), strict=True):
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'


class SizeHistogram:
    """Whole numbers, in buckets of powers of two up to 1024."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = [0] * (_MOST_POWER + 2)
        self._total = 0

    def observe(self, size: int) -> None:
        self._counts[min((size - 1).bit_length(), _MOST_POWER + 1) if size > 1 else 0] += 1
        self._total += size

    @property
    def count(self) -> int:
        return sum(self._counts)

    @property
    def total(self) -> int:
        return self._total

    def lines(self, name: str, labels: str) -> Iterator[str]:
        yield f"{name}_count{{{labels}}} {self.count}"
        yield f"{name}_sum{{{labels}}} {self._total}"
        bounds = (*(1 << power for power in range(_MOST_POWER + 1)), "+Inf")
        for bound, below in zip(bounds, accumulate(self._counts), strict=True):
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'


class Family:
    """All series of one name."""

    def __init__(self, name: str, kind: str, description: str) -> None:
        self.name = name
        self._head = f"# HELP {name} {description}\n# TYPE {name} {kind}"
        self._series: dict[str, Series] = {}

    def series(self, kind: type[AnySeries], labels: Labels) -> AnySeries:
        """Return the series with these labels, made with 0 the first time it is asked for."""
        text = ",".join(f'{key}="{_escape(labels[key])}"' for key in sorted(labels))
        found = self._series.setdefault(text, kind())
        assert isinstance(found, kind)
        return found

    def lines(self) -> Iterator[str]:
        if self._series:
            yield self._head
        for labels, series in self._series.items():
            yield from series.lines(self.name, labels)


def exposition(families: Mapping[str, Family]) -> str:
    """The text for Prometheus; families without a series are left out."""
    return "".join(f"{line}\n" for family in families.values() for line in family.lines())


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
