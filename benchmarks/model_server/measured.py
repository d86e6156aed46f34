"""What one measurement says, and the load generators in C that make it when they are installed.

`wrk` (HTTP/1.1) and `h2load` (HTTP/2) need a tenth of a core where Python needs all of it, so they are used when they
are there. Neither looks at answers: their number of bytes must be that of as many good ones.
"""

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SCRIPT: Final = """
local file = io.open(os.getenv("BENCH_BODY"), "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
for line in io.lines(os.getenv("BENCH_HEAD")) do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'MEASURED {"requests": %d, "us": %d, "p50": %f, "p99": %f, "errors": %d, "bytes": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status + e.connect + e.read + e.write + e.timeout, summary.bytes))
end
"""


@dataclass(frozen=True)
class Measured:
    """Requests a second, how long one took, what it cost the server, and how much of its core the client used."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    client: float
    tool: str


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def child_share() -> Iterator[Callable[[], float]]:
    """The part of a core that child processes use inside."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()

    def share() -> float:
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
        return used / (time.perf_counter() - start)

    yield share


def have(tool: str) -> bool:
    return shutil.which(tool) is not None


def by_wrk(address: tuple[str, int], request: bytes, answer_bytes: int, connections: int, seconds: float) -> Measured:
    """A whole HTTP/1.1 request again and again. The server's cost is the caller's to fill in."""
    head, _, body = request.partition(b"\r\n\r\n")
    target, *lines = head.decode().split("\r\n")
    whole = max(round(seconds), 1)  # wrk knows no parts of a second
    with tempfile.TemporaryDirectory() as directory, child_share() as share:
        files = {name: Path(directory, name) for name in ("body", "head", "script.lua")}
        files["body"].write_bytes(body)
        own = ("content-length:", "host:")  # what wrk writes itself
        files["head"].write_text("".join(f"{line}\n" for line in lines if not line.startswith(own)))
        files["script.lua"].write_text(_SCRIPT)
        environment = os.environ | {"BENCH_BODY": str(files["body"]), "BENCH_HEAD": str(files["head"])}
        url = f"http://{address[0]}:{address[1]}{target.split(' ')[1]}"
        words = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout=30s", "-s", str(files["script.lua"]), url]
        out = subprocess.run(words, env=environment, check=True, capture_output=True, text=True, timeout=whole + 60)
        client = share()
    found = json.loads(out.stdout.partition("MEASURED ")[2])
    rest = found["bytes"] - found["requests"] * answer_bytes
    assert not found["errors"], out.stdout
    assert 0 <= rest <= (connections + 1) * answer_bytes, f"answers of another length: {out.stdout}"
    return Measured(found["requests"] / found["us"] * 1e6, found["p50"] / 1e3, found["p99"] / 1e3, 0.0, client, "wrk")


def by_h2load(
    address: tuple[str, int], path: str, body: bytes, answer_bytes: int, connections: int, streams: int, seconds: float
) -> Measured:
    """A gRPC call again and again; the body is a framed message, and `answer_bytes` those of a good answer's data."""
    with tempfile.TemporaryDirectory() as directory, child_share() as share:
        file, log = Path(directory, "body"), Path(directory, "log")
        file.write_bytes(body)
        words = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{max(round(seconds), 1)}"]
        words += ["-w30", "-W30", f"-d{file}", f"--log-file={log}"]
        words += [
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            f"http://{address[0]}:{address[1]}{path}",
        ]
        out = subprocess.run(words, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
        client = share()
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
    rate, data = re.search(r"([\d.]+) req/s", out), re.search(r"\((\d+)\) data", out)
    if not (counts and rate and data):
        raise AssertionError(out)
    done = int(counts[2])
    assert done, out
    assert not any(int(counts[number]) for number in (3, 4, 5)), out
    assert abs(int(data[1]) - done * answer_bytes) <= connections * streams * answer_bytes, f"other answers: {out}"
    times = sorted(int(row[2]) for row in rows if row[1] == "200")
    return Measured(
        float(rate[1]), statistics.median(times) / 1e3, times[int(len(times) * 0.99)] / 1e3, 0.0, client, "h2load"
    )
