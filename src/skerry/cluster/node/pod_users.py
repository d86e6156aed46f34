"""One unprivileged user for each namespace, where the daemon may hand them out.

Pods of one namespace trust each other and share a user; pods of different namespaces cannot read each other's files or
signal each other's processes. The numbers are remembered, because files of claims and emptyDirs carry them.
"""

from pathlib import Path

import msgspec

from skerry.cluster.node.containers import User
from skerry.cluster.node.hardening import FIRST_POD_USER, POD_USERS
from skerry.kit.files import replace


class PodUsers:
    """Hands out users by namespace."""

    def __init__(self, file: Path, *, enabled: bool) -> None:
        self._file = file
        self._enabled = enabled
        self._numbers: dict[str, int] = {}
        if enabled and file.exists():
            self._numbers = msgspec.json.decode(file.read_bytes(), type=dict[str, int])

    def of(self, namespace: str) -> User | None:
        """Return the namespace's user; None where pods run as the daemon's."""
        if not self._enabled:
            return None
        number = self._numbers.get(namespace)
        if number is None:
            number = (max(self._numbers.values(), default=-1) + 1) % POD_USERS
            self._numbers[namespace] = number
            replace(self._file, msgspec.json.encode(self._numbers))
        return User(FIRST_POD_USER + number, FIRST_POD_USER + number)
