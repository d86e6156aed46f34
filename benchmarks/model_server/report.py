"""What a run says: its circumstances, a line for each measurement, ratios within a round."""

import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.model_server.engine import measure_limit
from benchmarks.model_server.load import LOAD_CORE, SERVER_CORE, on_core
from benchmarks.model_server.measured import Measured, have

_BUSY: Final = 0.9
_LOUD: Final = 1.5


@dataclass(frozen=True)
class Tools:
    """Which load generators are used."""

    rest: str
    grpc: str


def tools(wanted: str) -> Tools:
    """`auto` takes those in C where they are installed, `python` never."""
    c = wanted == "auto"
    return Tools("wrk" if c and have("wrk") else "python", "h2load" if c and have("h2load") else "python")


@dataclass
class Report:
    """Figures by name, one value a round."""

    quiet: bool = False
    figures: dict[str, list[float]] = field(default_factory=dict)
    limited: set[str] = field(default_factory=set)

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    def circumstances(self, tools: Tools, seconds: float) -> None:
        load = os.getloadavg()
        self.say(f"server on core {SERVER_CORE}, load on core {LOAD_CORE} by {tools.rest} and {tools.grpc}")
        self.say(f"{seconds:g} s each; load average {load[0]:.2f} {load[1]:.2f} {load[2]:.2f}")
        if SERVER_CORE == LOAD_CORE:
            self.say("warning: there is only one core, so the load takes its time from the server")
        if load[0] > _LOUD:
            self.say(f"warning: a load average above {_LOUD} means that others work here: believe no figure")

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)

    def note(self, name: str, measured: Measured) -> None:
        for suffix, value in (
            ("", measured.rate),
            (" p50", measured.p50_ms),
            (" p99", measured.p99_ms),
            (" cpu", measured.cpu_us),
        ):
            self.add(name + suffix, value)
        times = f"{measured.p50_ms:>9.3f} ms{measured.p99_ms:>9.3f} ms p99{measured.cpu_us:>9.1f} us cpu"
        warning = ""
        if measured.client > _BUSY:
            self.limited.add(name)
            warning = "  the load generator was the limit"
        self.say(f"  {name:<28}{measured.rate:>10.1f} /s{times}{measured.client:>5.0%} client{warning}")

    def limit(self, name: str, kind: str, seconds: float, *files: Path) -> None:
        """The engine alone, on the server's core."""
        with on_core(SERVER_CORE):
            found = measure_limit(kind, seconds, *files)
        self.add(f"{name} limit", found["rate"])
        self.add(f"{name} limit p50", found["p50_ms"])
        self.say(f"  {name + ' limit':<28}{found['rate']:>10.1f} /s{found['p50_ms']:>9.3f} ms")

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    def ratio(self, name: str, of: str) -> float:
        """The median of the ratios, each within its round."""
        pairs = zip(self.figures[name], self.figures[of], strict=True)
        return statistics.median(value / base for value, base in pairs)

    def end(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.say(f"{name:<34}{value:>12}")
        for name in sorted(self.limited):
            self.say(f"warning: {name} is a lower bound, because the load generator had no time left")
        if (load := os.getloadavg()[0]) > _LOUD + 1:  # one of it is this program
            self.say(f"warning: the load average at the end is {load:.2f}")
