"""Versions of a model on disk: `<model_path>/<positive number>/<files>`, and the policy that picks among them.

Where there is no number but a model of a format that KServe's own servers read (`engines/choosing.py`), the directory
is version 1 of itself, as it is for them.

A `model_path` that does not exist yet is waited for: with a ModelCar the files can appear after the process. One that
is there without a version in it is an error at once, and the text says what the directory should look like.

A version has a mark that changes with its files. So a version that was found half copied is tried again when the rest
is there, a broken one is not tried every second, and files that were replaced are noticed (OVMS does not).
"""

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from skerry.server import log
from skerry.server.engines.choosing import holds_model
from skerry.server.engines.openvino_files import SAVED_MODEL
from skerry.server.errors import LoadError
from skerry.server.options import VersionPolicy

_LEADING_NUMBER: Final = re.compile(r"^\d+")  # OVMS reads `1abc` as 1
_POLL_SECONDS: Final = 0.05


def wait_for(path: Path, seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Return when the path exists; raise `LoadError` after `seconds`."""
    deadline = time.monotonic() + seconds
    if not path.exists():
        log.info("waiting for the model's directory", path=path, seconds=seconds)
    while not path.exists():
        if time.monotonic() >= deadline:
            raise LoadError(f"Directory does not exist: {path} (waited {seconds:g} s); check model_path and its volume")
        sleep(_POLL_SECONDS)


class Version(msgspec.Struct, frozen=True):
    """A version on disk; another mark means other files."""

    path: Path
    mark: int


def versions_of(path: Path) -> dict[int, Version]:
    """All versions on disk. A single model file is version 1 of itself. Raises `LoadError` if it cannot be read."""
    if path.is_file():
        # A SavedModel is a directory, whichever of its files was named.
        return {1: Version(path, _mark(path.parent, "" if path.name == SAVED_MODEL else path.stem))}
    found: dict[int, Version] = {}
    try:
        directories = sorted(entry for entry in path.iterdir() if entry.is_dir())
        for directory in directories:
            number = _LEADING_NUMBER.match(directory.name)
            if number and int(number[0]) > 0:
                found.setdefault(int(number[0]), Version(directory, _mark(directory)))
            elif not directory.name.startswith("."):
                log.debug("Expected version directory name to be in number format", got=directory.name)
    except OSError as why:
        raise LoadError(f"cannot read {path}: {why.strerror}") from None
    if not found and holds_model(path):
        return {1: Version(path, _mark(path))}
    return found


def no_version(path: Path) -> str:
    """What to say where there is no version."""
    held = ", ".join(sorted(entry.name for entry in path.iterdir())) or "nothing"
    return f"No version found for model in path: {path} holds {held}; expected {path}/1/ with the model's files"


def _mark(directory: Path, stem: str = "") -> int:
    """What changes with the files below a directory (those of one stem, for a model that is a file)."""
    files: list[tuple[str, int, int, int]] = []
    for folder, folders, names in os.walk(directory):
        if stem:
            folders.clear()
        for name in names:
            if not stem or Path(name).stem == stem:
                try:
                    facts = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - every file, every second
                except FileNotFoundError:
                    continue
                files.append((os.path.join(folder, name), facts.st_size, facts.st_mtime_ns, facts.st_ino))  # noqa: PTH118
    return hash(tuple(sorted(files)))


def chosen(policy: VersionPolicy, present: Iterable[int]) -> list[int]:
    """The versions to serve, newest first."""
    newest_first = sorted(present, reverse=True)
    if policy.specific is not None:
        return [version for version in newest_first if version in policy.specific]
    return newest_first if policy.latest is None else newest_first[: policy.latest]
