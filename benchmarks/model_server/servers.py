"""Servers that run on their core: ours as it is shipped, and its peers."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.model_server.load import SERVER_CORE, on_core

HERE: Final = Path(__file__).parent
# MLServer 1.7 looks for an event loop that uvloop 0.22 no longer makes.
PEERS: Final = {
    "kserve": ("kserve==0.21.0", "openvino"),
    "mlserver": ("mlserver==1.7.1", "uvloop<0.22", "openvino"),
    "schemathesis": ("schemathesis==4.32.5",),  # no server: it judges ours
}


@dataclass
class Server:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    address: tuple[str, int]
    ready_seconds: float
    grpc: tuple[str, int] | None = None

    def memory_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# What the server sets for itself, for its peers too: the engine's call costs everybody the same.
# And the bytecode of all is kept, as that of an installed package is.
_SAME_CALL = {**os.environ, "HWLOC_THISSYSTEM": "0"}
_SAME_CALL.pop("PYTHONDONTWRITEBYTECODE", None)


@contextmanager
def serving(model: Path, *options: str, grpc: bool = False) -> Iterator[Server]:
    """Our server, ready."""
    address = free_address()
    grpc_address = free_address() if grpc else None
    if grpc_address:
        options += (f"--grpc_bind_address={grpc_address[0]}", f"--port={grpc_address[1]}")
    words = [sys.executable, "-m", "skerry.server", "--model_name=m", f"--model_path={model}", "--metrics_enable"]
    words += [f"--rest_bind_address={address[0]}", f"--rest_port={address[1]}", "--drain_seconds=0", *options]
    with running(words, address) as server:
        server.grpc = grpc_address
        yield server


@contextmanager
def serving_least(what: Path | str) -> Iterator[Server]:
    """The least that Python can do: with the file of a model, or `echo`."""
    address = free_address()
    words = [sys.executable, "-m", "benchmarks.model_server.least_peer", str(what), str(address[1])]
    with running(words, address, directory=HERE.parents[1]) as server:
        yield server


@contextmanager
def serving_kserve(model: Path, *, grpc: bool = False) -> Iterator[Server]:
    """KServe's Python SDK server over the same call of the same engine."""
    address = free_address()
    grpc_address = free_address() if grpc else None
    script = HERE / ("kserve_grpc_peer.py" if grpc else "kserve_peer.py")
    words = [str(peer_python("kserve")), str(script), str(model / "1" / "model.xml"), f"--http_port={address[1]}"]
    words += [f"--grpc_port={grpc_address[1]}"] if grpc_address else ["--enable_grpc=false"]
    with running(words, address) as server:
        server.grpc = grpc_address
        yield server


@contextmanager
def serving_mlserver(model: Path) -> Iterator[Server]:
    """MLServer, in one process, over the same call of the same engine; REST and gRPC."""
    address, grpc, metrics = free_address(), free_address(), free_address()
    ports = {"http_port": address[1], "grpc_port": grpc[1], "metrics_port": metrics[1], "metrics_endpoint": None}
    quiet = {"debug": False, "parallel_workers": 0, "host": address[0]}
    parameters = {"uri": str(model / "1" / "model.xml")}
    settings = {"name": "m", "implementation": "mlserver_peer.Bare", "parameters": parameters}
    program = peer_python("mlserver").with_name("mlserver")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "settings.json").write_text(json.dumps(ports | quiet))
        Path(directory, "model-settings.json").write_text(json.dumps(settings))
        words = ["env", f"PYTHONPATH={HERE}", str(program), "start", directory]
        with running(words, address, errors=subprocess.DEVNULL) as server:
            server.grpc = grpc
            yield server


@contextmanager
def serving_grpc_aio(model: Path) -> Iterator[Server]:
    """The least that grpc.aio can do with the same call; it has no REST, so nothing says when it is ready."""
    address = free_address()
    words = [sys.executable, "-m", "benchmarks.model_server.grpc_aio_peer"]
    with on_core(SERVER_CORE):
        process = subprocess.Popen([*words, str(model / "1" / "model.xml"), str(address[1])], cwd=HERE.parents[1])
    try:
        yield Server(process, address, 0.0, address)
    finally:
        process.kill()
        process.wait(timeout=30)


def peer_python(name: str) -> Path:
    """The interpreter of a peer's own environment, made the first time."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skerry", "peers", name)
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS[name]], check=True, timeout=1800)
        (home / "complete").touch()
    return python


def free_address() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
    return address


@contextmanager
def running(
    words: list[str], address: tuple[str, int], *, errors: int | None = None, directory: Path | None = None
) -> Iterator[Server]:
    """A server on its core, ready; what it says is only worth reading when it fails."""
    with on_core(SERVER_CORE):
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors, cwd=directory, env=_SAME_CALL)
    try:
        wait_until_ready(process, address)
        yield Server(process, address, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(process: "subprocess.Popen[bytes]", address: tuple[str, int]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            connection = http.client.HTTPConnection(*address, timeout=5)
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.005)
    raise TimeoutError("the server is not ready after 60 s")


if __name__ == "__main__":
    for peer in PEERS:
        print(peer_python(peer))
