"""Model files of the engines that read them by themselves."""

from pathlib import Path
from typing import Final

from skerry.server.errors import LoadError

_LARGEST: Final = 4 << 30


def content_of(path: Path) -> bytes:
    """Read a model file; raises `LoadError`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise LoadError(f"it has {path.stat().st_size} bytes, and at most {_LARGEST} are read")
        content = path.read_bytes()
    except OSError as why:
        raise LoadError(why.strerror or str(why)) from None
    if not content:
        raise LoadError("the file is empty")
    return content


def load_error(path: Path, why: object) -> LoadError:
    """What to say of a file that cannot be loaded."""
    return LoadError(f"cannot load {path}: {why}")
