"""Counts by route, cheap enough to be always on, written in Prometheus' text format when asked."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Final

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Sample = tuple[str, str, float]  # suffix of the name, further labels, value


class Tally:
    """The counts of one route."""

    __slots__ = ("buckets", "bytes_in", "bytes_out", "codes", "in_flight", "seconds")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.in_flight = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(_BOUNDS) + 1)

    def count(self, code: int, seconds: float) -> None:
        """Count one finished request."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.buckets[bisect_left(_BOUNDS, seconds)] += 1
        self.seconds += seconds


def exposition(tallies: Mapping[str, Tally], gauges: Mapping[str, float]) -> str:
    """Write everything in the text format."""
    lines = [line for name, value in gauges.items() for line in _gauge(name, value)]
    lines += _family("requests_total", "counter", tallies, _codes)
    lines += _family("requests_in_flight", "gauge", tallies, lambda tally: [("", "", tally.in_flight)])
    lines += _family("request_bytes_total", "counter", tallies, lambda tally: [("", "", tally.bytes_in)])
    lines += _family("response_bytes_total", "counter", tallies, lambda tally: [("", "", tally.bytes_out)])
    lines += _family("request_seconds", "histogram", tallies, _histogram)
    return "\n".join(lines) + "\n"


def _family(
    name: str, kind: str, tallies: Mapping[str, Tally], samples: Callable[[Tally], Iterable[Sample]]
) -> Iterable[str]:
    yield f"# TYPE skerry_gateway_{name} {kind}"
    for route, tally in tallies.items():
        namespace, _, short = route.partition("/")
        for suffix, labels, value in samples(tally):
            yield f'skerry_gateway_{name}{suffix}{{namespace="{namespace}",route="{short}"{labels}}} {value}'


def _gauge(name: str, value: float) -> tuple[str, str]:
    return f"# TYPE skerry_gateway_{name} gauge", f"skerry_gateway_{name} {value}"


def _codes(tally: Tally) -> Iterable[Sample]:
    return [("", f',code="{code}"', count) for code, count in sorted(tally.codes.items())]


def _histogram(tally: Tally) -> Iterable[Sample]:
    total = 0
    for bound, count in zip((*_BOUNDS, "+Inf"), tally.buckets, strict=True):
        total += count
        yield "_bucket", f',le="{bound}"', total
    yield "_sum", "", tally.seconds
    yield "_count", "", total
