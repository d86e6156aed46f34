"""An InferenceService by KServe's own SDK, in the SDK's environment; arguments: kubeconfig, namespace, storageUri."""

# mypy: ignore-errors
import sys

from kserve import (
    KServeClient,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
    constants,
)
from kubernetes import client as kubernetes


class OnTheWire(dict):
    """The SDK gives its own objects to the kubernetes client, which has taken nothing but dictionaries since 36."""

    def __init__(self, typed: V1beta1InferenceService) -> None:
        super().__init__(plain(typed))
        self.api_version, self.metadata = typed.api_version, typed.metadata


def plain(value: object) -> object:
    names = getattr(value, "attribute_map", None)
    if isinstance(names, dict):
        pairs = ((key, getattr(value, name)) for name, key in names.items())
        return {key: plain(member) for key, member in pairs if member is not None}
    if isinstance(value, kubernetes.V1ObjectMeta):
        pairs = {"name": value.name, "namespace": value.namespace, "resourceVersion": value.resource_version}
        return {key: member for key, member in pairs.items() if member is not None}
    return value


def isvc(namespace: str, uri: str, version: str | None = None, **predictor: object) -> OnTheWire:
    model = V1beta1ModelSpec(model_format=V1beta1ModelFormat(name="lightgbm"), storage_uri=uri)
    typed = V1beta1InferenceService(
        api_version=constants.KSERVE_V1BETA1,
        kind=constants.KSERVE_KIND_INFERENCESERVICE,
        metadata=kubernetes.V1ObjectMeta(name="sdk", namespace=namespace, resource_version=version),
        spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(model=model, **predictor)),
    )
    return OnTheWire(typed)


def replace(client: KServeClient, namespace: str, uri: str) -> dict:
    """Replace what is there; again when the operator has written its status in between."""
    for _ in range(10):
        version = client.get("sdk", namespace=namespace)["metadata"]["resourceVersion"]
        newer = isvc(namespace, uri, version, min_replicas=1, timeout=30)
        try:
            return client.replace("sdk", newer, namespace=namespace)
        except RuntimeError as error:
            if "(409)" not in str(error):
                raise
    raise AssertionError("ten conflicts in a row")


def main(config: str, namespace: str, uri: str) -> None:
    client = KServeClient(config_file=config)
    made = client.create(isvc(namespace, uri))
    assert made["metadata"]["generation"] == 1, made
    client.wait_isvc_ready("sdk", namespace=namespace, timeout_seconds=30, polling_interval=0.2)
    assert client.is_isvc_ready("sdk", namespace=namespace)
    found = client.get("sdk", namespace=namespace)
    assert found["status"]["url"], found
    patched = client.patch("sdk", isvc(namespace, uri, min_replicas=1), namespace=namespace)
    assert patched["spec"]["predictor"]["minReplicas"] == 1, patched
    replaced = replace(client, namespace, uri)
    assert replaced["metadata"]["generation"] == 3, replaced
    client.wait_isvc_ready("sdk", namespace=namespace, timeout_seconds=30, polling_interval=0.2, expected_generation=3)
    assert [one["metadata"]["name"] for one in client.get(namespace=namespace)["items"]] == ["sdk"]
    client.delete("sdk", namespace=namespace)
    sys.stdout.write("all is well\n")


main(*sys.argv[1:])
