"""Where things are kept: the system's directories as root, the XDG ones as a user, `$SKERRY_HOME` before both."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The four directories, and the files in them that more than one part names."""

    etc: Path  # configuration, written by people
    state: Path  # what must survive a reboot
    run: Path  # what must not
    log: Path

    @property
    def config(self) -> Path:
        return self.etc / "config.yaml"

    @property
    def store(self) -> Path:
        return self.state / "cluster" / "store.db"

    @property
    def backups(self) -> Path:
        return self.state / "backups"

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def daemon_lock(self) -> Path:
        return self.state / "daemon.lock"  # not in `run`: that one depends on the log-in session

    @property
    def daemon_facts(self) -> Path:
        return self.state / "daemon.json"

    @property
    def health(self) -> Path:
        return self.state / "health.json"

    @property
    def daemon_log(self) -> Path:
        return self.log / "daemon.log"


def paths(environment: Mapping[str, str] | None = None, *, root: bool | None = None) -> Paths:
    """Return the directories for this user."""
    env = os.environ if environment is None else environment
    if home := env.get("SKERRY_HOME"):
        base = Path(home).absolute()
        return Paths(base / "etc", base / "state", base / "run", base / "log")
    if os.geteuid() == 0 if root is None else root:
        return Paths(Path("/etc/skerry"), Path("/var/lib/skerry"), Path("/run/skerry"), Path("/var/log/skerry"))
    user = Path(env.get("HOME") or Path.home())
    state = Path(env.get("XDG_STATE_HOME") or user / ".local/state") / "skerry"
    return Paths(
        Path(env.get("XDG_CONFIG_HOME") or user / ".config") / "skerry",
        state,
        # Not $XDG_RUNTIME_DIR: it goes away when the user logs out, and cron and su do not have it; the pods stay.
        state / "run",
        state / "log",
    )
