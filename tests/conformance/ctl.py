"""Real kubectls, an older and a newer one, in one namespace of a running platform."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.apiserver.kubectl import kubectls
from tests.e2e.running import Platform

programs = kubectls


@dataclass(frozen=True)
class Ctl:
    """One kubectl in one namespace."""

    program: str
    platform: Platform
    namespace: str

    def run(self, *words: str, stdin: str | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            (self.program, "-n", self.namespace, *words),
            input=stdin,
            capture_output=True,
            text=True,
            env={**self.platform.environment, **environment},
            timeout=50,
            check=False,
        )

    def __call__(self, *words: str, stdin: str | None = None, **environment: str) -> str:
        """Run it; it must succeed without complaint. Returns what it printed."""
        done = self.run(*words, stdin=stdin, **environment)
        assert (done.returncode, done.stderr) == (0, ""), (words, done.stdout, done.stderr)
        return done.stdout

    def lines(self, *words: str, stdin: str | None = None) -> list[str]:
        return self(*words, stdin=stdin).splitlines()

    def refused(self, *words: str, stdin: str | None = None) -> str:
        """Run it; it must fail. Returns the complaint."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode != 0, (words, done.stdout, done.stderr)
        return done.stderr

    def item(self, *words: str) -> Any:
        return json.loads(self("get", *words, "-o", "json"))

    def deleted(self, *words: str) -> str:
        """Run a delete; newer versions say from which namespace."""
        return self("delete", *words).replace(f" from {self.namespace} namespace", "")
