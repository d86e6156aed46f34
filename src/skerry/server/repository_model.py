"""One model of the repository: which of its versions answer follows its directory and its options.

A refresh reads the directory and goes from what is served to what the policy chooses: what is new is loaded first, then
what is not chosen any more is retired. A version that cannot be loaded is passed over for the next that the policy
allows, as OVMS does; it is tried again when its files or the model's options change. Where the files of a version that
answers were replaced by broken ones, the old stay in service.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from skerry.server import log
from skerry.server.background import in_thread
from skerry.server.errors import LoadError
from skerry.server.loading import Loader
from skerry.server.options import ModelOptions, VersionPolicy
from skerry.server.registry import ServedVersion
from skerry.server.repository import Version, chosen, no_version, versions_of

_ANY: Final = VersionPolicy()
_Source = tuple[ModelOptions, Version]


class RepositoryModel:
    """The versions of one model. `retired` gets each version that may be closed after its last request."""

    def __init__(self, options: ModelOptions, loader: Loader, retired: Callable[[ServedVersion], None]) -> None:
        self.options = options
        self._loader = loader
        self._registry = loader.registry
        self._retired = retired
        self._served: dict[int, _Source] = {}
        self._broken: dict[int, tuple[_Source, LoadError]] = {}
        self._unloaded = False
        self._told = ""
        self._lock = asyncio.Lock()
        self._registry.declare(options.name)

    async def refresh(self) -> LoadError | None:
        """Serve what should be served; return why nothing is, if that is so."""
        async with self._lock:
            return None if self._unloaded else await self._refresh()

    async def load(self) -> LoadError | None:
        """Serve it even if it was unloaded, and try again what was broken."""
        async with self._lock:
            self._unloaded = False
            self._broken.clear()
            return await self._refresh()

    async def unload(self) -> None:
        """Stop serving it, until it is loaded explicitly."""
        async with self._lock:
            self._unloaded = True
            self._retire(list(self._served))
            self._registry.settled(self.options.name, "it was unloaded")

    async def remove(self) -> None:
        """Stop serving it for good."""
        await self.unload()
        self._registry.forget(self.options.name)

    async def _refresh(self) -> LoadError | None:
        options = self.options
        try:
            present = await in_thread(lambda: versions_of(options.path))
            reason = "" if present else no_version(options.path)
        except (LoadError, OSError) as why:
            # Perhaps a volume that comes back: what is loaded goes on answering.
            return self._nothing(str(why))
        loaded = False
        while (number := self._next(present)) is not None:
            loaded = await self._load(number, present[number]) or loaded
        wanted = self._wanted(present)
        self._retire([number for number in self._served if number not in wanted])
        self._forget(present)
        if not self._served:
            return self._nothing(
                reason or f"cannot serve {options.name}: model_version_policy allows none of {sorted(present)}"
            )
        self._told = ""
        self._registry.settled(options.name)
        if loaded:
            await self._loader.settle()
        return None

    def _source(self, version: Version) -> _Source:
        # The policy says which versions are loaded, nothing about how.
        return msgspec.structs.replace(self.options, version_policy=_ANY), version

    def _is_broken(self, number: int, version: Version) -> bool:
        found = self._broken.get(number)
        return found is not None and found[0] == self._source(version)

    def _wanted(self, present: dict[int, Version]) -> list[int]:
        """The versions to serve, newest first, without those that cannot be loaded."""
        usable = [
            number
            for number, version in present.items()
            if number in self._served or not self._is_broken(number, version)
        ]
        return chosen(self.options.version_policy, usable)

    def _next(self, present: dict[int, Version]) -> int | None:
        """A version that should be loaded now."""
        for number in self._wanted(present):
            version = present[number]
            if self._served.get(number) != self._source(version) and not self._is_broken(number, version):
                return number
        return None

    async def _load(self, number: int, version: Version) -> bool:
        source = self._source(version)
        try:
            replaced = await self._loader.load(self.options, number, version)
        except LoadError as why:
            self._broken[number] = source, why
            self._registry.failed(self.options.name, number, str(why))
            log.warning("cannot load version", model=self.options.name, version=number, reason=why)
            return False
        self._served[number] = source
        self._broken.pop(number, None)
        if replaced is not None:
            self._retired(replaced)
        return True

    def _retire(self, numbers: list[int]) -> None:
        for number in numbers:
            del self._served[number]
            self._retired(self._registry.retire(self.options.name, number))

    def _forget(self, present: dict[int, Version]) -> None:
        for number in [number for number in self._broken if number not in present]:
            del self._broken[number]
            self._registry.forget_version(self.options.name, number)

    def _nothing(self, reason: str) -> LoadError | None:
        """Say why nothing new is served; an error if nothing is served at all."""
        name = self.options.name
        if self._broken and not self._served:
            self._registry.settled(name)
            return self._broken[max(self._broken)][1]
        if reason != self._told:
            log.warning("cannot read the versions", model=name, reason=reason)
        self._told = reason
        if self._served:
            return None
        self._registry.settled(name, reason)
        return LoadError(reason)
