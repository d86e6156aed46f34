"""The whole platform, started as a user starts it, in a directory and on ports of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Platform:
    """A running platform and the clients that a user would have."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in {"KUBECONFIG", "SKERRY_HOME"}}
        return {**kept, "SKERRY_HOME": str(self.home), "KUBECONFIG": str(self.home / "state" / "kubeconfig")}

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.home / "state" / "daemon.json").read_text())
        return facts

    def run(self, *words: str, stdin: str | None = None, timeout: float = 90) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words, input=stdin, capture_output=True, text=True, env=self.environment, timeout=timeout, check=False
        )

    def skerry(self, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-m", "skerry", *words, stdin=stdin)

    def kubectl(self, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        return self.run(kubectls()[0], *words, stdin=stdin)

    def json(self, *words: str) -> Any:
        done = self.kubectl(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def up(self, *settings: str) -> "subprocess.CompletedProcess[str]":
        arguments = [word for one in ("apiServer.port=0", "ingress.ports.http=0", *settings) for word in ("--set", one)]
        return self.skerry("up", "-d", *arguments)

    def log(self) -> str:
        path = self.home / "log" / "daemon.log"
        return path.read_text()[-6000:] if path.exists() else ""


def kubectls() -> list[str]:
    """Every kubectl there is: the one on the PATH, and the one that the development tools bring."""
    found = [shutil.which("kubectl"), str(Path(sys.executable).parent / "kubectl")]
    return list(dict.fromkeys(path for path in found if path and Path(path).exists()))


def eventually(check: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Ask until the answer is true or time is up; the last answer is returned."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def start(home: Path) -> Platform:
    platform = Platform(home)
    done = platform.up()
    assert done.returncode == 0, done.stdout + done.stderr + platform.log()
    return platform
