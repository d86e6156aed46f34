"""Looking inside a pod of the whole platform, as the how-to says it; and what a killed or stopped daemon leaves."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.running import Platform, eventually, kubectls
from tests.streams.terminal import running_programs

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not kubectls(), reason="kubectl is not installed")]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: bee}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/skerry-shell:latest
    command: [python3, -m, http.server, "8000", --bind, $(IP), --directory, /etc]
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
"""


@pytest.fixture(scope="module", autouse=True)
def bee(platform: Platform) -> None:
    assert platform.kubectl("apply", "-f", "-", stdin=POD).returncode == 0
    waited = platform.kubectl("wait", "pod/bee", "--for=condition=Ready", "--timeout=30s")
    assert waited.returncode == 0, waited.stderr


@contextlib.contextmanager
def background(platform: Platform, *words: str) -> Iterator["subprocess.Popen[str]"]:
    command = [kubectls()[0], *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, env=platform.environment, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_pod_is_looked_into(platform: Platform, tmp_path: Path) -> None:
    for kubectl in kubectls():
        said = platform.run(kubectl, "exec", "-i", "bee", "--", "sh", "-c", "cat; exit 3", stdin="hello")
        assert (said.stdout, said.returncode) == ("hello", 3), said.stderr
        done = platform.run(kubectl, "run", "sum", "--rm", "-i", "--image=localhost/skerry-shell", "--restart=Never",
                            "--command", "--", "wc", "-c", stdin="12345")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "5\n" in done.stdout
    big = tmp_path / "big"
    big.write_bytes(os.urandom(20 << 20))
    assert platform.kubectl("cp", str(big), "bee:/var/tmp/big").returncode == 0
    assert platform.kubectl("cp", "bee:/var/tmp/big", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == big.read_bytes()


def test_a_port_of_a_pod_is_reached(platform: Platform) -> None:
    with background(platform, "port-forward", "bee", ":8000") as forward:
        assert forward.stdout is not None
        port = forward.stdout.readline().split(":")[1].split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname", timeout=20) as answer:
            assert answer.read() == Path("/etc/hostname").read_bytes()
        with socket.create_connection(
            ("127.0.0.1", int(port)), timeout=20
        ) as talk:  # goes on after the server has ended
            talk.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
            assert b" 404 " in talk.recv(100)
            with contextlib.suppress(OSError):
                for _ in range(100):
                    talk.sendall(b"more")


def test_a_killed_daemon_takes_commands_with_it_and_not_pods(platform: Platform) -> None:
    with background(platform, "exec", "bee", "--", "sleep", "4260") as command:
        eventually(lambda: running_programs("sleep 4260"), "the command runs")
        os.kill(platform.facts["pid"], signal.SIGKILL)
        eventually(lambda: not running_programs("sleep 4260"), "the command is gone", 10)
        assert command.wait(timeout=20) != 0
    assert platform.up().returncode == 0
    said = eventually(lambda: (done := platform.kubectl("exec", "bee", "--", "echo", "again")).stdout and done, "exec")
    assert said.stdout == "again\n"


def test_a_stopping_platform_says_why(platform: Platform) -> None:
    with background(platform, "exec", "bee", "--", "sleep", "4261") as command:
        eventually(lambda: running_programs("sleep 4261"), "the command runs")
        began = time.monotonic()
        assert platform.skerry("down").returncode == 0
        assert time.monotonic() - began < 20
        _, told = command.communicate(timeout=20)
        assert "the container main has ended" in told
    assert not running_programs("sleep 4261")
