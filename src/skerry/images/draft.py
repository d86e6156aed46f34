"""The files of an image that is being made: a tree in memory that points at files on the disk."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from skerry.images.composition import Entry, Tree
from skerry.images.errors import BuildError

_DIRECTORY: Final = 0o755
_FILE: Final = 0o644
_PROGRAM: Final = 0o755


class Draft:
    """Directories and files by their path, every parent included."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    @property
    def tree(self) -> Tree:
        """What is there so far."""
        return self._entries

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self._entries.values())

    def is_directory(self, path: str) -> bool:
        """Tell whether a directory of that path was made."""
        inside = normal(path)
        return not inside or (inside in self._entries and self._entries[inside].is_directory)

    def make_directory(self, path: str, mode: int = _DIRECTORY) -> None:
        """Make a directory and its parents; one that is there keeps its mode."""
        inside = normal(path)
        if not inside:
            return
        self._make_parents(inside)
        found = self._entries.setdefault(inside, Entry(mode))
        if not found.is_directory:
            raise BuildError(f"cannot build: /{inside} is a file already; choose another directory")

    def add_file(self, path: str, source: Path, mode: int | None = None) -> None:
        """Put a file there, replacing one that is.

        The mode is 0755 for a program and 0644 otherwise, whatever the builder's umask was.
        """
        inside = normal(path)
        if self.is_directory(inside):
            raise BuildError(
                f"cannot build: /{inside} is a directory; name the file: /{inside}/{source.name}".replace("//", "/")
            )
        self._make_parents(inside)
        found = source.stat()
        chosen = (_PROGRAM if found.st_mode & 0o100 else _FILE) if mode is None else mode
        self._entries[inside] = Entry(chosen, source, found.st_size)

    def change_mode(self, path: str, mode: int, *, recursive: bool) -> None:
        """Change the mode of what was put there before.

        Raises `BuildError` when there is nothing.
        """
        inside = normal(path)
        below = f"{inside}/" if inside else ""
        chosen = [known for known in self._entries if known == inside or (recursive and known.startswith(below))]
        if not chosen:
            raise BuildError(f"cannot build: chmod: /{inside} is not there; make or copy it in a line above")
        for known in chosen:
            old = self._entries[known]
            self._entries[known] = Entry(mode, old.source, old.size)

    def add_files(self, into: str, files: Iterable[tuple[str, Path]], mode: int | None = None) -> None:
        """Put files below a directory."""
        self.make_directory(into)
        for name, source in files:
            self.add_file(f"{into}/{name}", source, mode)

    def _make_parents(self, inside: str) -> None:
        for parent in reversed(PurePosixPath(inside).parents[:-1]):
            if not self._entries.setdefault(str(parent), Entry(_DIRECTORY)).is_directory:
                raise BuildError(f"cannot build: /{parent} is a file, so nothing can be below it; choose another path")


def normal(path: str) -> str:
    """Write a path of the image without leading, trailing and double slashes.

    Raises `BuildError` for one with `..`.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise BuildError(f'cannot build: the path {path!r} has ".." in it; write it out')
    return "/".join(parts)
