"""What `kubectl get pods` shows, state by state."""

from datetime import UTC, datetime
from typing import Any

import pytest

from skerry.api.core import POD

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
Json = dict[str, Any]


def pod(status: Json, *, containers: int = 1, init: list[Json] | None = None, **metadata: Any) -> Json:
    return {
        "metadata": {"name": "web", "creationTimestamp": "2026-03-01T11:58:48Z", **metadata},
        "spec": {
            "containers": [{"name": f"c{number}"} for number in range(containers)],
            "initContainers": init or [],
        },
        "status": status,
    }


def waiting(reason: str, **more: Any) -> Json:
    return {"name": "c0", "state": {"waiting": {"reason": reason}}, **more}


def running(name: str = "c0", *, ready: bool = True, **more: Any) -> Json:
    return {"name": name, "ready": ready, "started": True, "state": {"running": {}}, **more}


def ended(code: int, *, name: str = "c0", **terminated: Any) -> Json:
    return {"name": name, "state": {"terminated": {"exitCode": code, **terminated}}}


def cells(item: Json, *, wide: bool = False) -> list[Any]:
    return [column.cell(item, NOW) for column in POD.columns if wide or column.priority == 0]


def conditions(*true: str) -> list[Json]:
    return [{"type": name, "status": "True"} for name in true]


@pytest.mark.parametrize(
    ("status", "ready", "shown"),
    [
        ({"phase": "Pending"}, "0/1", "Pending"),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, "0/1", "ContainerCreating"),
        ({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}, "0/1", "ImagePullBackOff"),
        ({"phase": "Running", "containerStatuses": [running()]}, "1/1", "Running"),
        ({"phase": "Running", "containerStatuses": [running(ready=False)]}, "0/1", "Running"),
        ({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}, "0/1", "CrashLoopBackOff"),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, reason="Completed")]}, "0/1", "Completed"),
        ({"phase": "Failed", "containerStatuses": [ended(1, reason="Error")]}, "0/1", "Error"),
        ({"phase": "Failed", "containerStatuses": [ended(137, reason="OOMKilled")]}, "0/1", "OOMKilled"),
        ({"phase": "Failed", "containerStatuses": [ended(3)]}, "0/1", "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [ended(137, signal=9)]}, "0/1", "Signal:9"),
        ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
        (
            {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
            },
            "0/1",
            "SchedulingGated",
        ),
    ],
)
def test_status_of_a_pod_with_one_container(status: Json, ready: str, shown: str) -> None:
    assert cells(pod(status)) == ["web", ready, shown, "0", "72s"]


@pytest.mark.parametrize(
    ("init_statuses", "shown"),
    [
        ([{"name": "i0", "state": {"waiting": {"reason": "PodInitializing"}}}], "Init:0/2"),
        ([{"name": "i0", "state": {"running": {}}}], "Init:0/2"),
        ([ended(0, name="i0"), {"name": "i1", "state": {"running": {}}}], "Init:1/2"),
        ([{"name": "i0", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}], "Init:CrashLoopBackOff"),
        ([ended(2, name="i0", reason="Error")], "Init:Error"),
        ([ended(2, name="i0")], "Init:ExitCode:2"),
        ([ended(137, name="i0", signal=9)], "Init:Signal:9"),
    ],
)
def test_an_init_container_that_is_not_done_hides_everything_else(init_statuses: list[Json], shown: str) -> None:
    status = {
        "phase": "Pending",
        "initContainerStatuses": init_statuses,
        "containerStatuses": [waiting("PodInitializing")],
    }
    item = pod(status, init=[{"name": "i0"}, {"name": "i1"}])
    assert cells(item)[1:3] == ["0/1", shown]


def test_restarts_of_init_containers_count_until_they_are_done() -> None:
    init = {"name": "i0", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    item = pod({"phase": "Pending", "initContainerStatuses": [init]}, init=[{"name": "i0"}])
    assert cells(item)[3] == "4"
    done = {**ended(0, name="i0"), "restartCount": 4}
    item = pod(
        {"phase": "Running", "initContainerStatuses": [done], "containerStatuses": [running(restartCount=1)]},
        init=[{"name": "i0"}],
    )
    assert cells(item)[3] == "1"


def test_restarts_say_when_the_last_one_was() -> None:
    last = {"terminated": {"exitCode": 1, "finishedAt": "2026-03-01T11:58:48Z"}}
    earlier = {"terminated": {"exitCode": 1, "finishedAt": "2026-03-01T11:00:00Z"}}
    statuses = [
        running("c0", restartCount=1, lastState=last),
        running("c1", restartCount=2, lastState=earlier),
    ]
    item = pod({"phase": "Running", "containerStatuses": statuses}, containers=2)
    assert cells(item)[1:4] == ["2/2", "Running", "3 (72s ago)"]


def test_a_sidecar_counts_as_a_container_and_does_not_hold_up_the_status() -> None:
    sidecar = {"name": "i0", "restartPolicy": "Always"}
    status = {
        "phase": "Running",
        "initContainerStatuses": [running("i0", restartCount=5)],
        "containerStatuses": [running(restartCount=1)],
    }
    assert cells(pod(status, init=[sidecar]))[1:4] == ["2/2", "Running", "6"]


def test_the_first_container_that_has_something_to_say_wins() -> None:
    statuses = [waiting("ErrImagePull"), {**waiting("ContainerCreating"), "name": "c1"}]
    assert cells(pod({"phase": "Pending", "containerStatuses": statuses}, containers=2))[2] == "ErrImagePull"


@pytest.mark.parametrize(("ready", "shown"), [(("Ready",), "Running"), ((), "NotReady")])
def test_one_container_that_is_done_beside_one_that_runs(ready: tuple[str, ...], shown: str) -> None:
    statuses = [ended(0, reason="Completed"), running("c1")]
    status = {"phase": "Running", "containerStatuses": statuses, "conditions": conditions(*ready)}
    assert cells(pod(status, containers=2))[1:3] == ["1/2", shown]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"phase": "Running", "containerStatuses": [running()]}, "Terminating"),
        ({"phase": "Pending"}, "Terminating"),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, reason="Completed")]}, "Completed"),
        ({"phase": "Running", "reason": "NodeLost"}, "Unknown"),
    ],
)
def test_a_pod_that_is_being_deleted(status: Json, shown: str) -> None:
    assert cells(pod(status, deletionTimestamp="2026-03-01T11:59:59Z"))[2] == shown


def test_wide_columns() -> None:
    item = pod({"phase": "Running", "podIPs": [{"ip": "127.1.0.7"}], "conditions": conditions("a.b/gate")})
    item["spec"] |= {"nodeName": "skerry", "readinessGates": [{"conditionType": "a.b/gate"}, {"conditionType": "x"}]}
    assert cells(item, wide=True)[5:] == ["127.1.0.7", "skerry", "<none>", "1/2"]
    assert cells(pod({}), wide=True)[5:] == ["<none>", "<none>", "<none>", "<none>"]


def test_the_column_names_are_those_of_kubectl() -> None:
    shown = [column.name.upper() for column in POD.columns]
    assert shown == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
