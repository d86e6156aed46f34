"""The operator against the embedded API server: what it writes, and that it reacts at once to what it waits for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User
from tests.operator.builders import NAMESPACE, NOW, condition, isvc, ovms, shipped

from skerry import operator
from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.kit.clock import SystemClock
from skerry.machinery import status
from skerry.operator.main import server_version
from skerry.reconcile import Caches, Manager

Json = dict[str, Any]
CONFIG_NAMESPACE = "redhat-ods-applications"
ISVCS = f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices"
ISVC = f"{ISVCS}/ovms-resnet50"
RUNTIMES = f"/apis/serving.kserve.io/v1alpha1/namespaces/{NAMESPACE}/servingruntimes"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/ovms-resnet50-predictor"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/ovms-resnet50-predictor"
CONFIG = f"/api/v1/namespaces/{CONFIG_NAMESPACE}/configmaps/inferenceservice-config"
MERGE = {"content-type": "application/merge-patch+json"}


async def _no_logs(namespace: str, name: str, query: dict[str, str]) -> AsyncIterator[bytes]:
    del namespace, query
    raise status.not_found("pods", name)


class HurriedClock(SystemClock):
    """A minute passes with every look, so a time that is written without need is seen to change."""

    def __init__(self) -> None:
        self._moment = NOW

    def now(self) -> datetime:
        self._moment += timedelta(minutes=1)
        return self._moment


class Api:
    """The API as a user reaches it."""

    def __init__(self, http: httpx2.AsyncClient, client: AsyncClient) -> None:
        self.http = http
        self.client = client

    async def create(self, path: str, item: Json) -> None:
        item["metadata"].pop("uid", None)
        answer = await self.http.post(path, json=item)
        assert answer.status_code == 201, answer.text

    async def patch(self, path: str, body: Json) -> None:
        answer = await self.http.patch(path, json=body, headers=MERGE)
        assert answer.status_code == 200, answer.text

    async def find(self, path: str) -> Json | None:
        answer = await self.http.get(path)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def wait(self, path: str, holds: Callable[[Json | None], Any]) -> Json:
        """Wait for the object to be as it should; fails with what it is like after ten seconds."""
        found: Json | None = None

        async def look() -> None:
            nonlocal found
            while True:
                found = await self.find(path)
                if holds(found):
                    return
                await asyncio.sleep(0.01)

        try:
            await asyncio.wait_for(look(), 10)
        except TimeoutError:
            pytest.fail(f"{path} is {found}")
        return found or {}

    async def events(self) -> list[tuple[str, str]]:
        """The events once there are any: the condition is written first."""
        listing = await self.wait(f"/api/v1/namespaces/{NAMESPACE}/events", lambda found: found and found["items"])
        return [(item["reason"], item["message"]) for item in listing["items"]]

    async def event(self, reason: str) -> str:
        """The message of the event of that reason, once it is there."""

        def holds(found: Json | None) -> bool:
            return any(item["reason"] == reason for item in (found or {}).get("items", []))

        listing = await self.wait(f"/api/v1/namespaces/{NAMESPACE}/events", holds)
        message: str = next(item["message"] for item in listing["items"] if item["reason"] == reason)
        return message


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    store = Store.open(tmp_path / "store.db")
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens({token_hash("s"): "admin"}), _no_logs))
    transport = InProcessTransport(app, "admin")
    config = SingleConfig("test", Context(cluster="test", user="test"), Cluster(server="http://api"), User())
    client = AsyncClient(config, transport=transport, trust_env=False)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=10) as http:
            made = Api(http, client)
            for name in (NAMESPACE, CONFIG_NAMESPACE):
                await made.create("/api/v1/namespaces", {"metadata": {"name": name}})
            config_map = next(item for item in shipped("010-kserve") if item["kind"] == "ConfigMap")
            await made.create(f"/api/v1/namespaces/{CONFIG_NAMESPACE}/configmaps", config_map)
            yield made
    finally:
        await transport.aclose()
        store.close()


@pytest.fixture
async def running(api: Api) -> AsyncIterator[Api]:
    clock = HurriedClock()
    manager = Manager(Caches(api.client, clock), clock)
    operator.controllers(manager, api.client, clock, namespace=CONFIG_NAMESPACE, server_version=(1, 35))
    async with _in_background(manager.run):
        yield api


class _in_background:  # noqa: N801 - reads as a verb
    def __init__(self, run: Callable[[], Awaitable[None]]) -> None:
        self._run = run

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def reason(name: str, wanted: str) -> Callable[[Json | None], bool]:
    def holds(item: Json | None) -> bool:
        conditions = ((item or {}).get("status") or {}).get("conditions") or []
        return any(part["type"] == name and part.get("reason") == wanted for part in conditions)

    return holds


async def test_walkthrough(running: Api) -> None:
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc())
    service = await running.wait(SERVICE, bool)
    deployment = await running.wait(DEPLOYMENT, bool)
    assert service["spec"]["clusterIP"] == "None"
    assert deployment["spec"]["replicas"] == 1
    stored = await running.wait(ISVC, lambda item: item and item.get("status"))
    assert stored["metadata"]["finalizers"] == ["inferenceservice.finalizers"]
    assert stored["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "RawDeployment"}
    assert deployment["metadata"]["ownerReferences"][0]["uid"] == stored["metadata"]["uid"]
    available = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}
    await running.patch(f"{DEPLOYMENT}/status", {"status": {"conditions": [available]}})
    ready = await running.wait(ISVC, lambda item: item and condition(item["status"], "Ready")["status"] == "True")
    assert ready["status"]["url"] == "http://ovms-resnet50-predictor.ai-demo.svc.cluster.local:8888"
    assert await running.event("InferenceServiceReady") == "InferenceService [ovms-resnet50] is Ready"


async def test_missing_runtime_is_told_and_its_arrival_noticed(running: Api) -> None:
    await running.create(ISVCS, isvc(runtime="kserve-ovms"))
    await running.wait(ISVC, reason("PredictorReady", "RuntimeNotRecognized"))
    assert [name for name, _ in await running.events()] == ["RuntimeNotRecognized"]
    await running.create(RUNTIMES, ovms())
    await running.wait(DEPLOYMENT, bool)
    await running.wait(ISVC, lambda item: item and item["status"].get("servingRuntimeName") == "kserve-ovms")


async def test_edit_of_a_runtime_reaches_its_models(running: Api) -> None:
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc())
    await running.wait(DEPLOYMENT, bool)
    containers = [{**ovms()["spec"]["containers"][0], "image": "quay.io/me/ovms:2"}]
    await running.patch(f"{RUNTIMES}/kserve-ovms", {"spec": {"containers": containers}})
    await running.wait(
        DEPLOYMENT, lambda item: item and item["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":2")
    )


async def test_restart_and_scale_survive_a_change(running: Api) -> None:
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc())
    await running.wait(DEPLOYMENT, bool)
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-03-12T16:00:00Z"}
    template = {"metadata": {"annotations": restarted}}
    await running.patch(DEPLOYMENT, {"spec": {"replicas": 2, "template": template}})
    await running.patch(ISVC, {"spec": {"predictor": {"model": {"args": ["--layout=NCHW"]}}}})
    changed = await running.wait(
        DEPLOYMENT, lambda item: item and "--layout=NCHW" in item["spec"]["template"]["spec"]["containers"][0]["args"]
    )
    assert changed["spec"]["replicas"] == 2
    assert restarted.items() <= changed["spec"]["template"]["metadata"]["annotations"].items()


async def test_deletion_is_not_held_up(running: Api) -> None:
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc())
    await running.wait(DEPLOYMENT, bool)
    await running.http.delete(ISVC)
    await running.wait(ISVC, lambda item: item is None)


async def test_stop_and_start(running: Api) -> None:
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc())
    await running.wait(DEPLOYMENT, bool)
    await running.patch(ISVC, {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}})
    await running.wait(ISVC, reason("Ready", "Stopped"))
    await running.wait(SERVICE, lambda item: item is None)
    await running.patch(ISVC, {"metadata": {"annotations": {"serving.kserve.io/stop": None}}})
    await running.wait(SERVICE, bool)
    await running.wait(ISVC, lambda item: item and condition(item["status"], "Stopped")["status"] == "False")


async def test_broken_configuration_and_its_repair(running: Api) -> None:
    good = await running.find(CONFIG)
    assert good is not None
    await running.patch(CONFIG, {"data": {"deploy": "{"}})
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc())
    await running.wait(ISVC, reason("PredictorReady", "ReconcileFailed"))
    assert await running.find(DEPLOYMENT) is None
    await running.patch(CONFIG, {"data": {"deploy": good["data"]["deploy"]}})
    await running.wait(DEPLOYMENT, bool)


async def test_refusal_by_the_api_ends_in_the_status(running: Api) -> None:
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc(ports=[{"containerPort": 99999}]))
    stored = await running.wait(ISVC, reason("PredictorReady", "ReconcileFailed"))
    assert "99999" in condition(stored["status"], "PredictorReady")["message"]


async def test_quiet_when_nothing_happens(running: Api) -> None:
    await running.create(RUNTIMES, ovms())
    await running.create(ISVCS, isvc(resources={"limits": {"cpu": "1000m"}}))
    await running.wait(DEPLOYMENT, bool)
    await running.wait(ISVC, lambda item: item and item.get("status"))
    settled = [await running.find(path) for path in (ISVC, DEPLOYMENT, SERVICE)]
    await running.patch(CONFIG, {"metadata": {"labels": {"touched": "yes"}}})  # reconciles everything once more
    # Disabled, or it would be chosen: it is the newer one when a second has passed.
    await running.create(RUNTIMES, {**ovms(disabled=True), "metadata": {"name": "other"}})
    # The second service is worked on after the first one has been looked at again.
    await running.create(ISVCS, {**isvc("second"), "metadata": {"name": "second", "namespace": NAMESPACE}})
    await running.wait(f"{ISVCS}/second", lambda item: item and item.get("status"))
    assert [await running.find(path) for path in (ISVC, DEPLOYMENT, SERVICE)] == settled


async def test_version_of_the_cluster(api: Api) -> None:
    assert await server_version(api.client) == (1, 35)
