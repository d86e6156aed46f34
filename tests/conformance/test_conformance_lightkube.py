"""lightkube, sync and async: the client that controllers here are written with, over the network this time."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig
from lightkube.codecs import load_all_yaml
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Pod
from lightkube.types import CascadeType, PatchType
from tests.conformance.isvc import inference_service
from tests.e2e.running import Platform, eventually

pytestmark = pytest.mark.e2e

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "example.com/shell:1", command: [sh, -c, "echo hello; exec sleep 600"]}]
"""


@pytest.fixture
def settings(platform: Platform, namespace: str) -> dict[str, Any]:
    found = KubeConfig.from_file(platform.environment["KUBECONFIG"])
    return {"config": found, "namespace": namespace, "field_manager": "test", "trust_env": False}


@pytest.fixture
def client(settings: dict[str, Any]) -> Iterator[Client]:
    made = Client(**settings)
    yield made
    made._client._client.close()


@pytest.fixture
async def asynchronous(settings: dict[str, Any]) -> AsyncIterator[AsyncClient]:
    made = AsyncClient(**settings)
    yield made
    await made.close()


def test_an_object_through_its_life(client: Client) -> None:
    made = client.create(ConfigMap(metadata=ObjectMeta(name="a", labels={"x": "y"}), data={"k": "v"}))
    made.data = {"k": "w"}
    client.replace(made)
    assert client.patch(ConfigMap, "a", {"data": {"z": "1"}}, patch_type=PatchType.MERGE).data == {"k": "w", "z": "1"}
    assert client.apply(ConfigMap(metadata=ObjectMeta(name="a"), data={"q": "1"})).data == {
        "k": "w",
        "z": "1",
        "q": "1",
    }
    with pytest.raises(ApiError, match="Apply failed with 1 conflict"):
        client.apply(ConfigMap(metadata=ObjectMeta(name="a"), data={"q": "2"}), field_manager="other")
    assert [name_of(item) for item in client.list(ConfigMap, labels={"x": "y"}, chunk_size=1)] == ["a"]
    assert [(op, item.metadata.name) for op, item in first(client.watch(ConfigMap, labels={"x": "y"}))] == [
        ("ADDED", "a")
    ]
    client.delete(ConfigMap, "a")
    with pytest.raises(ApiError, match='configmaps "a" not found') as refused:
        client.get(ConfigMap, "a")
    assert refused.value.status.code == 404


def name_of(item: Any) -> str:
    name: str = item.metadata.name
    return name


def first(events: Any) -> Iterator[Any]:
    yield next(iter(events))


def test_a_deployment_and_its_log(client: Client) -> None:
    for item in load_all_yaml(WEB.replace("NAMESPACE", client.namespace)):
        client.create(item)
    available = client.wait(Deployment, "web", for_conditions=["Available"], raise_for_conditions=["ReplicaFailure"])
    assert available.status is not None
    assert available.status.observedGeneration == 1
    (pod,) = client.list(Pod, labels={"app": "web"})
    assert list(client.log(name_of(pod))) == ["hello\n"]
    client.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
    eventually(lambda: not list(client.list(Deployment)), "the end of the Deployment")
    assert list(client.list(Pod)) == []


async def test_the_same_without_threads(asynchronous: AsyncClient) -> None:
    container = Container(name="c", image="example.com/shell:1", command=["sh", "-c", "echo one; echo two"])
    pod = Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(containers=[container], restartPolicy="Never"))
    made = await asynchronous.create(pod)
    assert made.metadata is not None
    async for _, item in asynchronous.watch(Pod, fields={"metadata.name": "p"}, server_timeout=30):
        if item.status is not None and item.status.phase == "Succeeded":
            break
    assert [line async for line in asynchronous.log("p")] == ["one\n", "two\n"]
    await asynchronous.delete(Pod, "p", grace_period=0)
    assert [item async for item in asynchronous.list(Pod)] == []


async def test_a_custom_resource(asynchronous: AsyncClient) -> None:
    model = create_namespaced_resource("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices")
    await asynchronous.create(model(**inference_service("m", asynchronous.namespace, "localhost/missing:1")))
    patched = await asynchronous.patch(model, "m", {"metadata": {"labels": {"a": "b"}}}, patch_type=PatchType.MERGE)
    assert patched.metadata is not None
    assert patched.metadata.labels == {"a": "b"}
    status = await asynchronous.get(model.Status, "m")
    assert status.metadata is not None
    await asynchronous.delete(model, "m")
