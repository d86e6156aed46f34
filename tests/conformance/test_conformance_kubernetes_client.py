"""The official Python client: typed, dynamic, custom objects, watches, and its errors by status code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from tests.conformance.isvc import build_model, inference_service
from tests.e2e.running import Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
# Half of it has types, and those say that everything may be None.
client: Any = kubernetes.client
config: Any = kubernetes.config
dynamic: Any = kubernetes.dynamic
utils: Any = kubernetes.utils
watch: Any = kubernetes.watch
SERVING = ("serving.kserve.io", "v1beta1")


@pytest.fixture
def api(platform: Platform) -> Iterator[Any]:
    with config.new_client_from_config(platform.environment["KUBECONFIG"]) as made:
        yield made


def config_map(name: str, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"x": "y"}), data=data)


def test_the_server_introduces_itself(api: Any) -> None:
    assert client.VersionApi(api).get_code().minor == "35"
    assert "apps" in [group.name for group in client.ApisApi(api).get_api_versions().groups]
    assert "pods" in [found.name for found in client.CoreV1Api(api).get_api_resources().resources]
    assert True


def test_an_object_through_its_life(api: Any, namespace: str) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map(namespace, config_map("a", k="v"))
    made.data["k"] = "w"
    replaced = core.replace_namespaced_config_map("a", namespace, made)
    merged = core.patch_namespaced_config_map("a", namespace, {"data": {"z": "1"}})
    assert merged.data == {"k": "w", "z": "1"}
    removed = core.patch_namespaced_config_map("a", namespace, [{"op": "remove", "path": "/data/z"}])
    assert removed.data == {"k": "w"}
    dry = core.create_namespaced_config_map(namespace, config_map("dry"), dry_run="All", field_validation="Strict")
    assert dry.metadata.uid
    listed = core.list_namespaced_config_map(namespace, label_selector="x=y", limit=1)
    assert [item.metadata.name for item in listed.items] == ["a"]
    assert replaced.metadata.uid == core.read_namespaced_config_map("a", namespace).metadata.uid
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=made.metadata.uid))
    gone = core.delete_namespaced_config_map("a", namespace, body=options)
    assert api.sanitize_for_serialization(gone)["status"] == "Success"
    core.create_namespaced_config_map(namespace, config_map("b"))
    core.delete_collection_namespaced_config_map(namespace, label_selector="x=y")
    assert core.list_namespaced_config_map(namespace, label_selector="x=y").items == []


def test_errors_are_told_apart(api: Any, namespace: str) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map(namespace, config_map("a"))

    def refused(call: Any, *words: Any, **options: Any) -> tuple[int, str]:
        with pytest.raises(client.ApiException) as found:
            call(*words, **options)
        return found.value.status, found.value.body

    stale = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a", resource_version="1"))
    wrong = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="A_"))
    other = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    for (code, body), (wanted, text) in (
        (refused(core.read_namespaced_config_map, "b", namespace), (404, 'configmaps \\"b\\" not found')),
        (refused(core.create_namespaced_config_map, namespace, made), (400, "resourceVersion should not be set")),
        (refused(core.create_namespaced_config_map, namespace, config_map("a")), (409, "already exists")),
        (refused(core.replace_namespaced_config_map, "a", namespace, stale), (409, "the object has been modified")),
        (refused(core.create_namespaced_config_map, namespace, wrong), (422, "a lowercase RFC 1123 subdomain")),
        (refused(core.delete_namespaced_config_map, "a", namespace, body=other), (409, "The object might have been")),
    ):
        assert (code, text in body) == (wanted, True), body


def test_a_watch_from_a_list_on(api: Any, namespace: str) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(namespace, config_map("a"))
    start = core.list_namespaced_config_map(namespace, label_selector="x=y").metadata.resource_version
    core.patch_namespaced_config_map("a", namespace, {"data": {"k": "v"}})
    core.create_namespaced_config_map(namespace, config_map("b"))
    core.delete_namespaced_config_map("a", namespace)
    seen, follow = [], watch.Watch()
    options = {"resource_version": start, "label_selector": "x=y", "timeout_seconds": 20}
    for event in follow.stream(core.list_namespaced_config_map, namespace, **options):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            follow.stop()
    assert seen == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]


def test_the_log_of_a_pod(api: Any, namespace: str) -> None:
    core = client.CoreV1Api(api)
    container = client.V1Container(name="c", image="example.com/shell:1", command=["sh", "-c", "echo hello"])
    spec = client.V1PodSpec(containers=[container], restart_policy="Never")
    core.create_namespaced_pod(namespace, client.V1Pod(metadata=client.V1ObjectMeta(name="p"), spec=spec))
    follow = watch.Watch()
    for event in follow.stream(core.list_namespaced_pod, namespace, timeout_seconds=30):
        if event["object"].status.phase == "Succeeded":
            follow.stop()
    assert core.read_namespaced_pod_log("p", namespace) == "hello\n"
    assert list(watch.Watch().stream(core.read_namespaced_pod_log, "p", namespace)) == ["hello"]


def test_manifests_and_the_dynamic_client(api: Any, namespace: str, tmp_path: Path) -> None:
    manifest = tmp_path / "a.yaml"
    manifest.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n")
    utils.create_from_yaml(api, str(manifest), namespace=namespace)
    found = dynamic.DynamicClient(api)
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    models = found.resources.get(api_version="/".join(SERVING), kind="InferenceService")
    assert maps.get(namespace=namespace, name="a").data.k == "v"
    assert models.get(namespace=namespace).items == []
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "w"}}
    with pytest.raises(dynamic.exceptions.ConflictError, match=r"\.data\.k"):
        maps.server_side_apply(body, namespace=namespace, field_manager="test")
    taken = maps.server_side_apply(body, namespace=namespace, field_manager="test", force_conflicts=True)
    assert taken.data.k == "w"
    assert [event["type"] for event in maps.watch(namespace=namespace, name="a", timeout=1)] == ["ADDED"]
    assert maps.delete(name="a", namespace=namespace).status == "Success"


def test_an_inference_service_as_kserves_sdk_handles_it(
    api: Any, platform: Platform, namespace: str, tmp_path: Path
) -> None:
    """The calls that `KServeClient` is made of; the SDK itself: test_conformance_kserve.py."""
    build_model(platform, tmp_path)
    custom, place = client.CustomObjectsApi(api), (*SERVING, namespace, "inferenceservices")
    custom.create_namespaced_custom_object(*place, inference_service("m", namespace))

    def ready() -> bool:
        status = custom.get_namespaced_custom_object(*place, "m").get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return conditions.get("Ready") == "True" and bool(status.get("url"))

    eventually(ready, "a ready InferenceService")
    label = {"metadata": {"labels": {"a": "b"}}}
    assert custom.patch_namespaced_custom_object(*place, "m", label)["metadata"]["labels"] == {"a": "b"}
    item = inference_service("m", namespace)
    item["metadata"]["resourceVersion"] = custom.get_namespaced_custom_object(*place, "m")["metadata"][
        "resourceVersion"
    ]
    item["spec"]["predictor"]["minReplicas"] = 1
    assert custom.replace_namespaced_custom_object(*place, "m", item)["metadata"]["generation"] == 2
    assert custom.list_namespaced_custom_object(*place)["kind"] == "InferenceServiceList"
    deleted = custom.delete_namespaced_custom_object(*place, "m")
    assert deleted.get("status") == "Success" or deleted["metadata"]["deletionTimestamp"]
    eventually(lambda: not custom.list_namespaced_custom_object(*place)["items"], "the end of it")
