"""Which pods fit on the node, and what is said of those that do not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import (
    Affinity,
    Container,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSchedulingGate,
    PodSpec,
    ResourceRequirements,
    Taint,
    Toleration,
)
from lightkube.resources.core_v1 import Node, Pod
from tests.controllers.builders import NOW, node, pod

from skerry.cluster.controllers.scheduling.demand import requested
from skerry.cluster.controllers.scheduling.filters import Refusal, unschedulable
from skerry.cluster.controllers.scheduling.scheduler import Bind, Wait, pending, plan

HOPELESS = (
    "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
VICTIMS = (
    "no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
)


def waiting(requests: dict[str, str] | None = None, **spec: Any) -> Pod:
    return pod("new", node=None, phase="Pending", ready=False, ip=None, requests=requests, spec=spec)


def test_a_pod_goes_to_the_node() -> None:
    assert Bind("skerry") == plan(waiting({"cpu": "1", "memory": "1Gi"}), [node()], [])


def test_without_any_node() -> None:
    assert Wait("Unschedulable", "no nodes available to schedule pods") == plan(waiting(), [], [])


@pytest.mark.parametrize(
    ("requests", "running", "expected"),
    [
        ({"nvidia.com/gpu": "1"}, [], f"1 Insufficient nvidia.com/gpu. {HOPELESS}"),
        ({"cpu": "5"}, [], f"1 Insufficient cpu. {HOPELESS}"),
        ({"memory": "9Gi", "cpu": "5"}, [], f"1 Insufficient cpu, 1 Insufficient memory. {HOPELESS}"),
        ({"cpu": "1500m"}, [{"cpu": "2"}, {"cpu": "1"}], f"1 Insufficient cpu. {VICTIMS}"),
        ({"cpu": "1"}, [{"cpu": "2"}, {"cpu": "1"}], None),
        ({"memory": "4Gi"}, [{"memory": "4097Mi"}], f"1 Insufficient memory. {VICTIMS}"),
        ({}, [{"cpu": "4"}], None),
        ({"cpu": "0"}, [{"cpu": "4"}], None),
    ],
)
def test_resources(requests: dict[str, str], running: list[dict[str, str]], expected: str | None) -> None:
    others = [pod(f"p{place}", requests=each) for place, each in enumerate(running)]
    decision = plan(waiting(requests), [node()], others)
    if expected is None:
        assert Bind("skerry") == decision
    else:
        assert Wait("Unschedulable", f"0/1 nodes are available: {expected}") == decision


def test_a_device_of_the_node_can_be_had_once() -> None:
    room = {"cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "1"}
    gpu = {"nvidia.com/gpu": "1"}
    assert Bind("skerry") == plan(waiting(gpu), [node(allocatable=room)], [])
    taken = plan(waiting(gpu), [node(allocatable=room)], [pod(requests=gpu)])
    assert Wait("Unschedulable", f"0/1 nodes are available: 1 Insufficient nvidia.com/gpu. {VICTIMS}") == taken
    assert Bind("skerry") == plan(waiting(gpu), [node(allocatable=room)], [pod(requests=gpu, phase="Succeeded")])
    ending = pod(requests=gpu, deletionTimestamp=NOW)
    assert isinstance(plan(waiting(gpu), [node(allocatable=room)], [ending]), Wait)


def test_the_number_of_pods_is_limited() -> None:
    decision = plan(waiting(), [node(allocatable={"pods": "1"})], [pod()])
    assert Wait("Unschedulable", f"0/1 nodes are available: 1 Too many pods. {VICTIMS}") == decision
    assert Bind("skerry") == plan(waiting(), [node(allocatable={})], [pod()])


@pytest.mark.parametrize(
    ("target", "spec", "reason"),
    [
        (node(ready=False), {}, "1 node(s) had untolerated taint(s)"),
        (node(ready=False), {"tolerations": [Toleration(operator="Exists")]}, None),
        (node(unschedulable=True), {}, "1 node(s) were unschedulable"),
        (node(taints=[Taint(key="gpu", effect="NoSchedule")]), {}, "1 node(s) had untolerated taint(s)"),
        (node(taints=[Taint(key="gpu", effect="PreferNoSchedule")]), {}, None),
        (
            node(taints=[Taint(key="gpu", value="a", effect="NoSchedule")]),
            {"tolerations": [Toleration(key="gpu", operator="Equal", value="a", effect="NoSchedule")]},
            None,
        ),
        (
            node(taints=[Taint(key="gpu", value="a", effect="NoSchedule")]),
            {"tolerations": [Toleration(key="gpu", value="b")]},
            "1 node(s) had untolerated taint(s)",
        ),
        (
            node(taints=[Taint(key="gpu", effect="NoExecute")]),
            {"tolerations": [Toleration(key="gpu", operator="Exists", effect="NoSchedule")]},
            "1 node(s) had untolerated taint(s)",
        ),
        (node(labels={"disk": "fast"}), {"nodeSelector": {"disk": "fast"}}, None),
        (node(), {"nodeSelector": {"disk": "fast"}}, "1 node(s) didn't match Pod's node affinity/selector"),
    ],
)
def test_nodes_that_do_not_want_the_pod(target: Node, spec: dict[str, Any], reason: str | None) -> None:
    decision = plan(waiting(**spec), [target], [])
    expected = (
        Bind("skerry") if reason is None else Wait("Unschedulable", f"0/1 nodes are available: {reason}. {HOPELESS}")
    )
    assert expected == decision


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["fast", "slow"], True),
        ("In", ["slow"], False),
        ("NotIn", ["slow"], True),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
        ("Gt", ["3"], False),
        ("Perhaps", ["3"], False),
        ("Gt", [], False),
    ],
)
def test_node_affinity(operator: str, values: list[str] | None, *, fits: bool) -> None:
    requirement = NodeSelectorRequirement(key="disk", operator=operator, values=values)
    terms = [NodeSelectorTerm(matchExpressions=[requirement])]
    required = NodeSelector(nodeSelectorTerms=terms)
    affinity = Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=required))
    decision = plan(waiting(affinity=affinity), [node(labels={"disk": "fast"})], [])
    assert fits is isinstance(decision, Bind)


def test_node_affinity_by_number_and_by_name() -> None:
    cores = NodeSelectorRequirement(key="cores", operator="Gt", values=["3"])
    name = NodeSelectorRequirement(key="metadata.name", operator="In", values=["skerry"])
    for labels, fits in (({"cores": "4"}, True), ({"cores": "3"}, False), ({"cores": "many"}, False), ({}, False)):
        term = NodeSelectorTerm(matchExpressions=[cores], matchFields=[name])
        required = NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(), term])
        affinity = Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=required))
        assert fits is isinstance(plan(waiting(affinity=affinity), [node(labels=labels)], []), Bind)


def test_a_missing_volume_claim() -> None:
    message = f'0/1 nodes are available: persistentvolumeclaim "models" not found. {HOPELESS}'
    assert Wait("Unschedulable", message) == plan(waiting(), [node()], [], ["models"])


def test_a_gate_keeps_the_pod_back() -> None:
    decision = plan(waiting(schedulingGates=[PodSchedulingGate(name="quota")]), [node()], [])
    assert Wait("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates") == decision


def test_reasons_of_many_nodes_are_counted() -> None:
    refusals = [Refusal(("Insufficient cpu",), hopeless=False)] * 2 + [Refusal(("node(s) were unschedulable",))]
    assert (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, "
        "preemption: 0/3 nodes are available: 2 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    ) == unschedulable(refusals)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (waiting(), True),
        (waiting(schedulerName="default-scheduler"), True),
        (waiting(schedulerName="mine"), False),
        (pod(), False),
        (pod(node=None, phase="Failed"), False),
        (pod(node=None, deletionTimestamp=NOW), False),
    ],
)
def test_whose_pods_they_are(made: Pod, *, expected: bool) -> None:
    assert expected is pending(made)


def container(cpu: int, *, sidecar: bool = False) -> Container:
    resources = ResourceRequirements(requests={"cpu": str(cpu)})
    return Container(name="c", resources=resources, restartPolicy="Always" if sidecar else None)


@pytest.mark.parametrize(
    ("init", "main", "expected"),
    [
        ([], [1, 2], 3),
        ([(5, False)], [1, 2], 5),
        ([(2, False)], [1, 2], 3),
        ([(1, True)], [1, 2], 4),
        ([(1, True), (5, False)], [1, 2], 6),  # the sidecar runs already while the other one starts
        ([(5, False), (1, True)], [1, 2], 5),
    ],
)
def test_init_containers_count_by_their_peak(init: list[tuple[int, bool]], main: list[int], expected: int) -> None:
    spec = PodSpec(
        containers=[container(cpu) for cpu in main],
        initContainers=[container(cpu, sidecar=sidecar) for cpu, sidecar in init],
        overhead={"memory": "64Mi"},
    )
    asked = requested(spec)
    assert [expected, 1, 64 * 2**20] == [asked[name].to_int() for name in ("cpu", "pods", "memory")]


def test_a_limit_without_a_request_is_the_request() -> None:
    spec = PodSpec(containers=[Container(name="c", resources=ResourceRequirements(limits={"nvidia.com/gpu": "2"}))])
    assert 2 == requested(spec)["nvidia.com/gpu"].to_int()


@given(cpus=st.lists(st.integers(0, 6), max_size=12))
def test_the_node_is_never_given_more_than_it_has(cpus: list[int]) -> None:
    placed: list[Pod] = []
    for place, cpu in enumerate(cpus):
        decision = plan(waiting({"cpu": str(cpu)}), [node()], placed)
        if isinstance(decision, Bind):
            placed.append(pod(f"p{place}", requests={"cpu": str(cpu)}))
    taken = [requested(each.spec)["cpu"].to_int() for each in placed if each.spec]
    assert sum(taken) <= 4
    if min(cpus, default=9) <= 4:
        assert placed
