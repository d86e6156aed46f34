"""From a container of a pod to what the supervisor starts: program, environment, mounts, limits, user.

Everything that can be wrong with it has an exception of its own module (`ConfigError`, `NativeImageError`,
`MountError`); `refusal` turns each into the reason and message of a waiting container.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from skerry.cluster.node import mounts as mounting
from skerry.cluster.node.cgroups import Cgroups, Limits
from skerry.cluster.node.containers import ContainerError, Launch, Mount, Program, User
from skerry.cluster.node.environment import ConfigError, Objects, environment, surroundings
from skerry.cluster.node.expansion import expand
from skerry.cluster.node.hardening import Isolation
from skerry.cluster.node.layout import PodDirectories
from skerry.cluster.node.mounts import MountError, PathRewriter
from skerry.cluster.node.native import NativeImageError, NativeTable, program
from skerry.cluster.node.podfields import PodFacts
from skerry.cluster.node.volumes import Source
from skerry.machinery.quantity import Quantity, QuantityError

# Exists everywhere and is nobody's: the container's own temporary directory is mounted over it.
_HOME: Final = "/var/tmp"  # noqa: S108
_TERMINATION_LOG: Final = "/dev/termination-log"
_OPEN_FILES: Final = 1 << 16
_WRITABLE_BY_ALL: Final = 0o666


@dataclass(frozen=True)
class Starter:
    """What is the same for all containers of the node."""

    native: NativeTable
    cgroups: Cgroups
    isolation: Isolation
    objects: Objects
    api_address: tuple[str, int] | None


@dataclass(frozen=True)
class PodSurroundings:
    """What is the same for all containers of a pod."""

    directories: PodDirectories
    sources: Mapping[str, Source]
    facts: PodFacts
    user: User | None


@dataclass(frozen=True)
class Prepared:
    """A container that can be started."""

    launch: Launch
    image_id: str
    native: str


def prepare(starter: Starter, surround: PodSurroundings, pod: Any, container: Any, attempt: int) -> Prepared:
    """Work it all out and make the directories; blocks on the disk."""
    own = environment(pod, container, starter.objects, surround.facts)
    command = [expand(part, own) for part in container.command or []]
    args = [expand(part, own) for part in container.args or []]
    image = container.image or ""
    entry = starter.native.find(image)
    runs = program(entry, image, command, args, surround.facts.pod_ip)
    directory = surround.directories.attempt(container.name, attempt)
    scratch = _scratch(directory, surround.user)
    mounts = mounting.plan(container, surround.sources, own)
    home, extra = _private_mounts(starter.isolation, container, mounts, scratch, directory)
    everything = {**surroundings(pod, home, starter.api_address), **runs.environment, **own}
    argv, everything = _rewritten(starter.isolation, [*mounts, *extra], runs.argv, everything)
    group = starter.cgroups.create(group_name(pod, container.name, attempt), limits_of(container))
    limit = limits_of(container).memory
    what = Program(
        argv=argv,
        env=everything,
        cwd=container.workingDir or "/",
        isolation=starter.isolation.kind,
        mounts=[*mounts, *extra],
        user=surround.user,
        open_files=_OPEN_FILES,
        cgroups=list(group.paths),
        directory=str(directory),
    )
    launch = Launch(
        directory=directory,
        spec_file=surround.directories.spec(container.name, attempt),
        log_file=surround.directories.log_file(container.name, attempt),
        program=what,
        memory_limit=limit if limit and not group.enforces_memory else 0,
        stdin=bool(container.stdin),
        tty=bool(container.tty),
    )
    return Prepared(launch, f"native://{entry.name}", entry.name)


def refusal(error: Exception) -> tuple[str, str]:
    """Return the waiting reason and message for what went wrong."""
    if isinstance(error, ConfigError | MountError):
        return "CreateContainerConfigError", str(error)
    if isinstance(error, NativeImageError):
        return error.reason, str(error)
    if isinstance(error, ContainerError):
        return "RunContainerError", str(error)
    return "CreateContainerError", f"cannot prepare the container: {error}"


def limits_of(container: Any) -> Limits:
    """Read the container's limits; an amount that is none is left out (the API server refuses it already)."""
    resources = container.resources
    limits = (resources.limits or {}) if resources else {}
    requests = (resources.requests or {}) if resources else {}

    def amount(values: Mapping[str, Any], name: str, scale: int) -> int | None:
        try:
            return -(-Quantity.parse(values[name]).nanos * scale // 10**9) if name in values else None
        except QuantityError:
            return None

    return Limits(amount(limits, "memory", 1), amount(limits, "cpu", 1000), amount(requests, "cpu", 1000))


def group_name(pod: Any, container: str, attempt: int) -> str:
    """Name the control groups of an attempt."""
    return f"{pod.metadata.uid}-{container}-{attempt}"


def _scratch(directory: Path, user: User | None) -> Path:
    """Make the attempt's own temporary directory and termination log."""
    scratch = directory / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)
    scratch.chmod(0o700)
    message = directory / "termination-log"
    message.touch()
    message.chmod(_WRITABLE_BY_ALL)
    if user is not None:
        os.chown(scratch, user.uid, user.gid)
    return scratch


def _private_mounts(
    isolation: Isolation, container: Any, mounts: list[Mount], scratch: Path, directory: Path
) -> tuple[str, list[Mount]]:
    """Return the home directory as the container sees it, and the mounts that it did not ask for."""
    path = container.terminationMessagePath or _TERMINATION_LOG
    extra = [Mount(str(directory / "termination-log"), path, read_only=False)]
    taken = {mount.path.rstrip("/") for mount in mounts}
    if path in taken:
        extra = []
    hides_python = any(Path(place).is_relative_to(_HOME) for place in (sys.prefix, sys.base_prefix, __file__))
    if isolation.kind == "none" or hides_python or any(mount.startswith(_HOME) for mount in taken):
        return str(scratch), extra
    return _HOME, [*extra, Mount(str(scratch), _HOME, read_only=False)]


def _rewritten(
    isolation: Isolation, mounts: list[Mount], argv: list[str], env: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    if isolation.kind != "none":
        return argv, env
    rewriter = PathRewriter(mounts)
    return rewriter.texts(argv), {name: rewriter.text(value) for name, value in env.items()}
