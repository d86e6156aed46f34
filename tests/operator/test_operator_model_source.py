"""How a model comes into a pod, for each scheme and each age of cluster."""

from typing import Any

import msgspec
import pytest
from tests.operator.builders import (
    BEFORE_IMAGE_VOLUMES,
    BEFORE_SIDECARS,
    condition,
    isvc,
    microshift_config,
    planned,
    pod_of,
    status_after,
)

from skerry.operator.config import Config, StorageInitializer

Json = dict[str, Any]
SHARED = {"name": "kserve-provision-location", "emptyDir": {}}


def spec_of(uri: str | None = "oci://localhost/ovms-resnet50:test", **world: Any) -> Json:
    return pod_of(planned(isvc(storageUri=uri), **world))


def refusal(uri: str, **world: Any) -> str:
    status = status_after(planned(isvc(storageUri=uri), **world))
    message: str = condition(status, "PredictorReady")["message"]
    return message


def with_storage(**changes: Any) -> Config:
    config = microshift_config()
    return msgspec.structs.replace(config, storage=msgspec.structs.replace(config.storage, **changes))


def test_modelcar_as_a_native_sidecar_holds_the_server_back() -> None:
    spec = spec_of(server=BEFORE_IMAGE_VOLUMES)
    (car,) = spec["initContainers"]
    (server,) = spec["containers"]
    assert (car["name"], car["image"], car["restartPolicy"]) == ("modelcar", "localhost/ovms-resnet50:test", "Always")
    assert car["startupProbe"]["exec"]["command"] == ["sh", "-c", "test -d /mnt/models/"]
    assert "ln -sfn /proc/$$$$/root/models /mnt/models && exec sleep infinity" in car["args"][2]
    assert car["resources"] == {
        "requests": {"cpu": "10m", "memory": "15Mi"},
        "limits": {"cpu": "10m", "memory": "15Mi"},
    }
    assert spec["shareProcessNamespace"] is True
    assert spec["volumes"] == [SHARED]
    mount = {"name": "kserve-provision-location", "mountPath": "/mnt"}
    assert (server["volumeMounts"], car["volumeMounts"]) == ([mount], [mount])
    assert server["env"] == [{"name": "MODEL_INIT_MODE", "value": "async"}]


def test_modelcar_on_an_old_cluster_is_at_least_pulled_first() -> None:
    spec = spec_of(server=BEFORE_SIDECARS)
    assert [item["name"] for item in spec["containers"]] == ["kserve-container", "modelcar"]
    (check,) = spec["initContainers"]
    assert (check["name"], check["image"]) == ("modelcar-init", "localhost/ovms-resnet50:test")
    assert "restartPolicy" not in spec["containers"][1]


def test_image_name_never_reaches_a_shell() -> None:
    evil = "oci://localhost/x;touch /tmp/owned"
    for server in (BEFORE_IMAGE_VOLUMES, BEFORE_SIDECARS):
        spec = spec_of(evil, server=server)
        for item in [*spec["containers"], *spec["initContainers"]]:
            assert "owned" not in " ".join(item.get("args", []))


def test_uid_of_the_modelcar() -> None:
    spec = spec_of(server=BEFORE_IMAGE_VOLUMES, config=with_storage(uidModelcar=1010))
    assert spec["initContainers"][0]["securityContext"] == {"runAsUser": 1010}
    assert spec["containers"][0]["securityContext"] == {"runAsUser": 1010}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("localhost/m:test", "IfNotPresent"),
        ("localhost:5000/m", "Always"),
        ("quay.io/m:latest", "Always"),
        ("quay.io/m@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_pull_policy_of_a_model(image: str, policy: str) -> None:
    assert spec_of(f"oci://{image}")["volumes"][0]["image"] == {"reference": image, "pullPolicy": policy}


def test_claim_is_mounted_directly() -> None:
    spec = spec_of("pvc://models/resnet/1")
    assert spec["volumes"] == [{"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": "models"}}]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "kserve-pvc-source", "mountPath": "/mnt/models", "readOnly": True, "subPath": "resnet/1"}
    ]
    assert "initContainers" not in spec


def test_claim_as_a_whole_and_writable() -> None:
    service = isvc(storageUri="pvc://models")
    service["metadata"]["annotations"] = {"storage.kserve.io/readonly": "false"}
    mount = pod_of(planned(service))["containers"][0]["volumeMounts"][0]
    assert mount == {"name": "kserve-pvc-source", "mountPath": "/mnt/models", "readOnly": False}


@pytest.mark.parametrize(
    "uri", ["s3://bucket/m", "gs://b/m", "https://host/m.tar", "hf://org/repo", "/local/path", "relative"]
)
def test_download(uri: str) -> None:
    spec = spec_of(uri)
    (initializer,) = spec["initContainers"]
    assert initializer["name"] == "storage-initializer"
    assert initializer["image"].startswith("quay.io/modh/kserve-storage-initializer@sha256:")
    assert initializer["args"] == [uri, "/mnt/models"]
    assert initializer["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert initializer["resources"] == {
        "requests": {"cpu": "100m", "memory": "100Mi"},
        "limits": {"cpu": "1", "memory": "24Gi"},
    }
    assert initializer["volumeMounts"] == [{"name": "kserve-provision-location", "mountPath": "/mnt/models"}]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "kserve-provision-location", "mountPath": "/mnt/models", "readOnly": True}
    ]
    assert spec["volumes"] == [SHARED]


def test_oci_is_downloaded_where_modelcars_are_off() -> None:
    spec = spec_of(config=with_storage(enableModelcar=False))
    assert spec["initContainers"][0]["args"][0] == "oci://localhost/ovms-resnet50:test"


@pytest.mark.parametrize("image", ["", "$(kserve-storage-initializer)"])
def test_initializer_without_an_image(image: str) -> None:
    text = refusal("s3://b/m", config=Config(storage=StorageInitializer(image=image)))
    assert text.startswith("cannot download s3://b/m: the image of the storage initializer is")


def test_several_places() -> None:
    service = isvc(storageUri=None)
    service["spec"]["predictor"]["storageUris"] = [
        {"uri": "oci://localhost/a:1", "mountPath": "/mnt/models/a"},
        {"uri": "pvc://c/b", "mountPath": "/mnt/models/b"},
        {"uri": "s3://b/c", "mountPath": "/mnt/models/c"},
        {"uri": "s3://b/d", "mountPath": "/mnt/models/d"},
    ]
    spec = pod_of(planned(service))
    assert [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]] == [
        "/mnt/models/a",
        "/mnt/models/b",
        "/mnt/models/c",
        "/mnt/models/d",
    ]
    assert [volume["name"] for volume in spec["volumes"]] == [
        "mnt-models-a",
        "kserve-pvc-source",
        "kserve-provision-location",
        "kserve-provision-location-1",
    ]
    assert spec["initContainers"][0]["args"] == ["s3://b/c", "/mnt/models/c", "s3://b/d", "/mnt/models/d"]


def test_one_modelcar_a_pod_on_older_clusters() -> None:
    service = isvc(storageUri=None)
    service["spec"]["predictor"]["storageUris"] = [
        {"uri": "oci://localhost/a:1", "mountPath": "/mnt/models/a"},
        {"uri": "oci://localhost/b:1", "mountPath": "/mnt/models/b"},
    ]
    message = condition(status_after(planned(service, server=BEFORE_IMAGE_VOLUMES)), "PredictorReady")["message"]
    assert message == "this cluster (older than Kubernetes 1.35) can only mount one oci:// model in a pod"


def test_no_model_at_all() -> None:
    spec = spec_of(None)
    assert "volumes" not in spec
    assert "volumeMounts" not in spec["containers"][0]


def test_claim_without_a_name() -> None:
    assert refusal("pvc:///a") == "invalid storageUri pvc:///a: want pvc://CLAIM/PATH"
