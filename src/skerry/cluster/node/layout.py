"""Where a pod's things are.

    STATE/pods/UID/pod.json                       who it is, its address, the boot it was prepared in
    STATE/pods/UID/volumes/NAME                   emptyDir on the disk
    STATE/pods/UID/containers/NAME/ATTEMPT/       state.json, exit.json, lock, termination-log, tmp/, supervisor.err
    STATE/claims/NAMESPACE/CLAIM                  what a PersistentVolumeClaim stands for
    RUN/pods/UID/volumes/NAME                     configMap, secret, downwardAPI, projected, emptyDir in memory
    RUN/pods/UID/CONTAINER.ATTEMPT.spec           what the supervisor reads; it holds the environment, so: memory only
    LOG/NAMESPACE_POD_UID/CONTAINER/ATTEMPT.log   as the kubelet's

ATTEMPT counts from 0 and is the container's restart count. The last two attempts are kept, as the kubelet keeps them.
"""

import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from skerry.kit.files import private_directory, replace

# Others may pass through to what is theirs, and see nothing on the way.
_PASSAGE: Final = 0o711
_KEPT_ATTEMPTS: Final = 2


class PodRecord(Struct, frozen=True, rename="camel"):
    """What the node must know of a pod even when the API has forgotten it."""

    namespace: str
    name: str
    uid: str
    ip: str
    boot_id: str


@dataclass(frozen=True)
class Directories:
    """The node's three roots."""

    state: Path
    run: Path
    log: Path

    def make(self) -> None:
        """Make what is missing."""
        private_directory(self.log)
        for root in (self.state, self.run):
            private_directory(root)
            for directory in (root, root / "pods"):
                directory.mkdir(exist_ok=True)
                directory.chmod(_PASSAGE)

    def records(self) -> list[PodRecord]:
        """Every pod that was prepared here and not yet removed."""
        found = []
        for directory in sorted((self.state / "pods").iterdir()):
            try:
                found.append(msgspec.json.decode((directory / "pod.json").read_bytes(), type=PodRecord))
            except (OSError, msgspec.MsgspecError):
                # Cut off before the record was written: nothing was started yet.
                remove_tree(directory)
        return found

    def of(self, namespace: str, name: str, uid: str) -> "PodDirectories":
        return PodDirectories(
            self.state / "pods" / uid, self.run / "pods" / uid, self.log / f"{namespace}_{name}_{uid}"
        )

    def claim(self, namespace: str, name: str) -> Path:
        """The directory of a PersistentVolumeClaim."""
        return self.state / "claims" / namespace / name


@dataclass(frozen=True)
class PodDirectories:
    """The directories of one pod."""

    state: Path
    run: Path
    log: Path

    def make(self, record: PodRecord) -> None:
        """Make the directories, then the record that says they are in use."""
        for directory in (self.state / "volumes", self.state / "containers", self.run / "volumes", self.log):
            private_directory(directory)
        for directory in (
            self.state,
            self.run,
            self.state / "volumes",
            self.run / "volumes",
            self.state / "containers",
        ):
            directory.chmod(_PASSAGE)
        replace(self.state / "pod.json", msgspec.json.encode(record))

    def container(self, name: str) -> Path:
        return self.state / "containers" / name

    def attempt(self, name: str, number: int) -> Path:
        return self.container(name) / str(number)

    def spec(self, name: str, number: int) -> Path:
        return self.run / f"{name}.{number}.spec"

    def log_file(self, name: str, number: int) -> Path:
        return self.log / name / f"{number}.log"

    def attempts(self, name: str) -> list[int]:
        """The attempts that are still known, oldest first."""
        try:
            return sorted(int(entry.name) for entry in self.container(name).iterdir() if entry.name.isdigit())
        except FileNotFoundError:
            return []

    def forget_old_attempts(self, name: str) -> None:
        """Remove what no status and no `--previous` asks for any more."""
        for number in self.attempts(name)[:-_KEPT_ATTEMPTS]:
            remove_tree(self.attempt(name, number))
            self.spec(name, number).unlink(missing_ok=True)
            for file in self.log_file(name, number).parent.glob(f"{number}.log*"):
                file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything; the record goes first with its directory renamed, so that half a pod is never adopted."""
        (self.state / "pod.json").unlink(missing_ok=True)
        for directory in (self.run, self.log, self.state):
            remove_tree(directory)


def remove_tree(path: Path) -> None:
    """Remove a directory with all it holds, also where a program has taken away the owner's right to write."""

    def insist(_function: Callable[..., Any], name: str, _error: object) -> None:
        parent = Path(name).parent
        if parent.is_symlink() or not parent.is_relative_to(path):
            return
        parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
        target = Path(name)
        if target.is_dir() and not target.is_symlink():
            target.chmod(stat.S_IRWXU)
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)

    if path.exists():
        shutil.rmtree(path, onerror=insist)
