"""What the gateway adds to a request: latency and throughput against the pod asked directly, in the same run.

    python benchmarks/gateway.py [--quick] [--json]

The gateway runs on one core; the load generator and the pod, a server that does nothing, share the other. Each point
is measured directly and through the gateway in turn (and through haproxy where it is installed), in rounds, and the
medians are compared. `wrk` makes the load where it is installed, otherwise a client of our own.

`small`    the same GET on every connection: heads repeat, as those of most clients do
`varied`   each request has another head, so that nothing can be used again
`tensor`   a POST of 602 KB, the size of a 1x3x224x224 FP32 tensor in binary
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

HOST: Final = "bench.apps.localhost"
TENSOR: Final = 602_112
CONNECTIONS: Final = (1, 8, 32)
ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n" + b"x" * 100

SCRIPTS: Final = {
    "small": "",
    "varied": 'local n = 0\nrequest = function() n = n + 1; return wrk.format("GET", "/v2/health/live?n=" .. n) end\n',
    "tensor": f'wrk.method = "POST"\nwrk.body = string.rep("x", {TENSOR})\n',
}

HAPROXY: Final = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend public
  bind 127.0.0.1:{port}
  http-request set-header Host %[req.hdr(Host),lower]
  default_backend pod
backend pod
  option forwardfor
  balance random
  http-request add-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header X-Forwarded-Port %[dst_port]
  http-request add-header X-Forwarded-Proto http
  http-request add-header Forwarded for=%[src];host=%[req.hdr(host)];proto=http
  cookie pin insert indirect nocache httponly
  server s1 127.0.0.1:{pod} cookie v
"""


@dataclass(frozen=True)
class Point:
    """One measurement."""

    p50_us: float
    rps: float


class Pod(asyncio.Protocol):
    """Reads requests and answers each with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._head = b""
        self._left = 0  # bytes of a body that are still to come

    def data_received(self, data: bytes) -> None:
        if self._left:
            taken = min(self._left, len(data))
            self._left -= taken
            data = data[taken:]
            if not self._left:
                self._transport.write(ANSWER)
        self._head += data
        while not self._left and (end := self._head.find(b"\r\n\r\n") + 4) >= 4:
            head, body = self._head[:end].lower(), self._head[end:]
            start = head.find(b"content-length:")
            length = int(head[start + 15 : head.index(b"\r\n", start)]) if start >= 0 else 0
            self._left = max(0, length - len(body))
            self._head = body[length:]
            if not self._left:
                self._transport.write(ANSWER)


class Load(asyncio.Protocol):
    """One connection of our own load generator: a request, its answer, the next."""

    def __init__(self, kind: str, took: list[float]) -> None:
        self._kind = kind
        self._took = took
        self._number = 0
        self._left = 0
        self.failed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._send()

    def _send(self) -> None:
        self._number += 1
        query = f"?n={id(self)}-{self._number}" if self._kind == "varied" else ""
        method, body = ("POST", b"x" * TENSOR) if self._kind == "tensor" else ("GET", b"")
        head = f"{method} /v2/health/live{query} HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._began = time.perf_counter()
        self._transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self.failed = self.failed or not data.startswith(b"HTTP/1.1 200")
            self._left = data.index(b"\r\n\r\n") + 4 + 100
        self._left -= len(data)
        if self._left <= 0:
            self._left = 0
            self._took.append(time.perf_counter() - self._began)
            self._send()


def own_load(port: int, kind: str, connections: int, seconds: float) -> Point:
    """Measure with our own client."""

    async def run() -> list[float]:
        took: list[float] = []
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Load(kind, took), "127.0.0.1", port) for _ in range(connections)]
        await asyncio.sleep(seconds)
        for transport, load in made:
            transport.abort()
            if load.failed:
                raise SystemExit(f"an answer from port {port} was not 200")
        return took

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = runner.run(run())
    return Point(statistics.median(took) * 1e6, len(took) / seconds)


def wrk_load(port: int, kind: str, connections: int, seconds: float) -> Point:
    """Measure with wrk."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPTS[kind])
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}", "--latency", "-H", f"Host: {HOST}"]
        command += ["-s", script.name, f"http://127.0.0.1:{port}/v2/health/live"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"requests to port {port} failed:\n{text}")
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if median is None or rate is None:
        raise SystemExit(f"wrk said something else than expected:\n{text}")
    return Point(float(median[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[median[2]], float(rate[1]))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int, core: int) -> Iterator[tuple[int, float]]:
    """Run a server on one core; gives its pid and the seconds until it accepted a connection."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(process.pid, {core})
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - began > 20:
                    raise SystemExit(f"did not start: {' '.join(command)}") from None
                time.sleep(0.002)
        yield process.pid, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(20)


def memory_mib(pid: int) -> tuple[float, float]:
    """Return resident and proportional set size."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.MULTILINE))
    return int(sizes["Rss"]) / 1024, int(sizes["Pss"]) / 1024


def measure(ports: dict[str, int], rounds: int, seconds: float) -> dict[str, Point]:
    """Measure every point in rounds, the ways in turn; the medians count. Keys: `WAY KIND cN`."""
    load = wrk_load if shutil.which("wrk") else own_load
    kinds = {"small": CONNECTIONS, "varied": (32,), "tensor": (8,)}
    points: dict[str, list[Point]] = {}
    for _ in range(rounds):
        for kind, sizes in kinds.items():
            for connections in sizes:
                for way, port in ports.items():
                    point = load(port, kind, connections, seconds)
                    points.setdefault(f"{way} {kind} c{connections}", []).append(point)
    return {
        key: Point(statistics.median(p.p50_us for p in found), statistics.median(p.rps for p in found))
        for key, found in points.items()
    }


def figures(points: dict[str, Point]) -> dict[str, float]:
    """Compare each way with the direct one."""
    named: dict[str, float] = {}
    for key, point in points.items():
        way, kind, size = key.split(" ")
        direct = points[f"direct {kind} {size}"]
        if way == "direct":
            continue
        prefix = f"{'' if way == 'gateway' else way + '_'}{kind}_{size}"
        named[f"{prefix}_added_p50_us"] = round(point.p50_us - direct.p50_us, 1)
        named[f"{prefix}_rps"] = round(point.rps, 1)
        named[f"{prefix}_rps_ratio"] = round(point.rps / direct.rps, 3)
    return named


def run(rounds: int, seconds: float) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[0], cores[-1]
    os.sched_setaffinity(0, {last})
    pod, gateway, haproxy = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as home:
        table = Path(home) / "table.json"
        endpoint = {"address": "127.0.0.1", "port": pod, "cookie": "v"}
        route = {"name": "bench/bench", "host": HOST, "cookie": "pin", "services": [{"endpoints": [endpoint]}]}
        table.write_text(json.dumps({"routes": [route]}))
        config = Path(home) / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=haproxy, pod=pod))
        command = [sys.executable, "-m", "skerry.cluster.gateway", "--table", str(table)]
        command += ["--listen", f"127.0.0.1:{gateway}", "--log-level", "warning"]
        ports = {"direct": pod, "gateway": gateway}
        with (
            running([sys.executable, __file__, "--pod", str(pod)], pod, last),
            running(command, gateway, first) as (pid, started),
        ):
            resident, proportional = memory_mib(pid)
            if shutil.which("haproxy"):
                with running(["haproxy", "-f", str(config)], haproxy, first):
                    points = measure({**ports, "haproxy": haproxy}, rounds, seconds)
            else:
                points = measure(ports, rounds, seconds)
            after, _ = memory_mib(pid)
    return {
        **figures(points),
        "start_s": round(started, 3),
        "idle_rss_mib": round(resident, 1),
        "idle_pss_mib": round(proportional, 1),
        "loaded_rss_mib": round(after, 1),
    }


def serve_pod(port: int) -> None:
    import uvloop

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Pod, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute")
    parser.add_argument("--json", action="store_true", help="end with one JSON object of named figures")
    parser.add_argument("--pod", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.pod:
        serve_pod(given.pod)
        return
    named = run(1, 1.0) if given.quick else run(3, 3.0)
    print(f"load made by {'wrk' if shutil.which('wrk') else 'our own client'}")
    for name, value in named.items():
        print(f"{name:36} {value:>12g}")
    if given.json:
        print(json.dumps(named))


if __name__ == "__main__":
    main()
