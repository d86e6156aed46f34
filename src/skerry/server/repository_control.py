"""Loading and unloading for clients, and a server that leaves it to its files and its operator.

Whoever can reach the port can unload a model, as the protocol's extension has it. Where that is too many people,
`--model_control_mode=none` refuses both; the index stays, and the watcher still follows the files.
"""

import asyncio
from typing import NoReturn, Protocol

from skerry.server.errors import Forbidden
from skerry.server.registry import Registry


class Repository(Protocol):
    """What clients may do to models; each future ends when the work has, or with a `ServingError`."""

    @property
    def registry(self) -> Registry: ...

    def load(self, name: str) -> asyncio.Future[None]: ...

    def unload(self, name: str) -> asyncio.Future[None]: ...

    def reload(self) -> asyncio.Future[bool]: ...


class FixedRepository:
    """A repository whose models are not for clients to change; looking at the files again is no change."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @property
    def registry(self) -> Registry:
        return self._repository.registry

    def load(self, name: str) -> asyncio.Future[None]:
        self._refuse(f"cannot load {name}")

    def unload(self, name: str) -> asyncio.Future[None]:
        self._refuse(f"cannot unload {name}")

    def reload(self) -> asyncio.Future[bool]:
        return self._repository.reload()

    def _refuse(self, what: str) -> NoReturn:
        raise Forbidden(f"{what}: this server was started with --model_control_mode=none")
