"""The highest resourceVersion that may have been given out, kept outside the database.

When the database is lost or put back to an older state, versions must go on above everything that a client has seen:
else a client that watches from version 900 would wait in silence while other changes get 850. So versions are reserved
in blocks, in a file of its own, before the first of a block is used; after a loss the next version is the ceiling.
"""

import contextlib
from pathlib import Path
from typing import Final

from skerry.cluster.store.failpoints import reach
from skerry.kit import files

_BLOCK: Final = 100_000
UNKNOWN_STEP: Final = 10_000_000  # what is skipped when a damaged database has no ceiling beside it


class Ceiling:
    """The file, and what it says."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.stem}.ceiling")
        self.value = 0
        with contextlib.suppress(OSError, ValueError):
            self.value = max(0, int(self._path.read_bytes()))

    def cover(self, version: int) -> None:
        """Return once `version` may be given out.

        Raises `OSError`; nothing above the old ceiling may then be given out.
        """
        if version > self.value:
            raised = version + _BLOCK
            files.replace(self._path, str(raised).encode())
            self.value = raised
            reach("ceiling.raised")
