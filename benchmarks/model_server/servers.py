"""Servers that run on their core: ours as it is shipped, and its peers."""

import http.client
import os
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.model_server.load import SERVER_CORE, on_core

KSERVE: Final = "kserve==0.21.0"


@dataclass
class Server:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    address: tuple[str, int]
    ready_seconds: float

    def memory_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def serving(model: Path, *options: str) -> Iterator[Server]:
    """Our server, ready."""
    address = free_address()
    words = [sys.executable, "-m", "skerry.server", "--model_name=m", f"--model_path={model}", "--metrics_enable"]
    words += [f"--rest_bind_address={address[0]}", f"--rest_port={address[1]}", "--drain_seconds=0", *options]
    with running(words, address) as server:
        yield server


@contextmanager
def serving_kserve(model: Path) -> Iterator[Server]:
    """KServe's Python SDK server over the same call of the same engine."""
    address = free_address()
    script = Path(__file__).with_name("kserve_peer.py")
    words = [str(kserve_python()), str(script), str(model / "1" / "model.xml"), f"--http_port={address[1]}"]
    with running([*words, "--enable_grpc=false"], address) as server:
        yield server


def kserve_python() -> Path:
    """The interpreter of the peer's own environment, made the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skerry", "peers", "kserve")
    python = cache / "bin" / "python"
    if not (cache / "complete").exists():
        venv.create(cache, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", KSERVE, "openvino"], check=True, timeout=900)
        (cache / "complete").touch()
    return python


def free_address() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
    return address


@contextmanager
def running(words: list[str], address: tuple[str, int]) -> Iterator[Server]:
    """A server on its core, ready; what it says is only worth reading when it fails."""
    with on_core(SERVER_CORE):
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
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
