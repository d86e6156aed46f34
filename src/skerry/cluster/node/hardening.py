"""What this machine allows: asked once, by trying.

A kernel may have no user namespaces, a container may hold back CAP_SYS_ADMIN, a security module may forbid `mount`: no
list of reasons is complete, so a child process does it for real (`supervisor.py --probe`).
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

import skerry
from skerry.kit.log import logger

log = logger(__name__)

SUPERVISOR: Final = Path(__file__).with_name("supervisor.py")
_PROBE_SECONDS: Final = 20.0
# Above what distributions, containers and systemd hand out, below what 32-bit signed code can hold.
FIRST_POD_USER: Final = 1_900_000_000
POD_USERS: Final = 100_000
_NEEDED_CAPABILITIES: Final = (0, 6, 7)  # CHOWN, SETGID, SETUID
_OTHERS_READ: Final = 0o004
_OTHERS_SEARCH: Final = 0o001


@dataclass(frozen=True)
class Isolation:
    """How a container gets its own mounts: made by root, in a user namespace, or not at all (`why` says why)."""

    kind: Literal["root", "user", "none"]
    why: str = ""


def supervisor_command() -> list[str]:
    """Isolated, without site-packages and environment: a supervisor lives long and must stay small."""
    return [sys.executable, "-I", "-S", "-E", "-X", "utf8", str(SUPERVISOR)]


@cache
def mount_namespace_available() -> Isolation:
    """Decide how containers get their own mounts."""
    try:
        answer = subprocess.run(
            [*supervisor_command(), "--probe"], capture_output=True, timeout=_PROBE_SECONDS, check=True
        ).stdout
        found: dict[str, str] = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Isolation("none", f"the probe failed: {error}")
    kind = found["isolation"]
    if kind == "none":
        log.warning("no private mounts on this machine; mount paths are rewritten instead", why=found["why"])
    return Isolation("root" if kind == "root" else "user" if kind == "user" else "none", found["why"])


@cache
def why_no_pod_users() -> str:
    """Say why containers cannot get unprivileged users of their own; empty when they can."""
    if os.geteuid() != 0:
        return "the daemon is not root"
    held = _effective_capabilities()
    if not all(held >> number & 1 for number in _NEEDED_CAPABILITIES):
        return "the daemon may not change users (CAP_SETUID, CAP_SETGID, CAP_CHOWN)"
    if not _mapped(FIRST_POD_USER):
        return f"uid {FIRST_POD_USER} does not exist in this user namespace"
    for path in (Path(sys.executable), Path(os.__file__), Path(skerry.__file__)):
        if hidden := hidden_from_others(path):
            return f"other users cannot enter {hidden}, and the programs of the pods are below it"
    return ""


def hidden_from_others(path: Path) -> Path | None:
    """Return the first directory or file on the way to `path` that an unrelated user cannot pass or read."""
    real = path.resolve()
    for ancestor in [*reversed(path.absolute().parents), *reversed(real.parents)]:
        if not ancestor.stat().st_mode & _OTHERS_SEARCH:
            return ancestor
    return None if real.stat().st_mode & _OTHERS_READ else real


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _mapped(uid: int) -> bool:
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(number) for number in line.split())
        if first <= uid < first + count:
            return True
    return False
