"""The plan of a job: what is made, what ends, what is counted, when it is over."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightkube.models.batch_v1 import JobSpec, JobStatus, UncountedTerminatedPods
from lightkube.models.core_v1 import ContainerState, ContainerStateTerminated, ContainerStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from tests.controllers.builders import NOW, metadata, pod

from skerry.api.batch import JOB
from skerry.cluster.controllers.job.counting import FINALIZER, INDEX
from skerry.cluster.controllers.job.indexes import format_indexes, parse_indexes
from skerry.cluster.controllers.job.plan import Plan, plan, seconds_of_back_off
from skerry.cluster.controllers.job.pods import new_pod
from skerry.cluster.controllers.ownership import meta


def job(status: JobStatus | None = None, policy: str = "Never", **spec: Any) -> Job:
    """A job as the server stores it, with its defaults."""
    template = {"spec": {"restartPolicy": policy, "containers": [{"name": "main", "image": "i"}]}}
    item = {"metadata": {"name": "j", "uid": "u", "namespace": "ai-demo"}, "spec": {"template": template, **spec}}
    JOB.default(item)
    return Job(metadata=metadata("j", generation=1), spec=msgspec.convert(item["spec"], JobSpec), status=status)


def run(
    of: Job, name: str, phase: str = "Running", *, counted: bool = False, index: int | None = None, **more: Any
) -> Pod:
    more.setdefault("finalizers", [] if counted else [FINALIZER])
    if index is not None:
        more["annotations"] = {INDEX: str(index)}
    ended = more.pop("ended", NOW)
    restarts = more.pop("restarts", 0)
    made = pod(name, owner=of, phase=phase, ready=phase == "Running", uid=name, **more)
    assert made.status is not None
    state = ContainerState()
    if phase in {"Succeeded", "Failed"}:
        state = ContainerState(terminated=ContainerStateTerminated(0, finishedAt=ended))
    made.status.containerStatuses = [ContainerStatus("i", "", "main", ready=False, restartCount=restarts, state=state)]
    return made


def kinds(planned: Plan) -> dict[str, str | None]:
    return {each.type: each.reason for each in planned.status.conditions or [] if each.status == "True"}


def names(pods: tuple[Pod, ...]) -> list[str | None]:
    return [meta(each).name for each in pods]


def test_a_new_job_starts() -> None:
    planned = plan(job(), [], NOW)
    assert planned.create == (None,)
    assert planned.status.startTime == NOW
    assert len(plan(job(parallelism=3, completions=2), [], NOW).create) == 2
    assert len(plan(job(parallelism=3), [], NOW).create) == 3
    assert plan(job(parallelism=0), [], NOW).create == ()


def test_a_success_is_noted_then_released_then_counted() -> None:
    mine = job()
    done = run(mine, "p", "Succeeded")
    first = plan(mine, [done], NOW)
    assert (first.status.succeeded, first.status.uncountedTerminatedPods) == (
        None,
        UncountedTerminatedPods(None, ["p"]),
    )
    assert (names(first.release), first.create, kinds(first)) == (
        ["p"],
        (),
        {"SuccessCriteriaMet": "CompletionsReached"},
    )
    mine.status = first.status
    again = plan(mine, [done], NOW)
    assert again.status == first.status, "noted once, however often it is looked at"
    second = plan(mine, [run(mine, "p", "Succeeded", counted=True)], NOW)
    assert (second.status.succeeded, second.status.uncountedTerminatedPods) == (1, UncountedTerminatedPods())
    assert kinds(second) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert second.status.completionTime == NOW
    assert [each.reason for each in second.told] == ["Completed"]
    mine.status = second.status
    assert plan(mine, [], NOW + timedelta(hours=1)).status == second.status


def test_a_pod_that_vanished_after_it_was_noted_is_counted() -> None:
    noted = JobStatus(startTime=NOW, uncountedTerminatedPods=UncountedTerminatedPods(failed=["gone"]), failed=1)
    planned = plan(job(noted), [], NOW)
    assert planned.status.failed == 2


def test_failures_are_tried_again_later_and_later() -> None:
    mine = job(JobStatus(startTime=NOW))
    one = run(mine, "a", "Failed", counted=True)
    two = run(mine, "b", "Failed", counted=True, ended=NOW + timedelta(seconds=20))
    assert seconds_of_back_off(mine, [one], NOW) == 10
    assert seconds_of_back_off(mine, [one], NOW + timedelta(seconds=4)) == 6
    assert seconds_of_back_off(mine, [one, two], NOW + timedelta(seconds=20)) == 20
    won = run(mine, "c", "Succeeded", counted=True, ended=NOW + timedelta(seconds=30))
    assert seconds_of_back_off(mine, [one, two, won], NOW + timedelta(seconds=31)) == 0
    many = [run(mine, str(number), "Failed", counted=True) for number in range(12)]
    assert seconds_of_back_off(mine, many, NOW) == 600
    waiting = plan(mine, [one], NOW)
    assert (waiting.create, waiting.again) == ((), 10)
    assert plan(mine, [one], NOW + timedelta(seconds=10)).create == (None,)


def test_too_many_failures_end_it() -> None:
    mine = job(JobStatus(startTime=NOW, failed=2), backoffLimit=2, parallelism=2, completions=5)
    running = run(mine, "r")
    failing = plan(mine, [run(mine, "f", "Failed"), running], NOW)
    assert kinds(failing) == {"FailureTarget": "BackoffLimitExceeded"}
    assert (names(failing.end), failing.create) == (["r"], ())
    mine.status = failing.status
    waiting = plan(mine, [run(mine, "r", deletionTimestamp=NOW)], NOW)
    assert kinds(waiting) == {"FailureTarget": "BackoffLimitExceeded"}, "something still ends"
    mine.status = waiting.status
    over = plan(mine, [], NOW)
    assert kinds(over) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert (over.status.failed, over.status.completionTime) == (4, None)
    assert [(each.severity, each.reason, each.message) for each in over.told] == [
        ("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    ]


def test_restarts_in_place_count_too() -> None:
    mine = job(JobStatus(startTime=NOW), policy="OnFailure", backoffLimit=3)
    assert kinds(plan(mine, [run(mine, "r", restarts=2)], NOW)) == {}
    assert kinds(plan(mine, [run(mine, "r", restarts=3)], NOW)) == {"FailureTarget": "BackoffLimitExceeded"}
    never = job(JobStatus(startTime=NOW), policy="OnFailure", backoffLimit=0)
    assert kinds(plan(never, [run(never, "r")], NOW)) == {}
    assert kinds(plan(never, [run(never, "r", restarts=1)], NOW)) == {"FailureTarget": "BackoffLimitExceeded"}


def test_the_deadline() -> None:
    mine = job(JobStatus(startTime=NOW), activeDeadlineSeconds=60)
    running = run(mine, "r")
    assert plan(mine, [running], NOW + timedelta(seconds=20)).again == 40
    late = plan(mine, [running], NOW + timedelta(seconds=60))
    assert (kinds(late), names(late.end)) == ({"FailureTarget": "DeadlineExceeded"}, ["r"])


def test_suspension() -> None:
    mine = job(suspend=True, parallelism=2)
    paused = plan(mine, [run(mine, "r")], NOW)
    assert (kinds(paused), paused.status.startTime) == ({"Suspended": "JobSuspended"}, None)
    assert (names(paused.drop), paused.end, paused.create) == (["r"], (), ())
    assert [each.reason for each in paused.told] == ["Suspended"]
    mine.status = paused.status
    assert plan(mine, [], NOW).told == ()
    assert mine.spec is not None
    mine.spec.suspend = False
    later = NOW + timedelta(hours=1)
    resumed = plan(mine, [], later)
    assert (len(resumed.create), resumed.status.startTime, kinds(resumed)) == (2, later, {})
    assert [each.reason for each in resumed.told] == ["Resumed"]


def test_a_narrower_job_drops_pods_without_counting_them() -> None:
    mine = job(JobStatus(startTime=NOW), parallelism=1, completions=5)
    pods = [run(mine, "a"), run(mine, "b", "Pending")]
    planned = plan(mine, pods, NOW)
    assert (names(planned.drop), planned.end) == (["b"], ())


def test_a_queue_ends_with_its_workers() -> None:
    mine = job(JobStatus(startTime=NOW), parallelism=3)
    busy = [run(mine, "a", "Succeeded"), run(mine, "b"), run(mine, "c")]
    assert (plan(mine, busy, NOW).create, kinds(plan(mine, busy, NOW))) == ((), {})
    idle = [run(mine, "a", "Succeeded"), run(mine, "b", "Failed")]
    assert kinds(plan(mine, idle, NOW)) == {"SuccessCriteriaMet": "CompletionsReached"}


def test_a_deleted_pod_is_replaced_at_once_or_after_its_end() -> None:
    mine = job(JobStatus(startTime=NOW - timedelta(hours=1)))
    going = run(mine, "r", deletionTimestamp=NOW - timedelta(seconds=30))
    assert plan(mine, [going], NOW).create == (None,)
    patient = job(JobStatus(startTime=NOW), podReplacementPolicy="Failed")
    waits = plan(patient, [run(patient, "r", deletionTimestamp=NOW - timedelta(seconds=30))], NOW)
    assert (waits.create, waits.status.terminating, waits.release) == ((), 1, ())


def test_time_to_live() -> None:
    mine = job(ttlSecondsAfterFinished=100)
    mine.status = plan(mine, [run(mine, "p", "Succeeded")], NOW).status
    mine.status = plan(mine, [], NOW).status
    assert plan(mine, [], NOW + timedelta(seconds=40)).again == 60
    assert plan(mine, [], NOW + timedelta(seconds=100)).remove
    assert not plan(job(mine.status), [], NOW + timedelta(days=9)).remove


def test_indexes() -> None:
    mine = job(JobStatus(startTime=NOW), completionMode="Indexed", completions=6, parallelism=3)
    pods = [run(mine, "a", "Succeeded", index=0), run(mine, "b", index=1)]
    planned = plan(mine, pods, NOW)
    assert (planned.create, planned.status.completedIndexes, planned.status.succeeded) == ((2, 3), "0", 1)
    mine.status = planned.status
    assert plan(mine, pods, NOW).status == planned.status
    rest = [run(mine, str(number), "Succeeded", index=number) for number in (1, 2, 4, 5)]
    assert plan(mine, rest, NOW).status.completedIndexes == "0-2,4,5"
    twice = [run(mine, "x", "Succeeded", index=1), run(mine, "y", "Succeeded", index=1)]
    assert plan(mine, twice, NOW).status.succeeded == 2


def test_the_pod_of_a_job() -> None:
    mine = job()
    made = new_pod(mine, None)
    assert meta(made).generateName == "j-"
    assert meta(made).finalizers == [FINALIZER]
    assert (meta(made).labels or {}).keys() >= {"batch.kubernetes.io/job-name", "job-name", "controller-uid"}
    numbered = new_pod(mine, 7)
    assert numbered.spec is not None
    assert (meta(numbered).generateName, numbered.spec.hostname) == ("j-7-", "j-7")
    assert numbered.spec.containers[0].env is not None
    assert numbered.spec.containers[0].env[0].name == "JOB_COMPLETION_INDEX"
    assert (meta(numbered).annotations or {})[INDEX] == (meta(numbered).labels or {})[INDEX] == "7"


@pytest.mark.parametrize(
    ("indexes", "text"), [((), ""), ((3,), "3"), ((0, 1), "0,1"), ((0, 1, 2), "0-2"), ((1, 3, 4, 5, 7), "1,3-5,7")]
)
def test_sets_of_indexes(indexes: tuple[int, ...], text: str) -> None:
    assert format_indexes(indexes) == text
    assert parse_indexes(text, 100) == set(indexes)


@given(st.frozensets(st.integers(0, 60)))
def test_what_is_written_is_read(indexes: frozenset[int]) -> None:
    assert parse_indexes(format_indexes(indexes), 61) == indexes
    assert parse_indexes(format_indexes(indexes), 30) == {index for index in indexes if index < 30}


@settings(max_examples=80, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 6), st.integers(0, 3))
def test_every_end_is_counted_once_whatever_is_lost_in_between(
    data: st.DataObject, width: int, completions: int, limit: int
) -> None:
    """Pods end as they like, and each step of the loop may stop after any of its writes."""
    mine = job(parallelism=width, completions=completions, backoffLimit=limit)
    world: dict[str, Pod] = {}
    ends = {"Succeeded": 0, "Failed": 0}
    now, serial = NOW, 0
    for _ in range(60):
        now += timedelta(seconds=700)
        for name, each in list(world.items()):
            end = data.draw(st.sampled_from(["Succeeded", "Failed", None]))
            if each.status is not None and each.status.phase == "Running" and end:
                world[name] = run(mine, name, end, ended=now)
                ends[end] += 1
        planned = plan(mine, list(world.values()), now)
        assert len([one for one in world.values() if one.status and one.status.phase == "Running"]) <= width
        stop = data.draw(st.integers(0, 3))
        for _index in planned.create:
            serial += 1
            world[f"p{serial}"] = run(mine, f"p{serial}")
        for each in planned.end:
            ends["Failed"] += 1
            world[str(meta(each).name)] = run(mine, str(meta(each).name), "Failed", ended=now)
        if stop == 0:
            continue
        mine.status = planned.status
        for each in planned.release[: None if stop > 1 else 1]:
            done = world[str(meta(each).name)]
            assert done.status is not None
            world[str(meta(each).name)] = run(mine, str(meta(each).name), done.status.phase or "", counted=True)
        if {"Complete", "Failed"} & kinds(planned).keys():
            break
    status = mine.status or JobStatus()
    if {"Complete", "Failed"} & {each.type for each in status.conditions or []}:
        assert (status.succeeded or 0, status.failed or 0) == (ends["Succeeded"], ends["Failed"])
        assert not status.active


def test_times_are_whole_seconds() -> None:
    later = datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=NOW.tzinfo)
    assert plan(job(), [], later).status.startTime == NOW
