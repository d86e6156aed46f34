"""Defaults, refusals and warnings at admission, in KServe's words."""

import copy
from typing import Any

import msgspec
import pytest
from tests.operator.builders import NOW, isvc, ovms

from skerry.api.registry import Kind
from skerry.api.serving import SERVING_KINDS, InferenceService, serving_kinds
from skerry.machinery import strict

Json = dict[str, Any]
ISVC, RUNTIME, CLUSTER_RUNTIME = SERVING_KINDS
MODE = "serving.kserve.io/deploymentMode"


def defaulted(item: Json, kind: Kind = ISVC) -> Json:
    item = copy.deepcopy(item)
    kind.default(item)
    return item


def complaints(item: Json, old: Json | None = None, kind: Kind = ISVC) -> list[str]:
    return [str(error) for error in kind.validate(item, old)]


# --- defaults ---------------------------------------------------------------------------------------------------------


def test_walkthrough_is_defaulted_as_microshift_does() -> None:
    stored = defaulted(isvc())
    assert stored["metadata"]["annotations"] == {MODE: "RawDeployment"}
    assert stored["spec"]["predictor"]["automountServiceAccountToken"] is False
    assert stored["spec"]["predictor"]["model"] == isvc()["spec"]["predictor"]["model"]
    assert complaints(stored) == []


def test_defaulting_twice_changes_nothing() -> None:
    once = defaulted(isvc())
    assert defaulted(once) == once


@pytest.mark.parametrize("mode", ["Standard", "RawDeployment", "Serverless"])
def test_mode_that_the_user_wrote_is_kept(mode: str) -> None:
    service = isvc()
    service["metadata"]["annotations"] = {MODE: mode}
    assert defaulted(service)["metadata"]["annotations"] == {MODE: mode}


def test_configuration_decides() -> None:
    kind = serving_kinds(deployment_mode="Serverless", automount_token=True)[0]
    stored = defaulted(isvc(), kind)
    assert "annotations" not in stored["metadata"]
    assert "automountServiceAccountToken" not in stored["spec"]["predictor"]


@pytest.mark.parametrize(
    ("framework", "protocol"), [("sklearn", None), ("onnx", "v2"), ("triton", "v2"), ("huggingface", "v2")]
)
def test_old_framework_fields_become_a_model(framework: str, protocol: str | None) -> None:
    service = isvc()
    service["spec"]["predictor"] = {framework: {"storageUri": "s3://b/m", "resources": {"limits": {"cpu": 1}}}}
    predictor = defaulted(service)["spec"]["predictor"]
    assert framework not in predictor
    assert predictor["model"]["modelFormat"] == {"name": framework}
    assert predictor["model"]["storageUri"] == "s3://b/m"
    assert predictor["model"].get("protocolVersion") == protocol


@pytest.mark.parametrize(("name", "protocol"), [("vLLM", "v2"), ("vllm", None), ("triton", "v2"), ("sklearn", None)])
def test_protocol_of_some_formats(name: str, protocol: str | None) -> None:
    stored = defaulted(isvc(modelFormat={"name": name}, protocolVersion=None))
    assert stored["spec"]["predictor"]["model"].get("protocolVersion") == protocol


def test_single_container_is_the_server() -> None:
    service = isvc()
    service["spec"]["predictor"] = {"containers": [{"image": "x"}]}
    stored = defaulted(service)
    assert stored["spec"]["predictor"]["containers"][0]["name"] == "kserve-container"
    assert complaints(stored) == []


@pytest.mark.parametrize("item", [{}, {"spec": None}, {"spec": {}}, {"spec": {"predictor": None}}])
def test_defaulter_takes_what_is_not_well_formed(item: Json) -> None:
    ISVC.default(item)
    assert item["metadata"]["annotations"] == {MODE: "RawDeployment"}


# --- refusals ---------------------------------------------------------------------------------------------------------

NAME_TEXT = (
    'the InferenceService "1bee" is invalid: a InferenceService name must consist of lower case alphanumeric '
    'characters or \'-\', and must start with alphabetical character. (e.g. "my-name" or "abc-123", regex used for '
    "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
EXACTLY_ONE = (
    "spec.predictor: exactly one of [SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, LightGBM, "
    "Paddle, Model, WorkerSpec, PodSpec] must be specified in PredictorSpec"
)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"metadata": {"name": "1bee"}}, f"metadata.name: {NAME_TEXT}"),
        (
            {"metadata": {"name": "bee", "annotations": {"serving.kserve.io/autoscalerClass": "fast"}}},
            "metadata.annotations[serving.kserve.io/autoscalerClass]: [fast] is not a supported autoscaler class type",
        ),
        ({"spec": {}}, "spec.predictor: Required value"),
        ({"spec": {"predictor": {}}}, EXACTLY_ONE),
        ({"spec": {"predictor": {"sklearn": {}, "model": {"modelFormat": {"name": "x"}}}}}, EXACTLY_ONE),
        (
            {
                "spec": {
                    "predictor": {"model": {"modelFormat": {"name": "x"}}, "containers": [{"name": "kserve-container"}]}
                }
            },
            EXACTLY_ONE,
        ),
        (
            {"spec": {"predictor": {"model": {"name": "x", "modelFormat": {"name": "x"}}}}},
            "spec.predictor.model.name: the 'name' field is not allowed in standard predictor",
        ),
        (
            {"spec": {"predictor": {"model": {}}}},
            (
                "spec.predictor.model.modelFormat.name: Required value: "
                "say what the model is written for, such as openvino_ir"
            ),
        ),
    ],
)
def test_refusals(change: Json, text: str) -> None:
    item = isvc("bee")
    item.update({key: {**value} for key, value in change.items() if key == "spec"})
    item["metadata"].update(change.get("metadata", {}))
    assert complaints(item) == [text]


@pytest.mark.parametrize(
    ("predictor", "text"),
    [
        ({"minReplicas": -1}, "minReplicas: 'MinReplicas' cannot be less than 0"),
        ({"maxReplicas": -1}, "maxReplicas: 'MaxReplicas' cannot be less than 0"),
        ({"minReplicas": 3, "maxReplicas": 2}, "minReplicas: 'MinReplicas' cannot be greater than MaxReplicas"),
        ({"containerConcurrency": -1}, "containerConcurrency: parallelism cannot be less than 0"),
        ({"logger": {"mode": "some"}}, "logger.mode: invalid logger type"),
        (
            {"containers": [{"name": "transformer-container", "env": [{"name": "STORAGE_URI", "value": "x"}]}]},
            "containers[0].env: storage uri should not be specified in transformer container",
        ),
        (
            {"storageUris": [{"uri": "s3://b"}]},
            "storageUris: Setting both StorageURI and StorageURIs is not supported.",
        ),
    ],
)
def test_refusals_within_a_predictor(predictor: Json, text: str) -> None:
    item = isvc()
    item["spec"]["predictor"].update(predictor)
    assert complaints(item) == [f"spec.predictor.{text}"]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"uri": ""}, "uri: storage URI cannot be empty"),
        ({"uri": "s3://b", "mountPath": "/"}, "mountPath: storage path cannot be empty"),
        ({"uri": "s3://b", "mountPath": "a"}, "mountPath: storage path must be absolute: a"),
        (
            {"uri": "s3://b", "mountPath": "/a/../b"},
            "mountPath: storage path cannot contain '..' for security reasons: /a/../b",
        ),
    ],
)
def test_refusals_of_places(entry: Json, text: str) -> None:
    item = isvc(storageUri=None)
    item["spec"]["predictor"]["storageUris"] = [entry]
    assert complaints(item) == [f"spec.predictor.storageUris[0].{text}"]


def test_name_too_long_for_its_service() -> None:
    assert complaints(isvc("a" * 53)) == []
    assert "must be no more than 53 characters" in complaints(isvc("a" * 54))[0]


def test_max_zero_means_none() -> None:
    item = isvc()
    item["spec"]["predictor"].update({"minReplicas": 3, "maxReplicas": 0})
    assert complaints(item) == []


def test_model_with_sidecars_is_fine() -> None:
    item = isvc()
    item["spec"]["predictor"]["containers"] = [{"name": "transformer-container", "image": "x"}]
    assert complaints(item) == []


def test_mode_cannot_be_changed() -> None:
    old, new = isvc(), isvc()
    old["status"] = {"deploymentMode": "RawDeployment"}
    new["metadata"]["annotations"] = {MODE: "Standard"}
    assert complaints(new, old) == []
    new["metadata"]["annotations"] = {MODE: "Serverless"}
    assert complaints(new, old) == [
        (
            "metadata.annotations[serving.kserve.io/deploymentMode]: "
            "update rejected: deploymentMode cannot be changed from 'RawDeployment' to 'Serverless'"
        )
    ]


def test_object_on_its_way_out_may_be_anything() -> None:
    item = isvc()
    item["spec"]["predictor"]["minReplicas"] = -1
    item["metadata"]["deletionTimestamp"] = "2026-03-12T16:00:00Z"
    assert complaints(item, item) == []


# --- runtimes ---------------------------------------------------------------------------------------------------------


def test_runtime_with_two_priorities_for_a_format() -> None:
    formats = [{"name": "onnx", "autoSelect": True, "priority": number} for number in (1, 2)]
    text = "different priorities assigned for the model format onnx under the servingruntime kserve-ovms"
    assert complaints(ovms(supportedModelFormats=formats), kind=RUNTIME) == [f"spec.supportedModelFormats: {text}"]
    assert complaints(ovms(supportedModelFormats=formats, disabled=True), kind=RUNTIME) == []


def test_runtime_needs_containers() -> None:
    assert complaints(ovms(containers=[]), kind=RUNTIME)[0].startswith("spec.containers: Required value")


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predictor", "start"),
    [
        ({"canaryTrafficPercent": 10}, "spec.predictor.canaryTrafficPercent is ignored"),
        ({"batcher": {"maxBatchSize": 4}}, "spec.predictor.batcher is ignored"),
        ({"scaleMetricType": "Utilization"}, "spec.predictor.scaleMetricType is ignored"),
        ({"autoScaling": {"behavior": {"scaleUp": {}}}}, "spec.predictor.autoScaling.behavior is ignored"),
        ({"autoScaling": {"metrics": [{"type": "External"}]}}, "spec.predictor.autoScaling.metrics[0] is ignored"),
        ({"minReplicas": 0}, "spec.predictor.minReplicas 0 means 1"),
    ],
)
def test_fields_without_effect_are_named(predictor: Json, start: str) -> None:
    item = isvc()
    item["spec"]["predictor"].update(predictor)
    (warning,) = ISVC.warn(item, None)
    assert warning.startswith(start)


def test_walkthrough_has_no_warnings() -> None:
    assert list(ISVC.warn(isvc(), None)) == []
    assert list(RUNTIME.warn(ovms(), None)) == []


def test_runtime_that_nobody_can_use() -> None:
    (warning,) = RUNTIME.warn(ovms(containers=[{"name": "server", "image": "x"}]), None)
    assert "none of its containers is called kserve-container" in warning


def test_ignored_components_are_named() -> None:
    item = isvc()
    item["spec"]["transformer"] = {"containers": [{"name": "t"}]}
    assert list(ISVC.warn(item, None)) == ["spec.transformer is ignored: only the predictor is served yet"]


# --- structs ----------------------------------------------------------------------------------------------------------


def test_unknown_fields_do_not_break_decoding() -> None:
    item = isvc()
    item["spec"]["future"] = {"a": 1}
    item["spec"]["predictor"]["model"]["future"] = [1]
    item["status"] = {"future": True, "conditions": [{"type": "Ready", "status": "True", "future": 1}]}
    decoded = msgspec.convert(item, InferenceService)
    assert decoded.spec is not None
    assert decoded.spec.predictor is not None
    assert decoded.spec.predictor.model is not None
    assert decoded.spec.predictor.model.args == ["--layout=NHWC:NCHW"]


def test_misspelt_fields_are_found_and_status_is_open() -> None:
    item = isvc()
    item["spec"]["predictor"]["model"]["storageUrl"] = "x"
    item["status"] = {"anything": 1}
    assert strict.unknown_fields(item, ISVC.model, ISVC.open_fields) == [
        'unknown field "spec.predictor.model.storageUrl"'
    ]


def test_shipped_runtimes_have_no_unknown_fields() -> None:
    assert strict.unknown_fields(ovms(), RUNTIME.model, RUNTIME.open_fields) == []


# --- columns ----------------------------------------------------------------------------------------------------------


def row(kind: Kind, item: Json) -> list[Any]:
    return [column.cell(item, NOW) for column in kind.columns]


def test_columns_of_an_inference_service() -> None:
    assert [column.name.upper() for column in ISVC.columns] == [
        "NAME",
        "URL",
        "READY",
        "PREV",
        "LATEST",
        "PREVROLLEDOUTREVISION",
        "LATESTREADYREVISION",
        "AGE",
    ]
    item = isvc("bee")
    item["metadata"]["creationTimestamp"] = "2026-03-12T16:00:20Z"
    assert row(ISVC, item) == ["bee", None, None, None, None, None, None, "72s"]
    item["status"] = {"url": "http://x", "conditions": [{"type": "Ready", "status": "True"}]}
    assert row(ISVC, item)[:3] == ["bee", "http://x", "True"]


def test_columns_of_a_runtime_print_the_first_of_each_list() -> None:
    item = ovms()
    item["metadata"]["creationTimestamp"] = "2026-03-12T16:00:20Z"
    assert [column.name.upper() for column in RUNTIME.columns] == ["NAME", "DISABLED", "MODELTYPE", "CONTAINERS", "AGE"]
    assert row(RUNTIME, item) == ["kserve-ovms", None, "openvino_ir", "kserve-container", "72s"]
    assert CLUSTER_RUNTIME.namespaced is False
