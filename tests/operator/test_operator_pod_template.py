"""From runtime and InferenceService to the containers of a pod: merging, placeholders, tags, order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.meta_v1 import ObjectMeta
from tests.operator.builders import condition, isvc, ovms, planned, pod_of, status_after

from skerry.operator.image_tag import image_for
from skerry.operator.placeholders import PlaceholderError, replace_placeholders
from skerry.operator.pod_merge import merge_container

Json = dict[str, Any]
META = ObjectMeta(
    name="bee", namespace="ai-demo", labels={"modelClass": "x.Y"}, annotations={"a.b/c": "slash", "plain": "p"}
)


def named(*names: str) -> list[Json]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("runtime", "given_", "merged"),
    [
        ({"image": "a"}, {"image": "b"}, {"image": "b"}),
        ({"image": "a"}, {"image": ""}, {"image": "a"}),
        ({"command": ["x"]}, {"command": ["y", "z"]}, {"command": ["y", "z"]}),
        ({"command": ["x"]}, {"command": []}, {"command": ["x"]}),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["a", "b"]}),
        ({"args": ["a"]}, {}, {"args": ["a"]}),
        (
            {"ports": [{"containerPort": 8888, "protocol": "TCP"}]},
            {"ports": [{"containerPort": 8888, "name": "http"}]},
            {"ports": [{"containerPort": 8888, "protocol": "TCP", "name": "http"}]},
        ),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}},
            {"resources": {"limits": {"nvidia.com/gpu": 1}}},
            {"resources": {"limits": {"cpu": "1", "nvidia.com/gpu": 1}, "requests": {"cpu": "1"}}},
        ),
        (
            {"readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 5}},
            {"readinessProbe": {"periodSeconds": 1}},
            {"readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 1}},
        ),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "1"}]},
        ),
    ],
)
def test_merge_of_containers(runtime: Json, given_: Json, merged: Json) -> None:
    assert merge_container(runtime, given_) == merged


@pytest.mark.parametrize(
    ("runtime", "given_", "order"),
    [
        (["PORT", "PORT2"], ["PORT2", "Some"], ["PORT", "PORT2", "Some"]),
        (["A", "B"], ["X", "Y"], ["X", "Y", "A", "B"]),
        (["A", "B", "C"], ["B", "A"], ["B", "A", "C"]),
        (["A"], [], ["A"]),
    ],
)
def test_order_of_a_merged_list_is_that_of_kubernetes(runtime: list[str], given_: list[str], order: list[str]) -> None:
    merged = merge_container({"env": named(*runtime)}, {"env": named(*given_)})
    assert [item["name"] for item in merged["env"]] == order


NAMES = st.lists(st.sampled_from("ABCDEF"), unique=True, max_size=5)


@given(NAMES, NAMES)
def test_merge_of_lists_loses_and_doubles_nothing(base: list[str], overlay: list[str]) -> None:
    merged = [item["name"] for item in merge_container({"env": named(*base)}, {"env": named(*overlay)}).get("env", [])]
    assert sorted(merged) == sorted({*base, *overlay})
    assert [name for name in merged if name in overlay] == overlay


def test_merge_changes_neither_side() -> None:
    base, overlay = {"env": named("A"), "resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "2"}}}
    merge_container(base, overlay)
    assert base == {"env": named("A"), "resources": {"limits": {"cpu": "1"}}}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("--model_name={{.Name}}", "--model_name=bee"),
        ("{{ .Namespace }}/{{.Name}}", "ai-demo/bee"),
        ("a {{- .Name -}} b", "abeeb"),
        ("{{.Labels.modelClass}}", "x.Y"),
        ("{{.Labels.missing}}", "<no value>"),
        ("{{.Annotations.plain}}", "p"),
        ('{{index .Annotations "a.b/c"}}', "slash"),
        ("{{index .Annotations `a.b/c`}}", "slash"),
        ('{{index .Labels "missing"}}', ""),
        ('{{"{{"}}', "{{"),
        ("no braces $(VAR)", "no braces $(VAR)"),
    ],
)
def test_placeholders(text: str, rendered: str) -> None:
    assert replace_placeholders({"args": [text], "env": [{"value": text}]}, META) == {
        "args": [rendered],
        "env": [{"value": rendered}],
    }


@pytest.mark.parametrize("text", ["{{.Spec}}", "{{ .Name | upper }}", "{{if .Name}}", "{{.Name"])
def test_placeholders_that_are_not_understood(text: str) -> None:
    with pytest.raises(PlaceholderError, match="cannot replace the placeholder"):
        replace_placeholders(text, META)


def test_bad_placeholder_names_runtime_and_container() -> None:
    runtime = ovms()
    runtime["spec"]["containers"][0]["args"] = ["{{.Oops}}"]
    message = condition(status_after(planned(runtimes=[runtime])), "PredictorReady")["message"]
    assert message.startswith(
        "failed to replace placeholders in serving runtime kserve-ovms Container kserve-container: "
    )


DIGEST = "quay.io/x/ovms@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "version", "expected"),
    [
        ("quay.io/x/ovms:1", "2", "quay.io/x/ovms:2"),
        ("localhost:5000/ovms", "2", "localhost:5000/ovms:2"),
        (DIGEST, "2", DIGEST),
        ("quay.io/x/ovms:1", None, "quay.io/x/ovms:1"),
    ],
)
def test_runtime_version_is_the_tag(image: str, version: str | None, expected: str) -> None:
    assert image_for({"image": image}, "kserve-ovms", version) == expected


@pytest.mark.parametrize(
    ("runtime", "image", "expected"),
    [
        ("kserve-torchserve", "ts:1", "ts:1-gpu"),
        ("kserve-torchserve", "ts:1-gpu", "ts:1-gpu"),
        ("kserve-torchserve", "ts", "ts"),
        ("kserve-ovms", "ovms:1", "ovms:1"),
    ],
)
def test_gpu_edition(runtime: str, image: str, expected: str) -> None:
    container = {"image": image, "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    assert image_for(container, runtime, None) == expected


def test_pod_fields_of_runtime_and_predictor() -> None:
    runtime = ovms(
        nodeSelector={"a": "1", "b": "1"},
        tolerations=[{"key": "runtime"}],
        volumes=[{"name": "shm", "emptyDir": {}}, {"name": "keep", "emptyDir": {}}],
        hostIPC=True,
    )
    service = isvc()
    service["spec"]["predictor"].update(
        {
            "nodeSelector": {"b": "2"},
            "tolerations": [{"key": "mine"}],
            "volumes": [{"name": "shm", "hostPath": {"path": "/dev/shm"}}],
            "serviceAccountName": "models",
        }
    )
    spec = pod_of(planned(service, runtimes=[runtime]))
    assert spec["nodeSelector"] == {"a": "1", "b": "2"}
    assert spec["tolerations"] == [{"key": "mine"}]
    assert [volume["name"] for volume in spec["volumes"]] == ["shm", "keep", "mnt-models"]
    assert spec["volumes"][0] == {"name": "shm", "hostPath": {"path": "/dev/shm"}}
    assert spec["serviceAccountName"] == "models"
    assert "hostIPC" not in spec


def test_order_of_containers_and_transformer_beside_the_model() -> None:
    runtime = ovms()
    runtime["spec"]["containers"].insert(0, {"name": "exporter", "image": "e"})
    service = isvc()
    service["spec"]["predictor"]["containers"] = [
        {"name": "sidecar", "image": "s"},
        {"name": "transformer-container", "image": "t", "args": ["{{.Name}}"], "ports": [{"containerPort": 9000}]},
    ]
    result = planned(service, runtimes=[runtime])
    spec = pod_of(result)
    assert [item["name"] for item in spec["containers"]] == [
        "kserve-container",
        "transformer-container",
        "exporter",
        "sidecar",
    ]
    transformer = spec["containers"][1]
    assert transformer["args"] == ["ovms-resnet50"]
    assert transformer["readinessProbe"]["tcpSocket"] == {"port": 9000}
    assert [mount["mountPath"] for mount in transformer["volumeMounts"]] == ["/mnt/models"]
    service_ports = next(step for step in result.steps if step.kind == "Service").body["spec"]["ports"]
    assert [port["targetPort"] for port in service_ports] == [9000]


def test_probe_is_a_connection_where_v2_is_not_promised() -> None:
    grpc = pod_of(planned(isvc(protocolVersion="grpc-v2")))["containers"][0]
    silent = pod_of(planned(isvc(), runtimes=[ovms(protocolVersions=None)]))["containers"][0]
    for container in (grpc, silent):
        assert container["readinessProbe"]["tcpSocket"] == {"port": 8888}


def test_own_probe_is_kept() -> None:
    own = {"httpGet": {"path": "/", "port": 1}}
    container = pod_of(planned(isvc(readinessProbe=own)))["containers"][0]
    assert container["readinessProbe"] == own


def test_custom_predictor() -> None:
    service = isvc()
    environment = [{"name": "STORAGE_URI", "value": "pvc://models/a"}]
    service["spec"]["predictor"] = {"containers": [{"image": "me/server:1", "env": environment}]}
    result = planned(service, runtimes=[])
    (container,) = pod_of(result)["containers"]
    assert container["name"] == "kserve-container"
    assert container["env"] == [{"name": "STORAGE_URI", "value": "/mnt/models"}]
    assert container["volumeMounts"][0]["subPath"] == "a"
    assert status_after(result).get("servingRuntimeName") is None


def test_runtime_without_the_container() -> None:
    runtime = ovms()
    runtime["spec"]["containers"][0]["name"] = "server"
    message = condition(status_after(planned(runtimes=[runtime])), "PredictorReady")["message"]
    assert message == "failed to find kserve-container in ServingRuntime containers of kserve-ovms"
