"""The embedded API server: how fast it takes and gives objects, against a floor measured in the same run.

    python benchmarks/api.py [--quick] [--json]

The floor is a dictionary in memory behind the same HTTP stack: no checks, no disk, no history. It shows what of each
figure is HTTP. Both servers run in a process of their own, without TLS, and are measured in turn, in rounds; medians
are compared. Sixteen connections make the load, unless said otherwise.

`creates_per_s`       ConfigMaps created, each on the disk before it is answered
`pod_creates_per_s`   the same with pods: defaults and validation weigh more
`gets_per_s`          one pod read again and again
`patches_per_s`       merge patches of a pod's status
`list_10k_s`          one list of ten thousand ConfigMaps
`watch_p99_ms`        from sending a write to its event at a watcher, 99th percentile, at 200 writes a second
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

LIST: Final = 10_000
CLIENTS: Final = 16
WRITES_PER_SECOND: Final = 200
MAPS: Final = "/api/v1/namespaces/a/configmaps"
MANY: Final = "/api/v1/namespaces/many/configmaps"
PODS: Final = "/api/v1/namespaces/a/pods"
JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value" * 20}}


def pod(name: str) -> dict[str, Any]:
    container = {
        "name": "kserve-container",
        "image": "quay.io/modh/openvino_model_server:stable",
        "args": ["--model_name=m", "--port=8001", "--rest_port=8888", "--model_path=/mnt/models"],
        "env": [{"name": f"VARIABLE_{number}", "value": str(number)} for number in range(5)],
        "ports": [{"containerPort": 8888, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": [{"name": "mnt-models", "mountPath": "/mnt/models", "readOnly": True}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8888}},
    }
    volumes = [{"name": "mnt-models", "emptyDir": {}}]
    meta = {"name": name, "labels": {"app": "m", "component": "predictor"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [container], "volumes": volumes},
    }


class Connection:
    """One kept connection of a client that does little itself."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> "Connection":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 26)
        return self

    async def ask(self, method: str, path: str, body: Any = None, media: str = JSON) -> tuple[int, bytes]:
        self._send(method, path, body, media)
        head = await self.reader.readuntil(b"\r\n\r\n")
        code, length = int(head[9:12]), 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        return code, await self.reader.readexactly(length)

    async def good(self, method: str, path: str, body: Any = None, media: str = JSON) -> bytes:
        code, answer = await self.ask(method, path, body, media)
        if code not in {200, 201}:
            raise SystemExit(f"{method} {path}: {code} {answer[:300]!r}")
        return answer

    async def stream(self, path: str) -> None:
        """Ask for a watch and read past its head."""
        self._send("GET", path, None, JSON)
        await self.reader.readuntil(b"\r\n\r\n")

    async def event(self) -> bytes:
        """Read one line of a watch, whatever chunks it comes in."""
        while True:
            line = await self.reader.readuntil(b"\n")
            if line.startswith(b"{"):
                return line

    def close(self) -> None:
        self.writer.close()

    def _send(self, method: str, path: str, body: Any, media: str) -> None:
        raw = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer bench\r\ncontent-type: {media}\r\n"
            f"accept: {JSON}\r\ncontent-length: {len(raw)}\r\n\r\n"
        )
        self.writer.write(head.encode() + raw)


async def rate(port: int, seconds: float, one: Callable[[Connection, str], Awaitable[Any]]) -> float:
    """Let sixteen clients do one thing again and again; returns how often a second."""
    connections = [await Connection(port).open() for _ in range(CLIENTS)]
    done = 0
    started = time.perf_counter()
    token = f"{os.getpid()}-{time.monotonic_ns()}"

    async def work(number: int, connection: Connection) -> None:
        nonlocal done
        turn = 0
        while time.perf_counter() - started < seconds:
            await one(connection, f"o-{token}-{number}-{turn}")
            turn += 1
            done += 1

    await asyncio.gather(*(work(number, connection) for number, connection in enumerate(connections)))
    took = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return done / took


async def list_seconds(port: int, times: int) -> float:
    connection = await Connection(port).open()
    took = []
    for _ in range(times):
        started = time.perf_counter()
        answer = await connection.good("GET", MANY)
        took.append(time.perf_counter() - started)
    connection.close()
    if len(json.loads(answer)["items"]) != LIST:
        raise SystemExit("the list is not whole")
    return statistics.median(took)


async def watch_milliseconds(port: int, seconds: float) -> float:
    """Write at a fixed pace, and see how much later each write is seen."""
    watcher, writer = await Connection(port).open(), await Connection(port).open()
    await writer.ask("POST", MAPS, config_map("watched"))
    await watcher.stream(f"{MAPS}?watch=true&fieldSelector=metadata.name%3Dwatched")
    await watcher.event()
    sent: dict[str, float] = {}
    late: list[float] = []
    writes = int(seconds * WRITES_PER_SECOND)

    async def listen() -> None:
        while len(late) < writes:
            event = json.loads(await watcher.event())
            late.append(time.perf_counter() - sent[event["object"]["data"]["turn"]])

    listening = asyncio.ensure_future(listen())
    began = time.perf_counter()
    for number in range(writes):
        await asyncio.sleep(max(0.0, began + number / WRITES_PER_SECOND - time.perf_counter()))
        sent[str(number)] = time.perf_counter()
        await writer.good("PATCH", f"{MAPS}/watched", {"data": {"turn": str(number)}}, MERGE)
    async with asyncio.timeout(30):
        await listening
    watcher.close()
    writer.close()
    return 1000 * sorted(late)[int(len(late) * 0.99)]


async def measure(port: int, seconds: float, lists: int) -> dict[str, float]:
    """Take every figure of one server."""
    first = await Connection(port).open()
    await first.ask("POST", PODS, pod("read"))
    first.close()
    body = {"status": {"phase": "Running", "podIP": "127.0.0.9"}}

    async def patch(connection: Connection, name: str) -> None:
        await connection.good("PATCH", f"{PODS}/read/status", {"status": {**body["status"], "message": name}}, MERGE)

    return {
        "creates_per_s": await rate(port, seconds, lambda one, name: one.good("POST", MAPS, config_map(name))),
        "pod_creates_per_s": await rate(port, seconds, lambda one, name: one.good("POST", PODS, pod(name))),
        "gets_per_s": await rate(port, seconds, lambda one, _: one.good("GET", f"{PODS}/read")),
        "patches_per_s": await rate(port, seconds, patch),
        "list_10k_s": await list_seconds(port, lists),
        "watch_p99_ms": await watch_milliseconds(port, seconds * 2),
    }


class Floor:
    """The least that answers: bodies in a dictionary."""

    def __init__(self) -> None:
        self._objects = {f"{MANY}/m{number}": json.dumps(config_map(f"m{number}")).encode() for number in range(LIST)}
        self._watchers: list[asyncio.Queue[bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, method = scope["path"], scope["method"]
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if method == "GET" and b"watch" in scope["query_string"]:
            await self._watch(path, send)
            return
        if method == "POST":
            path = f"{path}/{json.loads(body)['metadata']['name']}"
        if method in {"POST", "PATCH"}:
            self._objects[path.removesuffix("/status")] = answer = body
            for queue in self._watchers:
                queue.put_nowait(b'{"type":"MODIFIED","object":' + body + b"}\n")
        elif path in self._objects:
            answer = self._objects[path]
        else:
            items = [data for key, data in self._objects.items() if key.startswith(path)]
            answer = b'{"kind":"List","items":[' + b",".join(items) + b"]}"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _watch(self, path: str, send: Any) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers.append(queue)
        queue.put_nowait(b'{"type":"ADDED","object":' + self._objects[f"{path}/watched"] + b"}\n")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})


async def real(path: Path) -> Any:
    """Make the API server over a new store with the ten thousand in it."""
    from skerry.api.kinds import REGISTRY
    from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
    from skerry.cluster.apiserver.auth import Tokens, token_hash
    from skerry.cluster.store import Key, Store
    from skerry.kit.clock import SystemClock

    async def no_logs(_namespace: str, _name: str, _query: dict[str, str]) -> Any:
        raise NotImplementedError

    store = Store.open(path / "store.db")
    for name in ("a", "many"):
        await store.create(Key("/namespaces", "", name), {"metadata": {"name": name, "uid": name}})
    seeds = []
    for number in range(LIST):
        item = config_map(f"m{number}")
        item["metadata"] |= {"namespace": "many", "uid": str(number), "creationTimestamp": "2026-01-01T00:00:00Z"}
        seeds.append(store.create(Key("/configmaps", "many", f"m{number}"), item))
    await asyncio.gather(*seeds)
    return ApiServer(
        ApiServerParts(store, REGISTRY, SystemClock(), Tokens({token_hash("bench"): "system:admin"}), no_logs)
    )


async def serve(which: str, directory: Path) -> None:
    """Run one server until the process is ended; its port is the first line that it prints."""
    import uvicorn

    from skerry.daemon.https import bind

    app = await real(directory) if which == "real" else Floor()
    listening = bind("127.0.0.1", 0, "port")
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False
    )
    await uvicorn.Server(config).serve(sockets=[listening])


def figures(rounds: int, seconds: float) -> dict[str, float]:
    """Measure both servers in turn; returns medians, and the ratios."""
    taken: dict[str, list[dict[str, float]]] = {"floor": [], "real": []}
    for _ in range(rounds):
        for which, results in taken.items():
            with tempfile.TemporaryDirectory(prefix="skerry-bench-") as directory:
                command = [sys.executable, "-P", __file__, "--serve", which, directory]  # platform.py here is another
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
                    assert server.stdout is not None
                    try:
                        port = int(server.stdout.readline())
                        results.append(asyncio.run(measure(port, seconds, rounds)))
                    finally:
                        server.kill()
    found = {}
    for name in taken["real"][0]:
        ours, floor = (statistics.median(one[name] for one in taken[which]) for which in ("real", "floor"))
        found[name] = ours
        found[f"{name}_vs_floor"] = ours / floor
    return found


def main() -> None:
    """Print the figures, each with its ratio to the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under half a minute")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--serve", nargs=2, metavar=("WHICH", "DIRECTORY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import uvloop

        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(serve(options.serve[0], Path(options.serve[1])))
        return
    found = figures(1 if options.quick else 3, 1.5 if options.quick else 5.0)
    for name in [name for name in found if not name.endswith("_vs_floor")]:
        print(f"{name:<20}{found[name]:10.2f}   {found[f'{name}_vs_floor']:6.2f} of the floor")
    if options.json:
        print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
