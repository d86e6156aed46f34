"""A long life: a million requests of all sorts, ten thousand connections that only stay, clients that are slow.

The server must answer every good request, refuse every faulty one in the protocol's form, get over clients that hang up
in the middle, and keep its memory. It runs as it is shipped, over REST and gRPC, with a model of 4 x 3 numbers.

    python benchmarks/soak.py [--quick] [--json] [--requests N] [--idle N]

Of 1000 requests 450 are JSON, 200 binary, 250 gRPC, 60 are faulty over REST and 20 over gRPC, and 20 hang up. Memory is
read after each twentieth; what the first quarter adds (caches, pools) is not growth. Exits with 1 when a bound breaks.

| key | what it is | bound |
|---|---|---|
| `requests` | how many were made | |
| `rss_mib` | resident memory at the end of them | |
| `rss_growth_mib` | since the first quarter | 8 |
| `fds_left` | open files more than before, when all clients have gone | 3 |
| `in_flight_left` | requests that the server still counts then | 0 |
| `idle_connections` | connections open at once, half REST, half gRPC, after one request each; all must stay | |
| `idle_kib_each` | the server's memory for one | |
| `idle_p99_ms` | what another client's requests take meanwhile (99th percentile) | 250 |
| `slow_dropped_s` | how long the server bears the most tiresome slow client | 45 |
| `slow_head_s`, `slow_greeting_s`, `slow_frame_s` | a head, HTTP/2's greeting, a frame at one byte a second | |
| `slow_body_s`, `slow_message_s` | a body, a gRPC message likewise (not with `--quick`: it takes a minute) | |
| `slow_reading_s` | answers that nobody reads (not with `--quick`) | |
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # `make bench` starts this without the script's own directory

from benchmarks.model_server import grpc_load, load, soak_clients
from benchmarks.model_server.engine import tiny_model
from benchmarks.model_server.load import LOAD_CORE
from benchmarks.model_server.servers import Server, serving
from benchmarks.model_server.soak_clients import Requests

BOUNDS: Final = {
    "rss_growth_mib": 8.0,
    "fds_left": 3,
    "in_flight_left": 0,
    "idle_p99_ms": 250.0,
    "slow_dropped_s": 45.0,
}
ROUNDS: Final = 20
SHARES: Final = {"json": 450, "binary": 200, "grpc": 250, "faulty": 60, "faulty_grpc": 20, "hang_up": 20}
SLOW_SECONDS: Final = 60.0


def requests_for(server: Server) -> Requests:
    """Make the good requests, and check one answer of each."""
    assert server.grpc
    row = np.array([[1, 2, 3, 4]], np.float32)
    as_json, as_binary = load.tensor_requests("x", row)
    message = grpc_load.request_of("x", row)
    (json_bytes, body), (binary_bytes, raw) = (load.answer_size(server.address, one) for one in (as_json, as_binary))
    load.is_softmax(body)
    load.is_softmax(raw)
    answer = grpc_load.ask(server.grpc, message)
    assert abs(float(grpc_load.values_of(answer).sum()) - 1) < 1e-5
    lengths = (json_bytes, binary_bytes, len(answer) + 5)
    return Requests(server.address, server.grpc, as_json, as_binary, message, *lengths)


async def one_round(requests: Requests, count: int) -> None:
    part = {name: count * share // 1000 for name, share in SHARES.items()}
    faulty = soak_clients.faulty_rest(requests.json)
    async with asyncio.TaskGroup() as group:
        works: tuple[Coroutine[Any, Any, object], ...] = (
            soak_clients.good_rest(requests.rest, requests.json, requests.json_bytes, part["json"]),
            soak_clients.good_rest(requests.rest, requests.binary, requests.binary_bytes, part["binary"]),
            soak_clients.good_grpc(requests, part["grpc"]),
            soak_clients.ask_badly(requests.rest, faulty, part["faulty"]),
            soak_clients.ask_badly_over_grpc(requests.grpc, part["faulty_grpc"]),
            soak_clients.hang_up(requests, part["hang_up"]),
        )
        for work in works:
            group.create_task(work)


async def idle(requests: Requests, server: Server, count: int) -> dict[str, float]:
    """Open them, and see what another client gets."""
    before = server.memory_mib()
    connections = soak_clients.Idle()
    try:
        await connections.open(requests, count)
        other = await soak_clients.good_rest(requests.rest, requests.json, requests.json_bytes, 20_000, 1)
        assert connections.still_open == count, f"{count - connections.still_open} idle connections were closed"
        times = sorted(other.times)
        return {
            "idle_connections": count,
            "idle_kib_each": (server.memory_mib() - before) * 1024 / count,
            "idle_p99_ms": times[int(len(times) * 0.99)] * 1000,
        }
    finally:
        connections.close()


async def slow(requests: Requests, *, quick: bool) -> dict[str, float]:
    """Each kind of slow client, a few at a time, and how long it was borne."""
    opening, head = soak_clients.grpc_opening(requests.message), requests.binary.index(b"\r\n\r\n") + 4
    kinds = {
        "head": lambda: soak_clients.drip(requests.rest, requests.binary, 10),
        "greeting": lambda: soak_clients.drip(requests.grpc, opening, 10),
        "frame": lambda: soak_clients.drip(requests.grpc, opening, len(grpc_load.GREETING) + 30),
    }
    if not quick:
        long_body = requests.binary[:head].replace(b"content-length: ", b"content-length: 9") + bytes(100)
        kinds["body"] = lambda: soak_clients.drip(requests.rest, long_body, head)
        kinds["message"] = lambda: soak_clients.drip_frames(requests.grpc, requests.message)
        kinds["reading"] = lambda: soak_clients.never_read(requests.rest, requests.json)
    took: dict[str, float] = {}

    async def bear(name: str) -> None:
        spent = await soak_clients.seconds_until_dropped(kinds[name](), SLOW_SECONDS)
        took[name] = max(took.get(name, 0.0), spent)

    async with asyncio.TaskGroup() as group:
        for name in kinds:
            for _ in range(5):
                group.create_task(bear(name))
        answered = await soak_clients.good_rest(requests.rest, requests.json, requests.json_bytes, 2000, 1)
        assert answered.answered >= 2000
    return {f"slow_{name}_s": seconds for name, seconds in took.items()} | {"slow_dropped_s": max(took.values())}


def raise_limit(wanted: int) -> int:
    """Room for the connections, here and in the server, which inherits it; returns how many fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + 200
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(need, hard), hard))
    if hard < need:
        fit = hard - 200
        print(
            f"only {fit} of {wanted} idle connections: RLIMIT_NOFILE is {hard}; raise it with ulimit -n",
            file=sys.stderr,
        )
        return fit
    return wanted


def open_files(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def in_flight(server: Server) -> int:
    with urllib.request.urlopen(f"http://{server.address[0]}:{server.address[1]}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("ovms_current_requests{"))


async def settled(server: Server, files: int) -> None:
    """Until the server has seen that its clients have gone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (open_files(server) > files or in_flight(server)):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def soak(
    server: Server, count: int, idle_count: int, *, quick: bool, say: Callable[[str], None]
) -> dict[str, float]:
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context)))
    requests = requests_for(server)
    await asyncio.sleep(0.5)
    files, memory = open_files(server), []
    for number in range(ROUNDS):
        start = time.monotonic()
        await one_round(requests, count // ROUNDS)
        await settled(server, files)
        memory.append(server.memory_mib())
        rate, made = count / ROUNDS / (time.monotonic() - start), (number + 1) * (count // ROUNDS)
        say(f"  {made:>9} requests  {memory[-1]:>8.1f} MiB  {open_files(server):>4} files  {rate:>8.0f} /s")
        assert not failures, failures[0]
        assert server.process.poll() is None, "the server ended"
    found: dict[str, float] = {
        "requests": count // ROUNDS * ROUNDS,
        "rss_mib": memory[-1],
        "rss_growth_mib": memory[-1] - memory[ROUNDS // 4 - 1],
    }
    found |= await idle(requests, server, idle_count)
    say(f"  {idle_count} idle connections: {found['idle_kib_each']:.1f} KiB each")
    found |= await slow(requests, quick=quick)
    await settled(server, files)
    assert not failures, failures[0]
    return found | {"fds_left": max(open_files(server) - files, 0), "in_flight_left": in_flight(server)}


def main() -> int:
    parser = argparse.ArgumentParser(description="A million requests, ten thousand idle connections, slow clients.")
    parser.add_argument("--quick", action="store_true", help="40 000 requests, 2 000 connections, about half a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, and nothing else")
    parser.add_argument("--requests", type=int, default=0, help="how many; else a million")
    parser.add_argument("--idle", type=int, default=0, help="how many connections; else 10 000")
    options = parser.parse_args()
    count = options.requests or (40_000 if options.quick else 1_000_000)
    connections = raise_limit(options.idle or (2_000 if options.quick else 10_000))

    def say(text: str) -> None:
        if not options.json:
            print(text, flush=True)

    say(f"load average {os.getloadavg()[0]:.2f}; {count} requests")
    with tempfile.TemporaryDirectory() as directory, serving(tiny_model(Path(directory) / "tiny"), grpc=True) as server:
        os.sched_setaffinity(0, {LOAD_CORE})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            work = soak(server, count, connections, quick=options.quick, say=say)
            figures = {name: round(value, 3) for name, value in runner.run(work).items()}
    broken = [name for name, bound in BOUNDS.items() if figures.get(name, 0) > bound]
    for name, value in figures.items():
        say(f"{name:<34}{value:>12}" + (f"  more than {BOUNDS[name]:g}" if name in broken else ""))
    if options.json:
        print(json.dumps({name: value if value != float("inf") else None for name, value in figures.items()}))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
