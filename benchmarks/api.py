"""The embedded API server: how fast it takes and gives objects, against a floor measured in the same run.

    python benchmarks/api.py [--quick] [--json]

The floor is a dictionary in memory behind the same HTTP stack: no checks, no disk, no history. It shows what of each
figure is HTTP. Both servers run in a process of their own, without TLS, and are measured in turn, in rounds; medians
are compared. Ten thousand pods are there from the start. Sixteen connections make the load, unless said otherwise.

`creates_per_s`       ConfigMaps created, each on the disk before it is answered
`pod_creates_per_s`   the same with pods: defaults and validation weigh more
`gets_per_s`          one pod read again and again
`updates_per_s`       ConfigMaps replaced, each client its own
`patches_per_s`       merge patches of the status of pods, each client its own
`list_10k_s`          one list of the ten thousand pods
`watch_p99_ms`        from sending a write to its event at a watcher, 99th percentile, at 200 writes a second, with
                      1 000 watchers of one object each and 10 of all: every write is seen by eleven
`start_10k_s`         from starting the server to its first answer, with the ten thousand pods stored
`bytes_per_object`    what ten thousand pods add to the memory of the server (PSS), after one list of all of them
`platform_bytes_per_object`   the same with the cache of the controllers beside it, as the daemon has it; no floor
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

LIST: Final = 10_000
WATCHERS: Final = 1_000
WIDE_WATCHERS: Final = 10
CLIENTS: Final = 16
WRITES_PER_SECOND: Final = 200
MAPS: Final = "/api/v1/namespaces/a/configmaps"
MANY: Final = "/api/v1/namespaces/many/pods"
WATCHED: Final = "/api/v1/namespaces/watched/configmaps"
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
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        code, length = int(head[9:12]), head.partition(b"content-length:")[2].split(b"\r\n")[0]
        if length:
            return code, await self.reader.readexactly(int(length))
        chunks = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            chunks.append((await self.reader.readexactly(size + 2))[:-2])
        await self.reader.readexactly(2)
        return code, b"".join(chunks)

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


Action = Callable[[Connection, str], Awaitable[Any]]


async def rate(port: int, seconds: float, one: Action) -> float:
    """Let sixteen clients do one thing again and again, with a new name each time; returns how often a second."""
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
    """Write at a fixed pace, and see how much later each write is seen by each that watches it."""
    writer = await Connection(port).open()
    names = [f"w{number}" for number in range(WATCHERS)]
    for name in names:
        await writer.good("POST", WATCHED, config_map(name))
    paths = [f"{WATCHED}?watch=true&fieldSelector=metadata.name%3D{name}" for name in names]
    watchers = [await Connection(port).open() for _ in range(WATCHERS + WIDE_WATCHERS)]
    for watcher, path in zip(watchers, [*paths, *[f"{WATCHED}?watch=true"] * WIDE_WATCHERS], strict=True):
        await watcher.stream(path)
    sent: dict[str, float] = {}
    late: list[float] = []
    writes, all_seen = int(seconds * WRITES_PER_SECOND), asyncio.Event()

    async def listen(watcher: Connection) -> None:
        while True:
            line = await watcher.event()
            turn = json.loads(line)["object"]["data"].get("turn")
            if turn in sent:  # else it is the state at the beginning
                late.append(time.perf_counter() - sent[turn])
                if len(late) == writes * (1 + WIDE_WATCHERS):
                    all_seen.set()

    listening = [asyncio.ensure_future(listen(watcher)) for watcher in watchers]
    began = time.perf_counter()
    for number in range(writes):
        await asyncio.sleep(max(0.0, began + number / WRITES_PER_SECOND - time.perf_counter()))
        sent[str(number)] = time.perf_counter()
        await writer.good("PATCH", f"{WATCHED}/{names[number % WATCHERS]}", {"data": {"turn": str(number)}}, MERGE)
    async with asyncio.timeout(30):
        await all_seen.wait()
    for task, watcher in zip(listening, watchers, strict=True):
        task.cancel()
        watcher.close()
    await asyncio.gather(*listening, return_exceptions=True)
    writer.close()
    return 1000 * sorted(late)[int(len(late) * 0.99)]


async def measure(port: int, seconds: float, lists: int) -> dict[str, float]:
    """Take every figure of one server that runs."""
    first = await Connection(port).open()
    for number in range(CLIENTS):
        await first.ask("POST", PODS, pod(f"p{number}"))
        await first.ask("POST", MAPS, config_map(f"m{number}"))
    first.close()

    def own(name: str) -> str:
        return name.split("-")[3]

    async def patch(connection: Connection, name: str) -> None:
        body = {"status": {"phase": "Running", "podIP": "127.0.0.9", "message": name}}
        await connection.good("PATCH", f"{PODS}/p{own(name)}/status", body, MERGE)

    async def update(connection: Connection, name: str) -> None:
        body = config_map(f"m{own(name)}")
        await connection.good("PUT", f"{MAPS}/m{own(name)}", {**body, "data": {"turn": name}})

    return {
        "creates_per_s": await rate(port, seconds, lambda one, name: one.good("POST", MAPS, config_map(name))),
        "pod_creates_per_s": await rate(port, seconds, lambda one, name: one.good("POST", PODS, pod(name))),
        "gets_per_s": await rate(port, seconds, lambda one, _: one.good("GET", f"{PODS}/p0")),
        "updates_per_s": await rate(port, seconds, update),
        "patches_per_s": await rate(port, seconds, patch),
        "list_10k_s": await list_seconds(port, lists),
        "watch_p99_ms": await watch_milliseconds(port, seconds * 2),
    }


class Floor:
    """The least that answers: bodies in a dictionary."""

    def __init__(self, count: int) -> None:
        self._objects = {f"{MANY}/m{number}": json.dumps(pod(f"m{number}")).encode() for number in range(count)}
        self._watchers: dict[str, list[asyncio.Queue[bytes]]] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, method = scope["path"], scope["method"]
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if method == "GET" and b"watch" in scope["query_string"]:
            name = scope["query_string"].partition(b"name%3D")[2].decode()
            await self._watch(f"{path}/{name}" if name else path, send)
            return
        if method == "POST":
            path = f"{path}/{json.loads(body)['metadata']['name']}"
        if method in {"POST", "PUT", "PATCH"}:
            self._objects[path.removesuffix("/status")] = answer = body
            for queue in [*self._watchers.get(path, ()), *self._watchers.get(path.rpartition("/")[0], ())]:
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
        self._watchers.setdefault(path, []).append(queue)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        while True:
            await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})


async def real(path: Path, count: int) -> Any:
    """Make the API server over a store with pods in it; a store that is there is taken as it is."""
    from skerry.api.kinds import REGISTRY
    from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
    from skerry.cluster.apiserver.auth import Tokens, token_hash
    from skerry.cluster.store import Key, Store
    from skerry.kit.clock import SystemClock

    async def no_logs(_namespace: str, _name: str, _query: dict[str, str]) -> Any:
        raise NotImplementedError

    store = Store.open(path / "store.db")
    parts = ApiServerParts(store, REGISTRY, SystemClock(), Tokens({token_hash("bench"): "system:admin"}), no_logs)
    app = ApiServer(parts)
    if store.get(Key("/namespaces", "", "many")) is None:
        for name in ("a", "many", "watched"):
            await store.create(Key("/namespaces", "", name), {"metadata": {"name": name, "uid": name}})
        await _seed(store, app, count)
    return app


async def _seed(store: Any, app: Any, count: int) -> None:
    """Store pods as the server would; the first is created through it, the others are its copies."""
    import httpx2

    from skerry.cluster.apiserver.transport import InProcessTransport
    from skerry.cluster.store import Key

    async with httpx2.AsyncClient(transport=InProcessTransport(app, "system:admin"), base_url="http://in") as http:
        made = (await http.post(MANY, json=pod("m0"))).json() if count else {}
    waiting = []
    for number in range(1, count):
        meta = {**made["metadata"], "name": f"m{number}", "uid": f"{number:08}-0000-0000-0000-000000000000"}
        waiting.append(store.create(Key("/pods", "many", f"m{number}"), {**made, "metadata": meta}))
        if len(waiting) >= 200:
            await asyncio.gather(*waiting)
            waiting = []
    await asyncio.gather(*waiting)


def cached(app: Any) -> list[Any]:
    """Fill the cache that the daemon's controllers share; the task that keeps it comes with it."""
    from lightkube import AsyncClient
    from lightkube.config.kubeconfig import SingleConfig
    from lightkube.config.models import Cluster, Context, User
    from lightkube.resources.core_v1 import Pod

    from skerry.cluster.apiserver.transport import InProcessTransport
    from skerry.kit.clock import SystemClock
    from skerry.reconcile.cache import Cache

    config = SingleConfig("in", Context(cluster="in", user="in"), Cluster(server="http://in"), User())
    client = AsyncClient(config, transport=InProcessTransport(app, "system:admin"), trust_env=False)
    cache: Cache[Any] = Cache(client, SystemClock(), Pod)
    return [cache, asyncio.ensure_future(cache.run())]


async def serve(which: str, directory: Path, count: int) -> None:
    """Run one server until the process is ended; its port is the first line that it prints."""
    import uvicorn

    from skerry.daemon.http_protocol import CarefulProtocol
    from skerry.daemon.https import bind

    sys.setswitchinterval(0.001)  # as the daemon does
    app = Floor(count) if which == "floor" else await real(directory, count)
    kept = cached(app) if which == "cached" else []
    if kept:
        await kept[0].synced()
    listening = bind("127.0.0.1", 0, "port")
    listening.listen(2048)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app,
        http=CarefulProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=120,
    )
    await uvicorn.Server(config).serve(sockets=[listening])


class Running(NamedTuple):
    """A server in a process of its own."""

    port: int
    pid: int
    started_s: float  # until it answered

    def memory(self) -> int:
        """Return its proportional set size in bytes."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return 1024 * int(rollup.partition("\nPss:")[2].split()[0])


@contextlib.contextmanager
def running(which: str, directory: str, count: int) -> Iterator[Running]:
    """Start a server and wait for its first answer."""
    command = [sys.executable, "-P", __file__, "--serve", which, directory, str(count)]  # platform.py here is another
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())

            async def ask() -> None:
                connection = await Connection(port).open()
                await connection.ask("GET", "/readyz")
                connection.close()

            asyncio.run(ask())
            yield Running(port, server.pid, time.perf_counter() - began)
        finally:
            server.kill()


def memory_per_object(which: str, directory: str) -> float:
    """Compare a server that holds the pods with one that holds none, each after one list."""

    async def listed(port: int) -> None:
        connection = await Connection(port).open()
        await connection.good("GET", MANY)
        connection.close()

    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as empty, running(which, empty, 0) as server:
        asyncio.run(listed(server.port))
        without = server.memory()
    with running(which, directory, LIST) as server:
        asyncio.run(listed(server.port))
        return (server.memory() - without) / LIST


def one_round(which: str, seconds: float, lists: int) -> dict[str, float]:
    """Take all figures of one kind of server."""
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as directory:
        with running(which, directory, LIST) as server:
            asyncio.run(list_seconds(server.port, 1))  # it is warm, and the pods are stored
        with running(which, directory, LIST) as server:
            found = {"start_10k_s": server.started_s}
        found["bytes_per_object"] = memory_per_object(which, directory)
        if which == "real":
            found["platform_bytes_per_object"] = memory_per_object("cached", directory)
        with running(which, directory, LIST) as server:
            return {**asyncio.run(measure(server.port, seconds, lists)), **found}


def figures(rounds: int, seconds: float) -> dict[str, float]:
    """Measure both servers in turn; returns medians, and the ratios."""
    taken: dict[str, list[dict[str, float]]] = {"floor": [], "real": []}
    for _ in range(rounds):
        for which, results in taken.items():
            results.append(one_round(which, seconds, rounds))
    found = {}
    for name in taken["real"][0]:
        found[name] = ours = statistics.median(one[name] for one in taken["real"])
        if name in taken["floor"][0]:
            found[f"{name}_vs_floor"] = ours / statistics.median(one[name] for one in taken["floor"])
    return found


def allow_many_connections() -> None:
    """Take as many open files as the system lets us have: each watcher is a connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))


def main() -> None:
    """Print the figures, each with its ratio to the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--serve", nargs=3, metavar=("WHICH", "DIRECTORY", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    allow_many_connections()
    if options.serve:
        import uvloop

        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(serve(options.serve[0], Path(options.serve[1]), int(options.serve[2])))
        return
    found = figures(1 if options.quick else 3, 1.5 if options.quick else 5.0)
    for name in [name for name in found if not name.endswith("_vs_floor")]:
        ratio = f"{found[f'{name}_vs_floor']:6.2f} of the floor" if f"{name}_vs_floor" in found else ""
        print(f"{name:<28}{found[name]:10.2f}   {ratio}")
    if options.json:
        print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
