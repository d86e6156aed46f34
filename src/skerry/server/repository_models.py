"""All models of the process: those that the command line or the config file names, kept as their files are.

Every `--file_system_poll_wait_seconds` the config file's digest and the models' directories are looked at. Everything
that changes models comes through here one at a time, so a reload that a client asks for and the watcher's do not meet
in the middle. Retired versions finish beside that.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from skerry.server import config_file, log
from skerry.server.background import in_thread
from skerry.server.config_file import Config
from skerry.server.errors import InferenceFailed, InvalidRequest, LoadError, NotReady, ServingError, UnknownModel
from skerry.server.loading import Loader, finish
from skerry.server.options import ModelOptions
from skerry.server.registry import Registry, ServedVersion
from skerry.server.repository import wait_for
from skerry.server.repository_model import RepositoryModel

T = TypeVar("T")


class Models:
    """The models by name. `start` first, then `run` for ever; what clients ask for is answered while it runs."""

    def __init__(self, loader: Loader, common: ModelOptions, config_path: Path | None) -> None:
        """Without a config file `common` is the only model."""
        self._loader = loader
        self._common = common
        self._config_path = config_path
        self._models: dict[str, RepositoryModel] = {}
        self._broken: set[str] = set()
        self._digest = ""
        self._refused = ""
        self._lock = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None

    @property
    def registry(self) -> Registry:
        return self._loader.registry

    async def start(self, wait_seconds: float) -> None:
        """Load everything; raises `LoadError` if the config file cannot be used, or the only model cannot be served."""
        if self._config_path is None:
            model = self._add(self._common)
            await in_thread(lambda: wait_for(self._common.path, wait_seconds))
            if (why := await model.refresh()) is not None:
                raise why
        else:
            path = self._config_path
            await in_thread(lambda: wait_for(path, wait_seconds))
            await self._apply(await in_thread(lambda: config_file.read(path, self._common)))
        self.registry.started()

    async def run(self, poll_seconds: float) -> None:
        """Watch the files (never with 0), and do what clients ask for."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            while poll_seconds:
                await asyncio.sleep(poll_seconds)
                try:
                    await self._look()
                except LoadError as why:
                    log.warning("Reloading config file failed", reason=why)
                except Exception as why:  # noqa: BLE001 - what is served goes on being served
                    log.exception("looking at the models broke", error=type(why).__name__)
            await asyncio.Event().wait()

    def layouts(self) -> list[str]:
        """What the models' options say of layouts."""
        return [model.options.layout for model in self._models.values()]

    def load(self, name: str) -> "asyncio.Future[None]":
        """Load a model, also one that was unloaded; the future may raise a `ServingError`."""
        return self._begin(lambda: self._load(name))

    def unload(self, name: str) -> "asyncio.Future[None]":
        """Stop serving a model until somebody loads it again."""
        return self._begin(lambda: self._unload(name))

    def reload(self) -> "asyncio.Future[bool]":
        """Look at the files now; tells whether the config file had changed."""
        return self._begin(self._reload)

    def _begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Future[T]":
        if self._group is None:
            raise NotReady("Server is not ready: it loads its models")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._group.create_task(_settle(future, work()))
        return future

    async def _load(self, name: str) -> None:
        async with self._lock:
            model = self._find(name)
            if (why := await model.load()) is not None:
                raise InvalidRequest(f"cannot load {name}: {why}")

    async def _unload(self, name: str) -> None:
        async with self._lock:
            await self._find(name).unload()

    async def _reload(self) -> bool:
        try:
            return await self._look(again=True)
        except LoadError as why:
            raise InferenceFailed(f"Reloading config file failed. {why}") from None

    async def _look(self, *, again: bool = False) -> bool:
        """Follow the files; a config file that was refused is only judged again when it changed, or when asked to."""
        async with self._lock:
            changed, failure = False, None
            try:
                changed = await self._look_at_config(again=again)
            except LoadError as why:
                failure = why
            for model in list(self._models.values()):
                await model.refresh()
            if failure is not None:
                raise failure
            return changed

    async def _look_at_config(self, *, again: bool) -> bool:
        path = self._config_path
        if path is None:
            return False
        try:
            digest = await in_thread(lambda: config_file.digest_of(path))
            if digest == self._digest or (digest == self._refused and not again):
                return False
            config = await in_thread(lambda: config_file.read(path, self._common))
        except LoadError as why:
            told, self._refused = self._refused, await in_thread(lambda: _digest_or_reason(path))
            if told == self._refused and not again:
                return False
            raise why from None
        log.info("the config file has changed", path=path)
        await self._apply(config)
        return True

    async def _apply(self, config: Config) -> None:
        """Go from the models that are served to those of the file."""
        for name in self._broken - set(config.broken) - set(config.models):
            self.registry.forget(name)
        for name in [name for name in self._models if name not in config.models and name not in config.broken]:
            await self._models.pop(name).remove()
        for options in config.models.values():
            self.registry.declare(options.name)
        for name, reason in config.broken.items():
            log.warning("cannot use an entry", model=name, reason=reason)
            if name not in self._models:  # one that answers goes on as it was
                self.registry.declare(name)
                self.registry.settled(name, reason)
        self._broken = set(config.broken) - set(self._models)
        for options in config.models.values():
            if (model := self._models.get(options.name)) is None:
                model = self._add(options)
            model.options = options
            await model.refresh()
        self._digest, self._refused = config.digest, ""

    def _add(self, options: ModelOptions) -> RepositoryModel:
        model = self._models[options.name] = RepositoryModel(options, self._loader, self._retired)
        return model

    def _find(self, name: str) -> RepositoryModel:
        if name not in self._models:
            raise UnknownModel(f"Model with requested name is not found: {name}")
        return self._models[name]

    def _retired(self, version: ServedVersion) -> None:
        assert self._group is not None, "nothing is retired while the server starts"
        self._group.create_task(finish(self.registry, version))


def _digest_or_reason(path: Path) -> str:
    try:
        return config_file.digest_of(path)
    except LoadError as why:
        return str(why)


async def _settle(future: "asyncio.Future[T]", work: Coroutine[Any, Any, T]) -> None:
    """Run work for a client that may have gone; what fails is its answer and nobody else's."""
    try:
        result = await work
        if not future.done():
            future.set_result(result)
    except ServingError as why:
        if not future.done():
            future.set_exception(why)
    except Exception as why:  # noqa: BLE001 - a defect is one failed request
        log.exception("a change of the repository broke", error=type(why).__name__)
        if not future.done():
            future.set_exception(InferenceFailed(f"Internal server error: {type(why).__name__}"))
    finally:
        future.cancel()
