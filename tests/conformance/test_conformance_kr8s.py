"""kr8s, sync and async: objects that know their API, found by what kubectl would be told.

kr8s has no way to close a client, and leaves its connections to the garbage collector: they are closed here.
"""

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import kr8s
import kr8s._async_utils
import kr8s.asyncio
import kr8s.asyncio.objects
import pytest
from kr8s.objects import ConfigMap, Deployment, Pod, new_class
from tests.conformance.isvc import inference_service
from tests.e2e.running import Platform, eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", autouse=True)
def what_kr8s_leaves_open() -> Iterator[None]:
    """Collect it before it is a warning in somebody else's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def api(platform: Platform, namespace: str) -> Iterator[Any]:
    made: Any = kr8s.api(kubeconfig=platform.environment["KUBECONFIG"], namespace=namespace)
    yield made
    kr8s._async_utils.as_sync_func(made._session.aclose)()


def config_map(namespace: str) -> dict[str, Any]:
    return {"metadata": {"name": "a", "namespace": namespace}, "data": {"k": "v"}}


def test_an_object_through_its_life(api: Any, namespace: str) -> None:
    assert api.version()["minor"] == "35"
    assert {"InferenceService", "Deployment"} <= {found["kind"] for found in api.api_resources()}
    one = ConfigMap(config_map(namespace), api=api)
    assert not one.exists()
    one.create()
    one.label({"x": "y"})
    one.annotate({"note": "said"})
    one.patch({"data": {"k": "w"}})
    one.refresh()
    assert (one.raw["data"], one.labels, one.annotations) == ({"k": "w"}, {"x": "y"}, {"note": "said"})
    found = kr8s.get("configmaps", namespace=namespace, label_selector={"x": "y"}, api=api)
    assert [item.name for item in found] == ["a"]
    watched = kr8s.watch("configmaps", namespace=namespace, label_selector={"x": "y"}, api=api)
    assert next(iter(watched))[0] == "ADDED"
    one.delete()
    one.wait("delete", timeout=10)
    assert not one.exists()


def test_a_deployment_and_its_pods(api: Any, namespace: str) -> None:
    container = {"name": "c", "image": "example.com/shell:1", "command": ["sh", "-c", "echo hello; exec sleep 600"]}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    web = Deployment({"metadata": {"name": "web", "namespace": namespace}, "spec": spec}, api=api)
    web.create()
    eventually(web.ready, "a ready Deployment")
    (pod,) = web.pods()
    pod.wait("condition=Ready", timeout=10)
    assert list(pod.logs()) == ["hello"]
    web.delete(propagation_policy="Foreground")
    web.wait("delete", timeout=20)
    assert list(Pod.list(namespace=namespace, api=api)) == []


def test_a_custom_resource(api: Any, namespace: str) -> None:
    model = new_class("InferenceService.serving.kserve.io/v1beta1", namespaced=True)
    one = model(inference_service("m", namespace, "localhost/missing:1"), api=api)
    one.create()
    eventually(lambda: refreshed(one).get("status"), "a status")
    one.wait("condition=Ready=False", timeout=20)
    listed = kr8s.get("inferenceservices.serving.kserve.io", namespace=namespace, api=api)
    assert [item.name for item in listed] == ["m"]
    one.delete()
    one.wait("delete", timeout=20)


def refreshed(one: Any) -> Any:
    one.refresh()
    return one.raw


async def test_the_same_without_threads(platform: Platform, namespace: str) -> None:
    api = await kr8s.asyncio.api(kubeconfig=platform.environment["KUBECONFIG"], namespace=namespace)
    one = await kr8s.asyncio.objects.ConfigMap(config_map(namespace), api=api)
    await one.create()
    await one.patch([{"op": "replace", "path": "/data/k", "value": "w"}], type="json")
    found = [item async for item in kr8s.asyncio.get("configmaps", "a", namespace=namespace, api=api)]
    assert found[0].raw["data"] == {"k": "w"}
    with pytest.raises(kr8s.ServerError, match="already exists"):
        await (await kr8s.asyncio.objects.ConfigMap(config_map(namespace), api=api)).create()
    await one.delete()
    assert not await one.exists()
    session: Any = api._session
    await session.aclose()
