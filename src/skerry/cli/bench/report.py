"""What is printed: a line while it runs, a table or JSON afterwards."""

import sys
from collections.abc import Sequence
from typing import Any, Final

from skerry.cli.bench.load import Measured

_BUSY: Final = 0.9
HEADER: Final = ("CLIENTS", "REQUESTS/S", "P50 MS", "P90 MS", "P99 MS", "MAX MS", "ANSWERS", "FAILURES")


class Progress:
    """One line on a terminal that is written over; nothing where nobody looks."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._shown = sys.stderr.isatty()

    def __call__(self, seconds: float, measured: Measured) -> None:
        if self._shown:
            failed = f", {sum(measured.failures.values())} failed" if measured.failures else ""
            rate = f"{measured.answers / seconds:,.0f}/s" if seconds else "…"
            text = f"{measured.concurrency} clients  {seconds:4.1f} of {self._total:g} s  {rate}{failed}"
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def row(measured: Measured) -> list[str]:
    """One line of the table."""
    times = measured.latencies
    shown = [times.percentile(share) for share in (0.5, 0.9, 0.99)] + [times.most]
    cells = [f"{value * 1000:.3g}" if value < 0.1 else f"{value * 1000:.0f}" for value in shown]
    if not times.count:
        cells = ["-"] * 4
    failures = ", ".join(f"{count} {kind}" for kind, count in measured.failures.most_common()) or "0"
    return [str(measured.concurrency), f"{measured.per_second:.1f}", *cells, str(measured.answers), failures]


def remarks(runs: Sequence[Measured]) -> list[str]:
    """What a reader must know before believing the table."""
    found = []
    for one in runs:
        who = f"{one.concurrency} clients"
        if one.client_cpu > _BUSY:
            found.append(
                f"{who}: this program used {one.client_cpu:.0%} of a core, so the server may be faster than this"
            )
        if one.unsent and one.rate is not None:
            found.append(
                f"{who}: {one.unsent} of the requests of {one.rate:g}/s were never sent, for want of a free connection:"
                " the server cannot keep up, and the latencies are lower bounds"
            )
        if not one.answers and not one.interrupted:
            found.append(f"{who}: no answer at all; give a longer --duration if the model is that slow")
    return found


def as_json(measured: Measured) -> dict[str, Any]:
    """The same for machines."""
    times = measured.latencies
    return {
        "concurrency": measured.concurrency,
        "rate": measured.rate,
        "seconds": round(measured.seconds, 3),
        "answers": measured.answers,
        "requests_per_s": round(measured.per_second, 2),
        "mean_ms": round(times.mean * 1000, 4),
        "p50_ms": round(times.percentile(0.5) * 1000, 4),
        "p90_ms": round(times.percentile(0.9) * 1000, 4),
        "p99_ms": round(times.percentile(0.99) * 1000, 4),
        "max_ms": round(times.most * 1000, 4),
        "failures": dict(measured.failures),
        "unsent": measured.unsent,
        "client_cpu": round(measured.client_cpu, 3),
        "client_limited": measured.client_cpu > _BUSY,
        "interrupted": measured.interrupted,
    }
