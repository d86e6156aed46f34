"""The plan of an autoscaler against Kubernetes' documented algorithm, with a clock that the tests turn.

One metric: the quotient, the tolerance, pods that are young, pending, gone or without figures. Then the pace: windows,
policies, bounds. Then properties: never outside the bounds, never back and forth within the window.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightkube.models.autoscaling_v2 import HorizontalPodAutoscalerSpec, MetricSpec
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Pod
from tests.controllers.builders import NOW, metadata, pod

from skerry.api.autoscaling import HORIZONTAL_POD_AUTOSCALER
from skerry.cluster.controllers.autoscaling import plan as planning
from skerry.cluster.controllers.autoscaling.pace import History, paced
from skerry.cluster.controllers.autoscaling.plan import Plan, plan, scaled
from skerry.cluster.controllers.autoscaling.proposal import Unable, World, propose, tolerance_of
from skerry.cluster.controllers.autoscaling.samples import Sample

OLD = NOW - timedelta(hours=1)


def autoscaler(least: int = 1, most: int = 10, behavior: Any = None, metrics: Any = None) -> HorizontalPodAutoscaler:
    """An object as the server stores it, with its defaults."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    own: dict[str, Any] = {"minReplicas": least, "maxReplicas": most, "scaleTargetRef": target}
    own |= {key: value for key, value in (("behavior", behavior), ("metrics", metrics)) if value is not None}
    item = {"metadata": {"name": "web"}, "spec": own}
    HORIZONTAL_POD_AUTOSCALER.default(item)
    spec = msgspec.convert(item["spec"], HorizontalPodAutoscalerSpec)
    return HorizontalPodAutoscaler(spec=spec, metadata=metadata("web", generation=1))


def web(number: int, **more: Any) -> Pod:
    """A pod that requests one core and 100 Mi, ready for long."""
    more.setdefault("requests", {"cpu": "1", "memory": "100Mi"})
    made = pod(f"web-{number}", ready_since=more.pop("since", OLD), **more)
    assert made.status is not None
    made.status.startTime = more.get("begun", OLD)
    return made


def sample(millis: int, at: datetime = NOW, **others: int) -> Sample:
    figures = {name: {"cpu": each} for name, each in others.items()}
    return Sample(at, timedelta(seconds=15), {"main": {"cpu": millis, "memory": millis << 20}, **figures})


def used(*millis: int) -> dict[str, Sample]:
    return {f"web-{number}": sample(each) for number, each in enumerate(millis)}


def world(replicas: int, samples: Mapping[str, Sample], pods: list[Pod] | None = None, now: datetime = NOW) -> World:
    present = [web(number) for number in range(replicas)] if pods is None else pods
    return World(replicas, present, samples, tolerance_of(None), now)


def cpu(**target: Any) -> MetricSpec:
    kind = "AverageValue" if "averageValue" in target else "Utilization"
    return msgspec.convert(
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": kind, **target}}}, MetricSpec
    )


HALF = cpu(averageUtilization=50)


# --- one metric -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("millis", "replicas"),
    [
        ((500, 500), 2),
        ((550, 550), 2),  # a tenth is tolerated
        ((560, 560), 3),
        ((450, 450), 2),
        ((440, 440), 2),  # 0.88 * 2, rounded up
        ((240, 240), 1),
        ((1000, 1000), 4),
        ((0, 0), 0),
        ((900, 100), 2),  # the mean counts
    ],
)
def test_the_quotient(millis: tuple[int, ...], replicas: int) -> None:
    found = propose(HALF, world(len(millis), used(*millis)))
    assert found.replicas == replicas
    assert found.metric == "cpu resource utilization (percentage of request)"
    assert found.status.resource is not None
    assert found.status.resource.current.averageUtilization == sum(millis) // len(millis) // 10


def test_an_average_value() -> None:
    found = propose(cpu(averageValue="200m"), world(2, used(500, 500)))
    assert (found.replicas, found.metric) == (5, "cpu resource")
    assert found.status.resource is not None
    assert found.status.resource.current.averageValue == "500m"


def test_memory_and_one_container() -> None:
    memory = msgspec.convert(
        {
            "type": "Resource",
            "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}},
        },
        MetricSpec,
    )
    samples = {"web-0": Sample(NOW, timedelta(seconds=15), {"main": {"memory": 100 * 1024 * 1024 * 1000}})}
    assert propose(memory, world(1, samples)).replicas == 2
    one = {"name": "cpu", "container": "main", "target": {"type": "Utilization", "averageUtilization": 50}}
    metric = msgspec.convert({"type": "ContainerResource", "containerResource": one}, MetricSpec)
    busy_side = {"web-0": sample(500, side=5000)}
    assert propose(metric, world(1, busy_side)).replicas == 1
    assert propose(HALF, world(1, busy_side)).replicas == 11
    metric = msgspec.convert({"type": "ContainerResource", "containerResource": {**one, "container": "x"}}, MetricSpec)
    with pytest.raises(Unable, match="container x not present in metrics for pod web-0") as caught:
        propose(metric, world(1, busy_side))
    assert caught.value.reason == "FailedGetContainerResourceMetric"


def test_pods_without_figures_are_counted_against_the_change() -> None:
    # Two busy ones and one unknown: up, but as if the third were idle.
    assert propose(HALF, world(3, used(1000, 1000))).replicas == 4
    # Two idle ones: down, but as if the third took all that it requested.
    assert propose(HALF, world(3, used(10, 10))).replicas == 3
    assert propose(HALF, world(10, used(*[10] * 9))).replicas == 2
    # The unknown one would turn the direction: nothing is done.
    assert propose(HALF, world(2, used(300))).replicas == 2


def test_pods_that_are_not_ready_are_idle_when_it_goes_up() -> None:
    starting = [web(0), web(1, ready=False, since=NOW, phase="Pending")]
    assert propose(HALF, world(2, used(1000, 1000), starting)).replicas == 2
    assert propose(HALF, world(2, used(100, 1000), starting)).replicas == 1, "down, it is left out"


def test_a_figure_from_before_readiness_says_nothing_of_processors() -> None:
    young = web(1, since=NOW - timedelta(seconds=5))
    assert young.status is not None
    young.status.startTime = NOW - timedelta(seconds=20)
    pods = [web(0), young]
    found = propose(HALF, world(2, used(600, 5000), pods))
    assert found.status.resource is not None
    assert found.status.resource.current.averageUtilization == 60
    young.status.startTime = NOW - timedelta(minutes=6)
    assert propose(HALF, world(2, used(600, 5000), pods)).replicas == 12


def test_pods_that_go_or_failed_do_not_count() -> None:
    pods = [web(0), web(1, deletionTimestamp=NOW), web(2, phase="Failed")]
    assert propose(HALF, world(1, used(500, 5000, 5000), pods)).replicas == 1


@pytest.mark.parametrize(
    ("metric", "pods", "samples", "reason", "message"),
    [
        (
            HALF,
            [web(0)],
            {},
            "FailedGetResourceMetric",
            (
                "failed to get cpu utilization: unable to get metrics for resource cpu: "
                "no metrics returned from resource metrics API"
            ),
        ),
        (
            HALF,
            [web(0, requests={"memory": "1Mi"})],
            used(500),
            "FailedGetResourceMetric",
            "failed to get cpu utilization: missing request for cpu in container main of Pod web-0",
        ),
        (
            HALF,
            [web(0, phase="Pending")],
            used(500),
            "FailedGetResourceMetric",
            "failed to get cpu utilization: did not receive metrics for any ready pods",
        ),
        (
            msgspec.convert(
                {
                    "type": "Pods",
                    "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1"}},
                },
                MetricSpec,
            ),
            [web(0)],
            used(500),
            "FailedGetPodsMetric",
            "unable to get Pods metric: the server could not find the requested resource",
        ),
    ],
)
def test_what_cannot_be_computed(
    metric: MetricSpec, pods: list[Pod], samples: dict[str, Sample], reason: str, message: str
) -> None:
    with pytest.raises(Unable) as caught:
        propose(metric, world(len(pods), samples, pods))
    assert (caught.value.reason, str(caught.value)) == (reason, message)


# --- the plan ---------------------------------------------------------------------------------------------------------


def truths(planned: Plan) -> dict[str, tuple[str, str | None]]:
    return {each.type: (each.status, each.reason) for each in planned.status.conditions or []}


def test_a_busy_target_grows() -> None:
    planned = plan(autoscaler(), world(2, used(1600, 1600)), History())
    assert (planned.rescale, planned.why) == (4, "cpu resource utilization (percentage of request) above target")
    assert truths(planned) == {
        "AbleToScale": ("True", "ReadyForNewScale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    done = scaled(planned, 2, NOW)
    assert truths(done)["AbleToScale"] == ("True", "SucceededRescale")
    assert [(each.reason, each.message) for each in done.told] == [
        ("SuccessfulRescale", "New size: 4; reason: cpu resource utilization (percentage of request) above target")
    ]
    assert (done.status.currentReplicas, done.status.desiredReplicas, done.status.lastScaleTime) == (2, 4, NOW)


def test_growth_is_limited_without_a_behavior_too() -> None:
    planned = plan(autoscaler(most=50), world(1, used(50_000)), History())
    assert (planned.rescale, truths(planned)["ScalingLimited"]) == (4, ("True", "ScaleUpLimit"))
    planned = plan(autoscaler(most=50), world(5, used(*[50_000] * 5)), History())
    assert planned.rescale == 10
    planned = plan(autoscaler(most=3), world(1, used(50_000)), History())
    assert (planned.rescale, truths(planned)["ScalingLimited"]) == (3, ("True", "TooManyReplicas"))
    idle = History()
    planned = plan(autoscaler(least=2), world(2, used(0, 0)), idle)
    assert (planned.rescale, truths(planned)["ScalingLimited"]) == (None, ("False", "DesiredWithinRange"))


def test_outside_the_bounds_no_metrics_are_asked() -> None:
    above = plan(autoscaler(most=3), world(7, {}), History())
    assert (above.rescale, above.why) == (3, "Current number of replicas above Spec.MaxReplicas")
    below = plan(autoscaler(least=2), world(1, {}), History())
    assert (below.rescale, below.why) == (2, "Current number of replicas below Spec.MinReplicas")
    off = plan(autoscaler(least=2), world(0, {}), History())
    assert (off.rescale, truths(off)["ScalingActive"]) == (None, ("False", "ScalingDisabled"))


def test_shrinking_waits_for_five_quiet_minutes() -> None:
    hpa, history, now = autoscaler(), History(), NOW
    replicas, sizes = 4, []
    for _ in range(22):
        planned = plan(hpa, world(replicas, used(*[100] * replicas), now=now), history)
        history = planned.history
        if planned.rescale is not None:
            history = scaled(planned, replicas, now).history
            replicas = planned.rescale
        sizes.append(replicas)
        now += timedelta(seconds=15)
    assert sizes == [4] * 20 + [1] * 2, "what was found at the start counts as a proposal"


def test_the_highest_of_several_metrics_wins() -> None:
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100Mi"}},
    }
    both = [msgspec.to_builtins(HALF), memory]
    figures = Sample(NOW, timedelta(seconds=15), {"main": {"cpu": 500, "memory": (300 << 20) * 1000}})
    planned = plan(autoscaler(metrics=both), world(1, {"web-0": figures}), History())
    assert (planned.rescale, planned.why) == (3, "memory resource above target")
    assert [each.type for each in planned.status.currentMetrics or []] == ["Resource", "Resource"]


def test_a_metric_that_fails_stops_shrinking_but_not_growth() -> None:
    pods = {"type": "Pods", "pods": {"metric": {"name": "x"}, "target": {"type": "AverageValue", "averageValue": "1"}}}
    hpa = autoscaler(metrics=[msgspec.to_builtins(HALF), pods])
    assert plan(hpa, world(1, used(1000)), History()).rescale == 2
    failed = plan(hpa, world(2, used(100, 100)), History())
    assert failed.rescale is None
    assert truths(failed)["ScalingActive"] == ("False", "FailedGetPodsMetric")


def test_a_failure_is_told_once() -> None:
    hpa = autoscaler()
    planned = plan(hpa, world(1, {}), History())
    text = (
        "failed to get cpu utilization: unable to get metrics for resource cpu: "
        "no metrics returned from resource metrics API"
    )
    assert [(each.reason, each.message) for each in planned.told] == [
        ("FailedGetResourceMetric", text),
        (
            "FailedComputeMetricsReplicas",
            f"invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {text}",
        ),
    ]
    hpa.status = planned.status
    again = plan(hpa, world(1, {}, now=NOW + timedelta(seconds=15)), planned.history)
    assert (again.told, again.status) == ((), planned.status)


def test_what_has_no_scale_is_said() -> None:
    planned = planning.no_scale(autoscaler(), History(), 'deployments.apps "web" not found', NOW)
    assert truths(planned) == {"AbleToScale": ("False", "FailedGetScale")}
    assert [each.message for each in planned.told] == ['deployments.apps "web" not found']
    blind = planning.no_selector(autoscaler(), 1, History(), NOW)
    assert truths(blind)["ScalingActive"] == ("False", "InvalidSelector")
    wanted = plan(autoscaler(least=2), world(1, {}), History())
    refused = planning.not_scaled(autoscaler(), wanted, 1, "no", NOW)
    assert truths(refused)["AbleToScale"] == ("False", "FailedUpdateScale")
    assert "New size: 2" in refused.told[0].message


# --- behavior ---------------------------------------------------------------------------------------------------------


def policy(kind: str, value: int, period: int = 60) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": period}


def pace(behavior: Any, current: int, wanted: int, history: History | None = None, most: int = 100) -> tuple[int, str]:
    found = paced(autoscaler(1, most, behavior).spec, current, wanted, history or History(), NOW)
    return found.replicas, found.limit[0]


def test_policies_limit_growth() -> None:
    assert pace({}, 1, 50) == (5, "ScaleUpLimit"), "the default: four pods or twice as many, whichever is more"
    assert pace({}, 10, 50) == (20, "ScaleUpLimit")
    slow = {"scaleUp": {"policies": [policy("Pods", 2), policy("Percent", 10)]}}
    assert pace(slow, 10, 50) == (12, "ScaleUpLimit")
    assert pace({"scaleUp": {**slow["scaleUp"], "selectPolicy": "Min"}}, 10, 50) == (11, "ScaleUpLimit")
    assert pace({"scaleUp": {"selectPolicy": "Disabled"}}, 10, 50) == (10, "ScaleUpLimit")
    assert pace({}, 10, 50, most=15) == (15, "TooManyReplicas")


def test_what_changed_within_the_period_counts() -> None:
    slow = {"scaleUp": {"policies": [policy("Pods", 4)]}}
    grown = History().changed(3, NOW - timedelta(seconds=30))
    assert pace(slow, 13, 50, grown)[0] == 14
    assert pace(slow, 13, 50, History().changed(3, NOW - timedelta(seconds=61)))[0] == 17
    down = {"scaleDown": {"policies": [policy("Pods", 4)], "stabilizationWindowSeconds": 0}}
    assert pace(down, 13, 1, History().changed(-3, NOW - timedelta(seconds=30))) == (12, "ScaleDownLimit")
    assert pace(down, 13, 1, grown) == (9, "ScaleDownLimit"), "growth is no shrinking"


def test_policies_limit_shrinking() -> None:
    at_once = {"stabilizationWindowSeconds": 0}
    assert pace({"scaleDown": at_once}, 10, 0) == (1, "TooFewReplicas")
    assert pace({"scaleDown": {**at_once, "policies": [policy("Percent", 25)]}}, 10, 1) == (7, "ScaleDownLimit")
    assert pace({"scaleDown": {**at_once, "selectPolicy": "Disabled"}}, 10, 1) == (10, "ScaleDownLimit")


def test_windows() -> None:
    seen = History().proposed(3, NOW - timedelta(seconds=40)).proposed(8, NOW - timedelta(seconds=20))
    spec = autoscaler(1, 100, {"scaleUp": {"stabilizationWindowSeconds": 60}}).spec
    up = paced(spec, 2, 9, seen, NOW)
    assert (up.replicas, up.able[0]) == (3, "ScaleUpStabilized")
    down = paced(spec, 10, 2, seen, NOW)
    assert (down.replicas, down.able[0]) == (8, "ScaleDownStabilized")
    assert paced(spec, 10, 2, seen, NOW + timedelta(seconds=290)).replicas == 2


def test_a_tolerance_of_ones_own() -> None:
    wide = msgspec.convert(
        {"scaleUp": {"tolerance": "500m"}, "scaleDown": {}}, type(autoscaler(behavior={}).spec.behavior)
    )
    assert (tolerance_of(wide).up, tolerance_of(wide).down) == (0.5, 0.1)


# --- properties -------------------------------------------------------------------------------------------------------

LOADS = st.lists(st.integers(0, 8000), min_size=1, max_size=40)
BEHAVIORS = st.sampled_from(
    [
        None,
        {},
        {"scaleUp": {"policies": [policy("Pods", 1, 30)]}, "scaleDown": {"stabilizationWindowSeconds": 0}},
        {"scaleDown": {"policies": [policy("Percent", 10, 60)], "stabilizationWindowSeconds": 30}},
        {"scaleUp": {"stabilizationWindowSeconds": 60}, "scaleDown": {"selectPolicy": "Disabled"}},
    ]
)


def follow(loads: list[int], least: int, most: int, behavior: Any, replicas: int) -> list[int]:
    """Let the load (thousandths of a core in all) fall on whatever runs; return the sizes after each step."""
    hpa, history, now = autoscaler(least, most, behavior), History(), NOW
    sizes = []
    for load in loads:
        here = world(replicas, used(*[load // replicas] * replicas) if replicas else {}, now=now)
        planned = plan(hpa, here, history)
        history = planned.history
        if planned.rescale is not None:
            history = scaled(planned, replicas, now).history
            replicas = planned.rescale
        sizes.append(replicas)
        now += timedelta(seconds=15)
    return sizes


@settings(max_examples=60, deadline=None)
@given(LOADS, st.integers(1, 4), st.integers(0, 6), BEHAVIORS, st.integers(1, 12))
def test_never_outside_the_bounds(loads: list[int], least: int, more: int, behavior: Any, replicas: int) -> None:
    most = least + more
    assert all(least <= size <= most for size in follow(loads, least, most, behavior, replicas))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8000), min_size=2, max_size=20))
def test_no_shrinking_within_five_minutes_of_a_higher_proposal(loads: list[int]) -> None:
    sizes = follow(loads[:20], 1, 10, None, 3)
    assert sizes == sorted(sizes), "twenty steps are five minutes"


@settings(max_examples=40, deadline=None)
@given(st.integers(100, 8000), st.integers(1, 10))
def test_an_even_load_comes_to_rest(load: int, replicas: int) -> None:
    sizes = follow([load] * 60, 1, 10, None, replicas)
    assert len(set(sizes[-15:])) == 1
