"""Real kubectls and what keeps a server well: health, metrics, pages, refusals that are tried again."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import Kubectl, kubectls, make_certificates, serving

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.traffic import Limits
from skerry.cluster.store import Key, Store
from skerry.daemon.certificates import Pki
from skerry.kit.clock import SystemClock

PROGRAMS = kubectls()
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")

Message = MutableMapping[str, Any]


class Counting:
    """The server, which refuses the first requests for ConfigMaps when it is told to."""

    def __init__(self, store: Store, pki: Pki) -> None:
        def made(limits: Limits) -> ApiServer:
            tokens = Tokens({token_hash(pki.admin_token.read_text()): "system:admin"})
            return ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs, limits=limits))

        self.app, self._full = made(Limits()), made(Limits(reads=0))
        self.refuse = 0
        self.asked: list[str] = []

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        if not scope["path"].endswith("configmaps"):
            await self.app(scope, receive, send)
            return
        self.asked.append(scope["query_string"].decode())
        await (self._full if len(self.asked) <= self.refuse else self.app)(scope, receive, send)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def server(store: Store, pki: Pki) -> Counting:
    return Counting(store, pki)


@pytest.fixture(params=PROGRAMS)
async def kubectl(
    request: pytest.FixtureRequest, server: Counting, store: Store, pki: Pki, tmp_path: Path
) -> AsyncIterator[Kubectl]:
    for name in ("default", "kube-system"):
        await store.create(Key("/namespaces", "", name), {"metadata": {"name": name, "uid": name}})
    for number in range(5):
        item = {"metadata": {"name": f"m{number}", "namespace": "default", "uid": str(number)}}
        await store.create(Key("/configmaps", "default", f"m{number}"), item)
    async with serving(server, pki, tmp_path / "kubeconfig"):  # type: ignore[arg-type]
        yield Kubectl(PROGRAMS[request.param], tmp_path, tmp_path / "kubeconfig")


async def test_health_and_metrics(kubectl: Kubectl, server: Counting) -> None:
    assert await kubectl("get", "--raw=/livez") == "ok"
    text = await kubectl("get", "--raw=/readyz?verbose&exclude=etcd")
    assert text == "[+]ping ok\n[+]etcd excluded: ok\nreadyz check passed\n"
    server.app.health.add("informer-sync", lambda: "not synced yet: Pod", live=False)
    assert "InternalError" in await kubectl.refused("get", "--raw=/readyz")
    assert 'apiserver_storage_objects{resource="configmaps"} 5\n' in await kubectl("get", "--raw=/metrics")


async def test_cluster_info(kubectl: Kubectl) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", await kubectl("cluster-info"))
    assert re.match(r"Kubernetes control plane is running at https://127\.0\.0\.1:\d+\n", text)


async def test_pages_of_a_list(kubectl: Kubectl, server: Counting) -> None:
    names = (await kubectl("get", "configmaps", "-o", "name", "--chunk-size=2")).split()
    assert names == [f"configmap/m{number}" for number in range(5)]
    assert len(server.asked) == 3
    assert sum("continue=" in query for query in server.asked) == 2


async def test_a_refusal_is_tried_again(kubectl: Kubectl, server: Counting) -> None:
    server.refuse = 1
    names = (await kubectl("get", "configmaps", "-o", "name")).split()
    assert len(names) == 5
    assert len(server.asked) == 2
