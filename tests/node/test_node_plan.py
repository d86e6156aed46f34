"""The plan and the status of a pod: pure functions, judged by what the kubelet would do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.core_v1 import Pod

from skerry.cluster.node.pod_plan import (
    DelayRestart,
    Evict,
    Finish,
    Kill,
    Plan,
    Prepare,
    Start,
    Stop,
    plan,
    raised,
)
from skerry.cluster.node.pod_status import pod_status
from skerry.cluster.node.runtime import (
    BackOff,
    ContainerState,
    PodState,
    Run,
    Settings,
    Unhealthy,
    Waiting,
    go_duration,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings()
PREPARED = PodState(ip="127.2.0.1", start_time=NOW, prepared="yes")


def a_pod(*names: str, init: tuple[dict[str, Any], ...] = (), deleted: datetime | None = None, **spec: Any) -> Any:
    manifest: dict[str, Any] = {
        "metadata": {"name": "bee", "namespace": "ai-demo", "uid": "u-1", "generation": 2},
        "spec": {"containers": [{"name": name, "image": f"image-{name}"} for name in names or ("main",)], **spec},
    }
    if init:
        manifest["spec"]["initContainers"] = list(init)
    if deleted:
        manifest["metadata"]["deletionTimestamp"] = deleted.isoformat()
    return msgspec.convert(manifest, type=Pod)


def running(attempt: int = 0, **more: Any) -> Run:
    return Run(attempt, f"skerry://{attempt}", "native://x", "running", NOW - timedelta(seconds=30), **more)


def ended(code: int, attempt: int = 0, ago: float = 1.0) -> Run:
    return replace(
        running(attempt),
        phase="exited",
        exit_code=code,
        reason="Error" if code else "Completed",
        finished_at=NOW - timedelta(seconds=ago),
    )


def up(run: Run | None = None) -> ContainerState:
    return ContainerState(current=run or running(), startup_passed=True, ready=True)


def having(state: PodState = PREPARED, **containers: ContainerState) -> PodState:
    return replace(state, containers=containers)


def steps(pod: Any, state: PodState, now: datetime = NOW) -> Plan:
    return plan(pod, state, SETTINGS, now)


def status(pod: Any, state: PodState, now: datetime = NOW) -> dict[str, Any]:
    return pod_status(pod, state, SETTINGS, "127.0.0.1", now)


def shown(pod: Any, state: PodState, name: str = "main") -> dict[str, Any]:
    found = status(pod, state)
    known = [*(found["initContainerStatuses"] or []), *found["containerStatuses"]]
    return next(each for each in known if each["name"] == name)


def condition(pod: Any, state: PodState, kind: str) -> tuple[str, str, str]:
    found = next(each for each in status(pod, state)["conditions"] if each["type"] == kind)
    return found["status"], found.get("reason", ""), found.get("message", "")


# Beginning


def test_volumes_come_first() -> None:
    assert [Prepare()] == steps(a_pod(), PodState()).actions
    assert [] == steps(a_pod(), PodState(prepared="running")).actions


def test_volumes_that_failed_are_tried_again_in_time() -> None:
    later = NOW + timedelta(seconds=5)
    state = PodState(problem=Waiting("FailedMount", "no", retry_at=later))
    waits = steps(a_pod(), state)
    assert ([], later) == (waits.actions, waits.again_at)
    assert [Prepare()] == steps(a_pod(), state, later).actions


def test_all_containers_start_together() -> None:
    assert [Start("a", 0), Start("b", 0)] == steps(a_pod("a", "b"), PREPARED).actions


def test_init_containers_run_one_after_the_other() -> None:
    pod = a_pod(init=({"name": "one"}, {"name": "two"}))
    assert [Start("one", 0)] == steps(pod, PREPARED).actions
    assert [] == steps(pod, having(one=up())).actions
    assert [Start("two", 0)] == steps(pod, having(one=ContainerState(ended(0)))).actions
    done = having(one=ContainerState(ended(0)), two=ContainerState(ended(0)))
    assert [Start("main", 0)] == steps(pod, done).actions


def test_a_failed_init_container_is_tried_again_unless_never() -> None:
    failed = having(one=ContainerState(ended(1)))
    (start,) = steps(a_pod(init=({"name": "one"},)), failed).actions
    assert isinstance(start, Start)
    assert 1 == start.attempt
    assert [] == steps(a_pod(init=({"name": "one"},), restartPolicy="Never"), failed).actions


def test_a_sidecar_need_only_have_started() -> None:
    pod = a_pod(init=({"name": "side", "restartPolicy": "Always"}, {"name": "step"}))
    assert [Start("side", 0)] == steps(pod, PREPARED).actions
    assert [] == steps(pod, having(side=ContainerState(running()))).actions, "its startup probe has not passed"
    assert [Start("step", 0)] == steps(pod, having(side=up())).actions


def test_a_sidecar_is_restarted_whatever_the_policy() -> None:
    pod = a_pod(init=({"name": "side", "restartPolicy": "Always"},), restartPolicy="Never")
    (start,) = steps(pod, having(side=ContainerState(ended(0)), main=up())).actions
    assert isinstance(start, Start)
    assert ("side", 1) == (start.container, start.attempt)


def test_after_a_reboot_everything_begins_anew() -> None:
    pod = a_pod(init=({"name": "one"},))
    state = having(one=ContainerState(previous=ended(0)), main=ContainerState(previous=ended(137, attempt=3)))
    assert [Start("one", 1)] == steps(pod, state).actions
    assert "PodInitializing" == shown(pod, state)["state"]["waiting"]["reason"]
    assert 137 == shown(pod, state)["lastState"]["terminated"]["exitCode"]


# Restarts


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy(policy: str, code: int, again: bool) -> None:
    actions = steps(a_pod(restartPolicy=policy), having(main=ContainerState(ended(code)))).actions
    assert again == bool(actions)


def test_the_first_restart_is_at_once_and_the_next_ones_wait() -> None:
    first = having(main=ContainerState(ended(1)))
    assert [Start("main", 1, BackOff(timedelta(seconds=10), NOW))] == steps(a_pod(), first).actions
    back_off = BackOff(timedelta(seconds=10), NOW - timedelta(seconds=3))
    second = having(main=ContainerState(ended(1, 1, ago=2), back_off=back_off))
    waits = steps(a_pod(), second)
    assert ([DelayRestart("main")], NOW + timedelta(seconds=8)) == (waits.actions, waits.again_at)
    later = NOW + timedelta(seconds=8)
    assert [Start("main", 2, BackOff(timedelta(seconds=20), later))] == steps(a_pod(), second, later).actions


@given(st.integers(1, 30))
def test_delays_double_up_to_five_minutes(restarts: int) -> None:
    state = ContainerState(ended(1))
    for _ in range(restarts):
        state = replace(state, back_off=raised(state, SETTINGS, NOW))
    assert state.back_off is not None
    assert min(10 * 2 ** (restarts - 1), 300) == state.back_off.delay.total_seconds()


def test_a_long_run_forgives() -> None:
    old = BackOff(timedelta(seconds=300), NOW - timedelta(minutes=11))
    state = ContainerState(ended(1, 5, ago=1), back_off=old)
    assert [Start("main", 6, BackOff(timedelta(seconds=10), NOW))] == steps(a_pod(), having(main=state)).actions


def test_crash_loop_words() -> None:
    back_off = BackOff(timedelta(seconds=80), NOW)
    state = having(main=ContainerState(ended(3, 2), ended(3, 1), back_off=back_off))
    found = shown(a_pod(), state)
    message = "back-off 1m20s restarting failed container=main pod=bee_ai-demo(u-1)"
    assert {"waiting": {"reason": "CrashLoopBackOff", "message": message}} == found["state"]
    assert (2, 3) == (found["restartCount"], found["lastState"]["terminated"]["exitCode"])
    assert "Running" == status(a_pod(), state)["phase"]


def test_go_durations() -> None:
    written = {10: "10s", 60: "1m0s", 80: "1m20s", 300: "5m0s", 3661: "1h1m1s", 0.3: "300ms"}
    assert written == {seconds: go_duration(timedelta(seconds=seconds)) for seconds in written}


def test_a_container_that_cannot_be_created_waits_for_its_time() -> None:
    when = NOW + timedelta(seconds=7)
    waiting = Waiting("CreateContainerConfigError", 'configmap "x" not found', retry_at=when)
    state = having(main=ContainerState(waiting=waiting))
    assert ([], when) == (steps(a_pod(), state).actions, steps(a_pod(), state).again_at)
    assert [Start("main", 0)] == steps(a_pod(), state, when).actions
    assert "CreateContainerConfigError" == shown(a_pod(), state)["state"]["waiting"]["reason"]


# Ending


def test_an_unhealthy_container_is_stopped_then_killed() -> None:
    sick = replace(up(), unhealthy=Unhealthy("Container main failed liveness probe, will be restarted", timedelta(5)))
    (stop,) = steps(a_pod(), having(main=sick)).actions
    assert Stop("main", NOW + timedelta(5), "Container main failed liveness probe, will be restarted") == stop
    stopping = replace(sick, current=running(stop_deadline=NOW))
    assert [Kill("main")] == steps(a_pod(), having(main=stopping)).actions


def test_a_deleted_pod_ends_by_the_time_that_the_api_gave() -> None:
    deadline = NOW + timedelta(seconds=30)
    pod = a_pod("a", "b", deleted=deadline)
    result = steps(pod, having(a=up(), b=up()))
    assert [Stop("a", deadline, "Stopping container a"), Stop("b", deadline, "Stopping container b")] == result.actions
    assert deadline == result.again_at
    asked = up(running(stop_deadline=deadline))
    assert [] == steps(pod, having(a=asked, b=asked)).actions
    assert [Kill("a"), Kill("b")] == steps(pod, having(a=asked, b=asked), deadline).actions


def test_a_second_deletion_can_only_hurry() -> None:
    asked = up(running(stop_deadline=NOW + timedelta(seconds=30)))
    sooner = NOW + timedelta(seconds=2)
    (stop,) = steps(a_pod(deleted=sooner), having(main=asked)).actions
    assert isinstance(stop, Stop)
    assert sooner == stop.deadline
    assert [] == steps(a_pod(deleted=NOW + timedelta(seconds=99)), having(main=asked)).actions


def test_a_killed_container_that_stays_is_killed_again() -> None:
    killed = up(running(stop_deadline=NOW - timedelta(seconds=9), killed_at=NOW - timedelta(seconds=1)))
    pod = a_pod(deleted=NOW)
    assert [] == steps(pod, having(main=killed)).actions
    assert [Kill("main")] == steps(pod, having(main=killed), NOW + timedelta(seconds=2)).actions


def test_sidecars_end_last_and_backwards() -> None:
    init = ({"name": "one", "restartPolicy": "Always"}, {"name": "two", "restartPolicy": "Always"})
    pod = a_pod(init=init, deleted=NOW + timedelta(seconds=30))
    containers = {"one": up(), "two": up(), "main": up()}
    order = []
    while containers:
        actions = steps(pod, replace(PREPARED, containers=containers)).actions
        if actions == [Finish()]:
            break
        for action in actions:
            assert isinstance(action, Stop)
            order.append(action.container)
            containers[action.container] = ContainerState(ended(0))
    assert ["main", "two", "one"] == order


def test_a_pod_that_is_gone_ends_and_is_finished_with() -> None:
    state = replace(having(main=up()), gone=NOW + timedelta(seconds=1))
    assert isinstance(steps(a_pod(), state).actions[0], Stop)
    assert [Finish()] == steps(a_pod(), replace(state, containers={"main": ContainerState(ended(137))})).actions


def test_a_closing_node_ends_containers_and_keeps_the_pod() -> None:
    state = replace(having(main=up()), closing=NOW + timedelta(seconds=5))
    assert isinstance(steps(a_pod(), state).actions[0], Stop)
    over = replace(state, containers={"main": ContainerState(ended(143))})
    assert [] == steps(a_pod(), over).actions, "neither restarted nor removed"


def test_a_container_that_is_just_starting_is_waited_for() -> None:
    state = having(main=ContainerState(starting=True))
    assert [] == steps(a_pod(deleted=NOW), state).actions


def test_a_pod_past_its_deadline_fails() -> None:
    pod = a_pod(activeDeadlineSeconds=60)
    state = replace(having(main=up()), start_time=NOW - timedelta(seconds=50))
    assert NOW + timedelta(seconds=10) == steps(pod, state).again_at
    (evict,) = steps(pod, state, NOW + timedelta(seconds=10)).actions
    assert isinstance(evict, Evict)
    failed = replace(state, evicted=Waiting(evict.reason, evict.message))
    assert isinstance(steps(pod, failed).actions[0], Stop)
    assert ("Failed", "DeadlineExceeded") == (status(pod, failed)["phase"], status(pod, failed)["reason"])


def test_a_pod_that_was_over_before_is_left_alone() -> None:
    assert [] == steps(a_pod(), replace(PREPARED, over="Succeeded")).actions


# Status


def test_a_pod_that_is_being_created() -> None:
    pod, state = a_pod("a", "b"), PodState(start_time=NOW)
    found = status(pod, state)
    assert ("Pending", None, 2) == (found["phase"], found["podIP"], found["observedGeneration"])
    assert {"reason": "ContainerCreating"} == shown(pod, state, "a")["state"]["waiting"]
    expected = ("False", "ContainersNotReady", "containers with unready status: [a b]")
    assert expected == condition(pod, state, "Ready") == condition(pod, state, "ContainersReady")
    assert ("True", "", "") == condition(pod, state, "Initialized")
    assert "False" == condition(pod, state, "PodReadyToStartContainers")[0]


def test_a_pod_that_is_ready() -> None:
    pod, state = a_pod(), having(main=up())
    found = status(pod, state)
    assert ("Running", "127.2.0.1", [{"ip": "127.2.0.1"}]) == (found["phase"], found["podIP"], found["podIPs"])
    assert all(each["status"] == "True" for each in found["conditions"])
    assert "2026-11-22T12:00:00Z" == found["startTime"]
    main = shown(pod, state)
    assert {"running": {"startedAt": "2026-11-22T11:59:30Z"}} == main["state"]
    assert (True, True, {}, "image-main", "native://x") == (
        main["ready"],
        main["started"],
        main["lastState"],
        main["image"],
        main["imageID"],
    )


def test_uninitialised_pods() -> None:
    pod = a_pod(init=({"name": "one"}, {"name": "two"}))
    state = having(one=ContainerState(ended(0)), two=ContainerState(running()))
    assert "Pending" == status(pod, state)["phase"]
    expected = ("False", "ContainersNotInitialized", "containers with incomplete status: [two]")
    assert expected == condition(pod, state, "Initialized")
    assert (True, False) == (shown(pod, state, "one")["ready"], shown(pod, state, "two")["ready"])


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [
        ("Never", (0, 0), "Succeeded"),
        ("Never", (0, 1), "Failed"),
        ("OnFailure", (0, 0), "Succeeded"),
        ("OnFailure", (0, 1), "Running"),
        ("Always", (0, 0), "Running"),
    ],
)
def test_phases_of_ended_pods(policy: str, codes: tuple[int, int], phase: str) -> None:
    pod = a_pod("a", "b", restartPolicy=policy)
    state = having(a=ContainerState(ended(codes[0])), b=ContainerState(ended(codes[1])))
    assert phase == status(pod, state)["phase"]


def test_a_deleted_pod_is_failed_or_succeeded_when_all_has_ended() -> None:
    pod = a_pod(deleted=NOW)
    assert "Failed" == status(pod, having(main=ContainerState(ended(143))))["phase"]
    assert "Succeeded" == status(pod, having(main=ContainerState(ended(0))))["phase"]


def test_conditions_keep_their_times_and_others_are_carried_over() -> None:
    before = {
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:00:00Z"},
            {"type": "ContainersReady", "status": "False", "lastTransitionTime": "2026-11-22T10:00:00Z"},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T09:00:00Z"},
        ]
    }
    pod = a_pod()
    pod.status = msgspec.convert({"status": before, "metadata": {}}, type=Pod).status
    found = {each["type"]: each for each in status(pod, having(main=up()))["conditions"]}
    assert "2026-11-22T10:00:00Z" == found["Ready"]["lastTransitionTime"]
    assert "2026-11-22T12:00:00Z" == found["ContainersReady"]["lastTransitionTime"]
    assert {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": "2026-11-22T09:00:00Z",
    } == found["PodScheduled"]


def test_readiness_gates() -> None:
    pod = a_pod(readinessGates=[{"conditionType": "example.com/up"}])
    text = 'corresponding condition of pod readiness gate "example.com/up" does not exist.'
    assert ("False", "ReadinessGatesNotReady", text) == condition(pod, having(main=up()), "Ready")
    assert "True" == condition(pod, having(main=up()), "ContainersReady")[0]


def test_an_image_problem_is_shown_by_every_container() -> None:
    problem = Waiting("ErrImagePull", "no such image")
    pod, state = a_pod("a", "b"), PodState(problem=problem)
    for name in ("a", "b"):
        waiting = {"reason": "ErrImagePull", "message": "no such image"}
        assert waiting == shown(pod, state, name)["state"]["waiting"]


@given(
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.lists(st.sampled_from(["none", "starting", "running", "ok", "failed", "waiting"]), min_size=1, max_size=4),
    st.booleans(),
)
def test_every_pod_has_a_plan_and_a_status(policy: str, kinds: list[str], deleted: bool) -> None:
    states = {
        "none": ContainerState(),
        "starting": ContainerState(starting=True),
        "running": up(),
        "ok": ContainerState(ended(0)),
        "failed": ContainerState(ended(1)),
        "waiting": ContainerState(waiting=Waiting("ImageNotNative", "no")),
    }
    names = [f"c{number}" for number in range(len(kinds))]
    pod = a_pod(*names, restartPolicy=policy, deleted=NOW if deleted else None)
    state = replace(PREPARED, containers={name: states[kind] for name, kind in zip(names, kinds, strict=True)})
    actions = steps(pod, state).actions
    assert len(actions) == len(set(map(repr, actions))), "nothing is done twice"
    started = [action.container for action in actions if isinstance(action, Start)]
    assert not [name for name in started if state.of(name).active], "what runs is not started again"
    found = status(pod, state)
    assert found["phase"] in {"Pending", "Running", "Succeeded", "Failed"}
    active = any(state.of(name).active for name in names)
    assert not (active and Finish() in actions)
    assert all(len(each["state"]) == 1 for each in found["containerStatuses"])
