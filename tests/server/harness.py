"""Real server processes on addresses of their own, tiny models made on the spot, and a client that hides nothing."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # it reports imports to its vendor

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 20.0


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server process."""

    process: "subprocess.Popen[str]"
    address: str
    port: int
    model: str
    errors: Path
    taken: list[float] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.ask("GET", path)

    def infer(
        self, request: dict[str, Any] | bytes, *, headers: dict[str, str] | None = None, model: str | None = None
    ) -> Reply:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.ask("POST", f"/v2/models/{model or self.model}/infer", body, headers)

    def infer_binary(self, header: dict[str, Any], *tensors: bytes) -> Reply:
        text = json.dumps(header).encode()
        return self.infer(b"".join((text, *tensors)), headers={"Inference-Header-Content-Length": str(len(text))})

    def connect(self) -> socket.socket:
        return socket.create_connection((self.address, self.port), timeout=10)

    def counted(self, series: str) -> int:
        """The value of one line of /metrics."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(f"{series} "):
                return int(line.rpartition(" ")[2])
        raise AssertionError(f"no series {series}")

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.errors.read_text()}")
            try:
                if self.get("/v2/health/ready").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise AssertionError(f"not ready after {START_SECONDS} s")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def free_place() -> tuple[str, int]:
    """An address of the loopback network that no other test uses, and a free port on it."""
    address = f"127.{random.randint(64, 126)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
    with socket.socket() as probe:
        probe.bind((address, 0))
        return address, int(probe.getsockname()[1])


def command(model: Path, *options: str, name: str = "tiny", place: tuple[str, int] | None = None) -> list[str]:
    address, port = place or free_place()
    what = [f"--config_path={model}"] if model.suffix == ".json" else [f"--model_name={name}", f"--model_path={model}"]
    fixed = [*what, f"--rest_bind_address={address}", f"--rest_port={port}"]
    return [sys.executable, "-m", "skerry.server", *fixed, "--drain_seconds=0", *options]


@contextmanager
def serving(directory: Path, model: Path, *options: str, name: str = "tiny", ready: bool = True) -> "Iterator[Server]":
    """Run a server until the block ends; its log and its errors are kept in the directory."""
    place = free_place()
    errors = directory / f"errors-{place[0]}-{place[1]}.txt"
    with errors.open("w") as stream, errors.with_suffix(".log").open("w") as log:
        words = command(model, *options, name=name, place=place)
        process = subprocess.Popen(words, stdout=log, stderr=stream, text=True)
    server = Server(process, *place, name, errors)
    try:
        if ready:
            server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def run_to_end(*words: str, timeout: float = 20) -> "subprocess.CompletedProcess[str]":
    """Run a server that is not expected to stay."""
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)


# Models.


def save(model: ov.Model, repository: Path, version: int = 1) -> Path:
    directory = repository / str(version)
    directory.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, directory / "model.xml", compress_to_fp16=False)
    return repository


def parameter(name: str, shape: Sequence[int], kind: ov.Type) -> ov.Node:
    node = ops.parameter(ov.PartialShape(list(shape)), kind, name=name)
    node.output(0).set_names({name})
    return node


def named(name: str, node: ov.Node) -> ov.Node:
    node.output(0).set_names({name})
    return node


IRIS_WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10


def iris(shape: Sequence[int] = (1, 4)) -> ov.Model:
    """`y = softmax(x · W)`: four numbers to three."""
    x = parameter("x", shape, ov.Type.f32)
    y = named("y", ops.softmax(ops.matmul(x, ops.constant(IRIS_WEIGHTS), False, False), axis=1))
    return ov.Model([ops.result(y)], [x], "iris")


def iris_answer(rows: Any) -> Any:
    scores = np.asarray(rows, np.float32) @ IRIS_WEIGHTS
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


KINDS = {
    "BOOL": ov.Type.boolean,
    "UINT8": ov.Type.u8,
    "UINT16": ov.Type.u16,
    "UINT32": ov.Type.u32,
    "UINT64": ov.Type.u64,
    "INT8": ov.Type.i8,
    "INT16": ov.Type.i16,
    "INT32": ov.Type.i32,
    "INT64": ov.Type.i64,
    "FP16": ov.Type.f16,
    "FP32": ov.Type.f32,
    "FP64": ov.Type.f64,
}


def echo(shapes: dict[str, tuple[Sequence[int], ov.Type]]) -> ov.Model:
    """Every input comes back as the output of the same name, untouched.

    There is no operation in between: the CPU plug-in computes 64-bit types in 32 bits.
    """
    inputs = [parameter(name, shape, kind) for name, (shape, kind) in shapes.items()]
    return ov.Model([ops.result(node) for node in inputs], inputs, "echo")


def strings() -> ov.Model:
    """Strings in, the same strings out."""
    text = parameter("text", (-1,), ov.Type.string)
    result = ops.result(text)
    return ov.Model([result], [text], "strings")


def slow(size: int = 900) -> ov.Model:
    """A model that takes some tens of milliseconds: a chain of products."""
    x = parameter("x", (1, size), ov.Type.f32)
    weights = ops.constant(np.full((size, size), 1e-4, np.float32))
    big = ops.matmul(x, ops.constant(np.ones((1, size), np.float32)), True, False)
    node: ov.Node = big
    for _ in range(12):
        node = ops.matmul(node, weights, False, False)
    y = named("y", ops.reduce_sum(node, np.array([0, 1], np.int64), keep_dims=False))
    return ov.Model([ops.result(y)], [x], "slow")


def pid_memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
