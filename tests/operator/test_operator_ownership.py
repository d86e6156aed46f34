"""What an existing Deployment keeps, and what of it is put right."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.operator.builders import AVAILABLE, deployed, existing, isvc, planned, step

from skerry.machinery.merge import merge_patch
from skerry.operator.ownership import LAST_RENDERED_ANNOTATION, change, covers, with_record

Json = dict[str, Any]


def patch_for(service: Json, deployment: Json, **world: Any) -> Json:
    result = planned(service, deployment=deployment, **world)
    found = [item.body for item in result.steps if item.kind == "Deployment"]
    return found[0] if found else {}


def running() -> Json:
    return deployed(planned(), ready=1, Available=AVAILABLE)


def test_restart_scale_and_labels_of_others_are_kept() -> None:
    deployment = merge_patch(
        running(),
        {
            "metadata": {"labels": {"team": "vision"}, "annotations": {"deployment.kubernetes.io/revision": "2"}},
            "spec": {
                "replicas": 3,
                "template": {
                    "metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-03-12T16:00:00Z"}}
                },
            },
        },
    )
    assert patch_for(isvc(), deployment) == {}
    changed = patch_for(isvc(args=["--layout=NCHW"]), deployment)
    assert set(changed["spec"]) == {"template"}
    assert set(changed["spec"]["template"]) == {"spec"}


def test_server_defaults_and_canonical_amounts_are_no_difference() -> None:
    service = isvc(resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 1}})
    deployment = deployed(planned(service))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}}
    container["readinessProbe"]["httpGet"]["httpHeaders"] = None
    deployment["spec"]["minReadySeconds"] = 0
    assert patch_for(service, deployment) == {}


def test_edit_of_an_owned_field_is_put_right() -> None:
    deployment = running()
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"
    patch = patch_for(isvc(), deployment)
    assert patch["spec"]["template"]["spec"]["containers"][0]["image"].startswith("quay.io/opendatahub/")


def test_what_is_no_longer_said_is_removed() -> None:
    service = isvc(env=[{"name": "A", "value": "1"}])
    service["spec"]["predictor"]["nodeSelector"] = {"gpu": "yes"}
    service["metadata"]["labels"] = {"tier": "gold"}
    deployment = deployed(planned(service))
    patch = patch_for(isvc(), deployment)
    after = merge_patch(deployment, patch)
    template = after["spec"]["template"]
    assert "env" not in template["spec"]["containers"][0]
    assert "nodeSelector" not in template["spec"]
    assert "tier" not in after["metadata"]["labels"]
    assert "tier" not in template["metadata"]["labels"]
    assert patch_for(isvc(), after) == {}


def test_strategy_can_be_changed() -> None:
    service = isvc()
    service["spec"]["predictor"]["deploymentStrategy"] = {"type": "Recreate"}
    after = merge_patch(running(), patch_for(service, running()))
    assert after["spec"]["strategy"] == {"type": "Recreate"}


def test_display_name_and_control_annotations_do_not_restart_the_model() -> None:
    service = isvc()
    service["metadata"]["annotations"] = {
        "openshift.io/display-name": "Bees",
        "argocd.argoproj.io/sync-wave": "1",
        "serving.kserve.io/autoscalerClass": "external",
    }
    patch = patch_for(service, running())
    assert "spec" not in patch
    assert patch["metadata"]["annotations"]["openshift.io/display-name"] == "Bees"


def test_annotation_that_pods_read_does() -> None:
    service = isvc()
    service["metadata"]["annotations"] = {"prometheus.io/scrape": "true"}
    patch = patch_for(service, running())
    assert patch["spec"]["template"]["metadata"]["annotations"] == {"prometheus.io/scrape": "true"}


def test_damaged_record_does_no_harm() -> None:
    for record in ("", "{", "[]"):
        deployment = merge_patch(running(), {"metadata": {"annotations": {LAST_RENDERED_ANNOTATION: record}}})
        patch = patch_for(isvc(), deployment)
        assert set(patch) == {"metadata"}
        assert json.loads(patch["metadata"]["annotations"][LAST_RENDERED_ANNOTATION])


def replicas(current: int, *, scaler: str | None = None, **predictor: Any) -> int | None:
    service = isvc()
    service["spec"]["predictor"].update(predictor)
    if scaler:
        service["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": scaler}
    deployment = deployed(planned(service), replicas=current)
    found: int | None = patch_for(service, deployment).get("spec", {}).get("replicas")
    return found


def test_replicas_are_the_autoscalers_unless_there_is_none() -> None:
    assert replicas(3) is None
    assert replicas(1, minReplicas=2) is None
    assert replicas(5, minReplicas=1, maxReplicas=3) is None
    assert replicas(5, scaler="none", minReplicas=2) == 2
    assert replicas(1, scaler="none", minReplicas=0) == 0
    assert replicas(5, scaler="none") is None
    assert replicas(1, scaler="external", minReplicas=2) is None


def test_first_replicas() -> None:
    def first(**predictor: Any) -> Any:
        service = isvc()
        service["spec"]["predictor"].update(predictor)
        return step(planned(service), "Deployment").body["spec"].get("replicas")

    assert (first(), first(minReplicas=3), first(minReplicas=0)) == (None, 3, 1)


def test_service_keeps_its_address() -> None:
    created = step(planned(), "Service").body
    service = existing(created, spec={"clusterIP": "10.43.0.9"})
    scaler = existing(step(planned(), "HorizontalPodAutoscaler").body)
    result = planned(existing_service=service, deployment=running(), autoscaler=scaler)
    assert result.steps == ()
    assert result.status["url"] == "http://ovms-resnet50-predictor.ai-demo.svc.cluster.local"


JSON = st.recursive(
    st.integers(0, 2) | st.sampled_from("ab") | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
SPEC = st.dictionaries(st.sampled_from("xyz"), JSON, max_size=3)


def rendered(spec: Json) -> Json:
    return {"metadata": {"name": "d", "labels": {"app": "d"}, "annotations": {"a": "b"}}, "spec": spec}


@given(SPEC, SPEC)
def test_one_patch_brings_any_object_to_any_rendering(before: Json, after: Json) -> None:
    present = with_record(rendered(before))
    patched = merge_patch(present, change(present, rendered(after)))
    assert covers(patched["spec"], after)
    assert change(patched, rendered(after)) == {}


@given(SPEC, SPEC)
def test_what_nobody_rendered_stays(before: Json, after: Json) -> None:
    present = merge_patch(
        with_record(rendered(before)), {"spec": {"foreign": 1}, "metadata": {"labels": {"team": "v"}}}
    )
    patched = merge_patch(present, change(present, rendered(after)))
    assert (patched["spec"]["foreign"], patched["metadata"]["labels"]["team"]) == (1, "v")
