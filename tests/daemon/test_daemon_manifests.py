"""Manifests at start: every object by itself, again until it succeeds, and users' edits kept."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from skerry.api.kinds import REGISTRY
from skerry.api.registry import Object
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.daemon.manifests import ManifestApplier
from skerry.kit.clock import SystemClock


class TurnedClock(SystemClock):
    """Sleeps at once, does something first, and remembers how long it was asked to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.meanwhile: Any = None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.meanwhile is not None:
            await self.meanwhile()


async def no_logs(*_: Any) -> AsyncIterator[bytes]:
    raise NotImplementedError


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    store = Store.open(tmp_path / "store.db")
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens({}), no_logs))
    async with httpx2.AsyncClient(transport=InProcessTransport(app, "admin"), base_url="http://api") as client:
        yield client
    store.close()


def config_map(namespace: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}, "data": data}


NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
PATH = "/api/v1/namespaces/a/configmaps/c"


async def apply(http: httpx2.AsyncClient, clock: TurnedClock, *directories: list[Object]) -> ManifestApplier:
    by_path = {Path(str(number)): items for number, items in enumerate(directories)}
    applier = ManifestApplier(http, REGISTRY, lambda path: by_path[path], clock)
    await applier.run(list(by_path))
    return applier


async def test_an_object_that_must_wait_does_not_hold_up_the_others(http: httpx2.AsyncClient) -> None:
    clock = TurnedClock()
    applier = await apply(http, clock, [config_map("a", k="v")], [NAMESPACE])
    assert (await http.get(PATH)).json()["data"] == {"k": "v"}
    assert applier.progress.applied == 2
    assert applier.progress.pending == {}
    assert clock.slept == [0.2]


async def test_it_goes_on_with_growing_delays_until_the_namespace_comes(http: httpx2.AsyncClient) -> None:
    clock = TurnedClock()

    async def after_a_while() -> None:
        if len(clock.slept) == 12:
            await http.post("/api/v1/namespaces", json=NAMESPACE)

    clock.meanwhile = after_a_while
    await apply(http, clock, [config_map("a", k="v")])
    assert (await http.get(PATH)).status_code == 200
    assert clock.slept[:4] == [0.2, 0.4, 0.8, 1.6]
    assert max(clock.slept) == 60.0


async def test_what_a_user_changed_stays_until_the_manifest_changes(http: httpx2.AsyncClient) -> None:
    clock = TurnedClock()
    await apply(http, clock, [NAMESPACE, config_map("a", k="shipped", other="shipped")])
    edit = {"data": {"k": "mine", "added": "mine"}}
    await http.patch(PATH, json=edit, headers={"content-type": "application/merge-patch+json"})
    await apply(http, clock, [NAMESPACE, config_map("a", k="shipped", other="shipped")])
    assert (await http.get(PATH)).json()["data"] == {"k": "mine", "added": "mine", "other": "shipped"}
    await apply(http, clock, [NAMESPACE, config_map("a", k="newer", other="shipped")])
    assert (await http.get(PATH)).json()["data"] == {"k": "newer", "added": "mine", "other": "shipped"}


async def test_a_bad_directory_or_kind_is_told_and_not_waited_for(http: httpx2.AsyncClient) -> None:
    def render(path: Path) -> list[Object]:
        if path.name == "bad":
            raise ValueError("kustomization.yaml: components is not understood")
        return [NAMESPACE]

    applier = ManifestApplier(http, REGISTRY, render, TurnedClock())
    await applier.run([Path("bad"), Path("good")])
    assert applier.progress.pending == {"bad": "kustomization.yaml: components is not understood"}
    assert (await http.get("/api/v1/namespaces/a")).status_code == 200
