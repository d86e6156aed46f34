import json
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models import apps_v1, autoscaling_v2, core_v1

from skerry.machinery import strict
from skerry.machinery.strict import check, duplicate_fields, problems, type_error, unknown_fields
from skerry.machinery.structs import Shape


def pod(**spec: Any) -> dict[str, Any]:
    """Return a pod whose one container is fine."""
    return {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}], **spec}}


def container(**fields: Any) -> dict[str, Any]:
    """Return a pod with one container of these fields."""
    return pod(containers=[{"name": "a", **fields}])


GOOD = [
    pod(),
    pod(nodeName=None, affinity={}, volumes=[{"name": "a", "image": {"reference": "x"}}]),
    container(resources={"limits": {"cpu": 1, "memory": "1Gi", "x": 0.5}}),
    container(livenessProbe={"httpGet": {"port": 80}}, readinessProbe={"httpGet": {"port": "http"}}),
    pod(overhead={"cpu": "1"}, volumes=[{"name": "a", "emptyDir": {"sizeLimit": 1024}}]),
    {**pod(), "metadata": {"creationTimestamp": "2024-01-02T03:04:05Z"}},
    {**pod(), "metadata": {"creationTimestamp": "2024-01-02T03:04:05.678+02:00", "labels": {"a": "b"}}},
    {**pod(), "metadata": {"creationTimestamp": None, "managedFields": [{"fieldsV1": {"f:spec": {}}}]}},
]


@pytest.mark.parametrize("item", GOOD)
def test_what_fits(item: dict[str, Any]) -> None:
    assert list(problems(item, core_v1.Pod)) == []
    assert type_error(item, core_v1.Pod) is None


def test_unknown_fields_have_paths() -> None:
    item = container(foo=1, env=[{"name": "a"}, {"name": "b", "valeu": "x"}])
    item["metadata"]["labels"] = {"anything": "goes"}
    item["sepc"] = {"not": "looked into"}
    assert unknown_fields(item, core_v1.Pod) == [
        'unknown field "spec.containers[0].foo"',
        'unknown field "spec.containers[0].env[1].valeu"',
        'unknown field "sepc"',
    ]


def test_open_fields_may_hold_anything() -> None:
    item = container(foo=1) | {"status": {"x": 1, "list": [1]}, "statusOther": 1}
    assert unknown_fields(item, core_v1.Pod, ["status.x", "status.list", "spec.containers[0]"]) == [
        'unknown field "statusOther"'
    ]
    assert unknown_fields({"status": {"a": [{"b": 1}]}}, core_v1.Pod, ["status"]) == []


MISFITS: list[tuple[dict[str, Any], str]] = [
    (pod(containers={}), "cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
    (pod(volumes=["x"]), "cannot unmarshal string into Go struct field PodSpec.spec.volumes of type v1.Volume"),
    (pod(volumes=True), "cannot unmarshal bool into Go struct field PodSpec.spec.volumes of type []v1.Volume"),
    (pod(hostNetwork="true"), "cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"),
    (pod(nodeName=5), "cannot unmarshal number into Go struct field PodSpec.spec.nodeName of type string"),
    (pod(priority=1.5), "cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
    (pod(priority=True), "cannot unmarshal bool into Go struct field PodSpec.spec.priority of type int32"),
    (pod(priority=2**63), f"cannot unmarshal number {2**63} into Go struct field PodSpec.spec.priority of type int32"),
    (
        pod(terminationGracePeriodSeconds="1"),
        "cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
    ),
    (
        pod(nodeSelector={"a": 1}),
        "cannot unmarshal number into Go struct field PodSpec.spec.nodeSelector of type string",
    ),
    (
        pod(nodeSelector=[]),
        "cannot unmarshal array into Go struct field PodSpec.spec.nodeSelector of type map[string]string",
    ),
    (
        container(env=[{"name": "a", "value": 1}]),
        "cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
    ),
    (
        container(livenessProbe={"httpGet": {"port": []}}),
        (
            "cannot unmarshal array into Go struct field "
            "HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type intstr.IntOrString"
        ),
    ),
    (
        container(resources={"limits": {"cpu": True}}),
        (
            "cannot unmarshal bool into Go struct field "
            "ResourceRequirements.spec.containers.resources.limits of type resource.Quantity"
        ),
    ),
]


@pytest.mark.parametrize(("item", "complaint"), MISFITS)
def test_values_of_another_type(item: dict[str, Any], complaint: str) -> None:
    assert type_error(item, core_v1.Pod) == f"json: {complaint}"


@pytest.mark.parametrize("item", ["text", [], 1])
def test_what_is_no_object_at_all(item: Any) -> None:
    assert str(type_error(item, core_v1.Pod)).endswith("into Go value of type v1.Pod")


def test_quantities_are_read() -> None:
    item = container(resources={"requests": {"memory": "1Gx"}})
    assert type_error(item, core_v1.Pod) == (
        "spec.containers[0].resources.requests.memory: quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )


@pytest.mark.parametrize("time", ["yesterday", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z"])
def test_times_are_read(time: str) -> None:
    item = {"metadata": {"creationTimestamp": time}, "spec": {}}
    assert type_error(item, core_v1.Pod) == (
        f'metadata.creationTimestamp: parsing time "{time}" as "2006-01-02T15:04:05Z07:00": '
        "it is not RFC 3339 with a zone"
    )
    assert "of type v1.Time" in str(type_error({"metadata": {"creationTimestamp": 5}}, core_v1.Pod))


def test_what_is_missing() -> None:
    template = {"spec": {"containers": [{"image": "x"}, {"name": None}]}}
    item = {"spec": {"selector": {}, "template": template}}
    assert [str(error) for error in check(item, apps_v1.Deployment)] == [
        "spec.template.spec.containers[0].name: Required value",
        "spec.template.spec.containers[1].name: Required value",
    ]
    assert [str(error) for error in check({"spec": {}}, apps_v1.Deployment)] == [
        "spec.selector: Required value",
        "spec.template: Required value",
    ]


class Odd(msgspec.Struct, rename="camel"):
    """Types that the models of Kubernetes do not have."""

    mode: Literal["a", "b"] = "a"
    ratio: float = 0.0
    any_thing: Any = None
    mixed: core_v1.Pod | str | None = None


def test_other_types_of_python() -> None:
    assert list(problems({"mode": "c", "ratio": 1, "anyThing": [{}], "mixed": 5}, Odd)) == []
    assert "of type string" in str(type_error({"mode": 1}, Odd))
    assert "of type float64" in str(type_error({"ratio": "1"}, Odd))


def test_quantities_in_structs_and_lists() -> None:
    metric: dict[str, Any] = {"type": "Utilization", "averageValue": 5}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": metric}}]
    item = {"spec": {"maxReplicas": 1, "scaleTargetRef": {"kind": "a", "name": "b"}, "metrics": metrics}}
    assert list(problems(item, autoscaling_v2.HorizontalPodAutoscaler)) == []
    metric["averageValue"] = "five"
    assert "quantities must match" in str(type_error(item, autoscaling_v2.HorizontalPodAutoscaler))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"a":1,"b":{"a":1}}', []),
        (b'{"a":1,"a":2}', ["a"]),
        (b'{"spec":{"x":1,"y":2,"x":3,"x":4}}', ["spec.x"]),
        (b'{"spec":{"list":[{},{"n":1,"n":1}]}}', ["spec.list[1].n"]),
        (b'{"a":{"b":1,"b":1},"c":{"b":1,"b":{"d":1,"d":1}}}', ["a.b", "c.b", "c.b.d"]),
        (b'[{"a":1,"a":1}]', ["[0].a"]),
        (b"not json", []),
        (b"\xff", []),
        (b"[" * 100_000, []),
    ],
)
def test_duplicate_fields(body: bytes, fields: list[str]) -> None:
    assert duplicate_fields(body) == [f'duplicate field "{field}"' for field in fields]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@given(JSON)
def test_proper_json_has_no_duplicates(value: Any) -> None:
    assert duplicate_fields(json.dumps(value).encode()) == []


SPEC = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("1a", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "containers", "env", "resources", "limits"]), inner, max_size=3)
    ),
)


@given(SPEC)
def test_what_msgspec_reads_has_no_problem_of_type(spec: Any) -> None:
    """The walk is no stricter than the decoder of the typed clients, but for what dicts hold."""
    item = {"spec": spec}
    try:
        msgspec.convert(item, core_v1.Pod)
    except msgspec.ValidationError:
        return
    found = [problem for problem in problems(item, core_v1.Pod) if problem.sort == "type"]
    assert all(".limits" in problem.path for problem in found)


ODD = st.sampled_from(
    [None, True, 1, 2**63, 0.5, "", "x", "1Gi", "2024-01-02T03:04:05Z", [], [None], ["x"], {}, {"x": 1}]
)


def mutated(value: Any, data: st.DataObject) -> Any:
    """Replace one value somewhere, or add a key."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from([*value, "unknown", "name"]))
        return {**value, key: mutated(value.get(key), data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        return [mutated(value[0], data), *value[1:]]
    return data.draw(ODD)


@given(st.sampled_from(GOOD), st.data())
def test_the_short_way_and_the_long_way_agree(item: dict[str, Any], data: st.DataObject) -> None:
    odd = mutated(item, data)
    shape = Shape(struct=core_v1.Pod)
    assert strict._fits(odd, shape) == (not list(strict._walk(odd, shape, "", strict._GoField("", ""))))
