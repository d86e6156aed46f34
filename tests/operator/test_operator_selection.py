"""Choosing among several runtimes: scope, priority, protocol, age, name; and the wrong ones are passed over."""

from typing import Any

import msgspec
import pytest
from tests.operator.builders import NAMESPACE, condition, isvc, planned, runtime, status_after

from skerry.api.serving_types import ModelSpec
from skerry.operator.events import Refused
from skerry.operator.runtime_selection import Selected, select

Json = dict[str, Any]


def candidate(
    name: str,
    *,
    priority: int | None = None,
    protocols: list[str] | None = None,
    created: str = "2026-01-01T00:00:00Z",
    cluster: bool = False,
    namespace: str = NAMESPACE,
    **spec: Any,
) -> Json:
    entry: Json = {"name": "sklearn", "version": "1", "autoSelect": True}
    if priority is not None:
        entry["priority"] = priority
    fields = {
        "supportedModelFormats": [entry],
        "containers": [{"name": "kserve-container", "image": "x"}],
        "protocolVersions": protocols,
        **spec,
    }
    meta = {"name": name, "creationTimestamp": created}
    return {
        "kind": "ClusterServingRuntime" if cluster else "ServingRuntime",
        "metadata": meta if cluster else {**meta, "namespace": namespace},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def choose(*candidates: Json, **model: Any) -> Selected:
    fields = {"modelFormat": {"name": "sklearn"}, **model}
    return select(
        msgspec.convert(fields, ModelSpec),
        multi_node=False,
        namespace=NAMESPACE,
        runtimes=[runtime(item) for item in candidates],
    )


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([candidate("b"), candidate("a")], "a"),
        ([candidate("a"), candidate("b", created="2026-02-01T00:00:00Z")], "b"),
        ([candidate("a", protocols=["v2", "v1"]), candidate("b", protocols=["v1"])], "a"),
        ([candidate("a"), candidate("b", protocols=["v1"])], "b"),
        ([candidate("a"), candidate("b", priority=1)], "b"),
        ([candidate("a", priority=1), candidate("b", priority=2)], "b"),
        ([candidate("a", cluster=True, priority=9), candidate("b")], "b"),
        ([candidate("a", cluster=True), candidate("b", namespace="other")], "a"),
        ([candidate("a", disabled=True), candidate("b")], "b"),
        ([candidate("a", multiModel=True), candidate("b", multiModel=False)], "b"),
        ([candidate("a", workerSpec={}), candidate("b")], "b"),
        ([candidate("a", protocols=["v2"]), candidate("b", protocols=["v1"])], "b"),
    ],
)
def test_choice(candidates: list[Json], chosen: str) -> None:
    assert choose(*candidates).runtime.name == chosen
    assert choose(*reversed(candidates)).runtime.name == chosen


@pytest.mark.parametrize(
    ("protocols", "model", "spoken"),
    [
        (None, {}, "v1"),
        (["grpc-v1", "v1"], {}, "v1"),
        (["v2", "v1"], {"protocolVersion": "v2"}, "v2"),
        (["grpc-v2", "v2"], {"runtime": "a"}, "v2"),
    ],
)
def test_protocol(protocols: list[str] | None, model: Json, spoken: str) -> None:
    assert choose(candidate("a", protocols=protocols), **model).protocol == spoken


def test_named_runtime_of_the_namespace_hides_the_clusters() -> None:
    chosen = choose(candidate("a", cluster=True), candidate("a"), runtime="a").runtime
    assert chosen.namespace == NAMESPACE


def test_named_runtime_needs_no_auto_select_and_may_serve_many() -> None:
    formats = [{"name": "sklearn"}]
    assert choose(candidate("a", supportedModelFormats=formats, multiModel=True), runtime="a").runtime.name == "a"


def test_entry_without_version_does_not_match_a_version() -> None:
    formats = [{"name": "sklearn", "autoSelect": True}]
    with pytest.raises(Refused, match="has sklearn in no version, not 1"):
        choose(candidate("a", supportedModelFormats=formats), modelFormat={"name": "sklearn", "version": "1"})


def test_names_are_case_sensitive() -> None:
    with pytest.raises(Refused, match="has no format SKLearn, only sklearn"):
        choose(candidate("a"), modelFormat={"name": "SKLearn"})


def test_every_candidate_is_accounted_for() -> None:
    with pytest.raises(Refused) as refusal:
        choose(
            candidate("off", disabled=True),
            candidate("many", multiModel=True),
            candidate("far", workerSpec={}),
            candidate("new", protocols=["v2"]),
        )
    message = refusal.value.finding.message
    assert "off (disabled), many (serves many models, multiModel is true), far (is for several machines)" in message
    assert message.endswith("set protocolVersion: v2 to use new")


def test_cluster_runtime_is_named_in_its_own_field() -> None:
    formats = [{"name": "openvino_ir", "autoSelect": True}]
    status = status_after(planned(isvc(), runtimes=[candidate("c", cluster=True, supportedModelFormats=formats)]))
    assert (status.get("servingRuntimeName"), status["clusterServingRuntimeName"]) == (None, "c")
    assert condition(status, "PredictorReady")["status"] == "Unknown"
