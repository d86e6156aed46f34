"""The verbs of the API, kind by kind where kinds differ, in the words that clients see."""

from typing import Any

import httpx2
import pytest

CONFIG_MAP: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}
MAPS = "/api/v1/namespaces/a/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}


def deployment(**spec: Any) -> dict[str, Any]:
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


DEPLOYMENTS = "/apis/apps/v1/namespaces/a/deployments"


async def test_create_fills_what_the_server_owns(http: httpx2.AsyncClient) -> None:
    given = {**CONFIG_MAP, "metadata": {"name": "c", "uid": "mine", "generation": 9, "creationTimestamp": None}}
    made = (await http.post(MAPS, json=given)).json()
    meta = made["metadata"]
    assert (meta["name"], meta["namespace"]) == ("c", "a")
    assert meta["uid"] != "mine"
    assert meta["resourceVersion"].isdigit()
    assert meta["creationTimestamp"].endswith("Z")
    assert (await http.get(f"{MAPS}/c")).json() == made


async def test_generate_name(http: httpx2.AsyncClient) -> None:
    made = await http.post(MAPS, json={"metadata": {"generateName": "c-"}})
    name = made.json()["metadata"]["name"]
    assert name.startswith("c-")
    assert len(name) == 7


async def test_a_second_create_is_refused_in_the_servers_words(http: httpx2.AsyncClient) -> None:
    await http.post(MAPS, json=CONFIG_MAP)
    again = await http.post(MAPS, json=CONFIG_MAP)
    assert again.status_code == 409
    assert again.json()["reason"] == "AlreadyExists"
    assert again.json()["message"] == 'configmaps "c" already exists'


async def test_missing_objects_kinds_and_namespaces(http: httpx2.AsyncClient) -> None:
    missing = await http.get(f"{MAPS}/nope")
    assert (missing.status_code, missing.json()["message"]) == (404, 'configmaps "nope" not found')
    assert (await http.get("/apis/batch/v1/cronjobs")).status_code == 404
    nowhere = await http.post("/api/v1/namespaces/nowhere/configmaps", json=CONFIG_MAP)
    assert (nowhere.status_code, nowhere.json()["message"]) == (404, 'namespaces "nowhere" not found')
    empty = await http.get("/api/v1/namespaces/nowhere/configmaps")
    assert empty.json()["items"] == []


async def test_an_update_against_an_old_version_conflicts(http: httpx2.AsyncClient) -> None:
    first = (await http.post(MAPS, json=CONFIG_MAP)).json()
    second = await http.put(f"{MAPS}/c", json={**first, "data": {"k": "2"}})
    assert second.status_code == 200
    stale = await http.put(f"{MAPS}/c", json={**first, "data": {"k": "3"}})
    assert stale.status_code == 409
    assert stale.json()["message"] == (
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    without = {key: value for key, value in first["metadata"].items() if key != "resourceVersion"}
    unconditional = await http.put(f"{MAPS}/c", json={**first, "metadata": without, "data": {"k": "4"}})
    assert unconditional.status_code == 200


async def test_a_write_that_changes_nothing_makes_no_version(http: httpx2.AsyncClient) -> None:
    first = (await http.post(MAPS, json=CONFIG_MAP)).json()
    same = (await http.patch(f"{MAPS}/c", json={"data": {"k": "v"}}, headers=MERGE)).json()
    assert same["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_generation_counts_changes_of_the_spec_only(http: httpx2.AsyncClient) -> None:
    made = (await http.post(DEPLOYMENTS, json=deployment())).json()
    assert made["metadata"]["generation"] == 1
    labelled = await http.patch(f"{DEPLOYMENTS}/d", json={"metadata": {"labels": {"x": "y"}}}, headers=MERGE)
    assert labelled.json()["metadata"]["generation"] == 1
    scaled = await http.patch(f"{DEPLOYMENTS}/d", json={"spec": {"replicas": 3}}, headers=MERGE)
    assert scaled.json()["metadata"]["generation"] == 2


async def test_status_is_written_through_its_own_path_only(http: httpx2.AsyncClient) -> None:
    await http.post(DEPLOYMENTS, json={**deployment(), "status": {"replicas": 7}})
    assert not (await http.get(f"{DEPLOYMENTS}/d")).json().get("status")
    await http.patch(f"{DEPLOYMENTS}/d", json={"status": {"replicas": 7}}, headers=MERGE)
    assert not (await http.get(f"{DEPLOYMENTS}/d")).json().get("status")
    body = {"status": {"replicas": 2}, "spec": {"replicas": 9}, "metadata": {"labels": {"sneaky": "yes"}}}
    await http.patch(f"{DEPLOYMENTS}/d/status", json=body, headers=MERGE)
    item = (await http.get(f"{DEPLOYMENTS}/d")).json()
    assert item["status"] == {"replicas": 2}
    assert item["spec"]["replicas"] == 1
    assert "labels" not in item["metadata"]


async def test_defaults_are_those_of_a_real_server(http: httpx2.AsyncClient) -> None:
    spec = (await http.post(DEPLOYMENTS, json=deployment())).json()["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["dnsPolicy"], pod["terminationGracePeriodSeconds"]) == (
        "Always",
        "ClusterFirst",
        30,
    )
    assert pod["containers"][0]["imagePullPolicy"] == "IfNotPresent"


async def test_strategic_merge_knows_lists_by_their_keys(http: httpx2.AsyncClient) -> None:
    await http.post(DEPLOYMENTS, json=deployment())
    patch = {
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}, {"name": "x", "image": "x:1"}]}}}
    }
    changed = await http.patch(f"{DEPLOYMENTS}/d", json=patch, headers=STRATEGIC)
    images = {one["name"]: one["image"] for one in changed.json()["spec"]["template"]["spec"]["containers"]}
    assert images == {"c": "i:2", "x": "x:1"}


async def test_custom_kinds_take_no_strategic_patch(http: httpx2.AsyncClient) -> None:
    """kubectl relies on this answer: it falls back to a merge patch."""
    path = "/apis/route.openshift.io/v1/namespaces/a/routes"
    await http.post(path, json={"metadata": {"name": "r"}, "spec": {"to": {"name": "s"}, "host": "r.example.com"}})
    answer = await http.patch(f"{path}/r", json={"metadata": {"labels": {"a": "b"}}}, headers=STRATEGIC)
    assert answer.status_code == 415


async def test_json_patch_with_test(http: httpx2.AsyncClient) -> None:
    await http.post(MAPS, json=CONFIG_MAP)
    right = [{"op": "test", "path": "/data/k", "value": "v"}, {"op": "replace", "path": "/data/k", "value": "w"}]
    assert (await http.patch(f"{MAPS}/c", json=right, headers=JSON_PATCH)).json()["data"] == {"k": "w"}
    wrong = await http.patch(f"{MAPS}/c", json=right, headers=JSON_PATCH)
    assert wrong.status_code == 422


async def test_an_apply_in_cbor_is_refused_with_what_is_taken(http: httpx2.AsyncClient) -> None:
    created = await http.post(MAPS, json={"metadata": {"name": "c"}})
    assert created.status_code == 201, created.text
    answer = await http.patch(f"{MAPS}/c", content=b"{}", headers={"content-type": "application/apply-patch+cbor"})
    assert answer.status_code == 415
    assert "application/apply-patch+yaml" in answer.json()["message"]


@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
async def test_unknown_fields_by_field_validation(http: httpx2.AsyncClient, mode: str) -> None:
    body = deployment(replicaz=3)
    answer = await http.post(f"{DEPLOYMENTS}?fieldValidation={mode}", json=body)
    if mode == "Strict":
        assert answer.status_code == 400
        assert answer.json()["message"].endswith('strict decoding error: unknown field "spec.replicaz"')
    else:
        assert answer.status_code == 201
        assert ('unknown field \\"spec.replicaz\\"' in answer.headers.get("warning", "")) is (mode == "Warn")


async def test_misspelled_field_of_an_inference_service(http: httpx2.AsyncClient) -> None:
    body = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "m"},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "onnx"}, "storageUrl": "oci://x"}}},
    }
    path = "/apis/serving.kserve.io/v1beta1/namespaces/a/inferenceservices"
    answer = await http.post(f"{path}?fieldValidation=Strict", json=body)
    assert answer.json()["message"] == (
        'InferenceService in version "v1beta1" cannot be handled as a InferenceService: '
        'strict decoding error: unknown field "spec.predictor.model.storageUrl"'
    )


async def test_wrong_types_and_bad_bodies_are_400(http: httpx2.AsyncClient) -> None:
    wrong = await http.post(DEPLOYMENTS, json=deployment(replicas="three"))
    assert wrong.status_code == 400
    assert "spec.replicas" in wrong.json()["message"]
    assert (await http.post(MAPS, content=b"{half", headers={"content-type": "application/json"})).status_code == 400
    assert (await http.post(MAPS, content=b"[]", headers={"content-type": "application/json"})).status_code == 400
    assert (await http.post(MAPS, content=b"x", headers={"content-type": "text/csv"})).status_code == 415
    other = await http.post(MAPS, json={**CONFIG_MAP, "kind": "Secret"})
    assert other.status_code == 400


async def test_bad_names_are_422_in_kubernetes_words(http: httpx2.AsyncClient) -> None:
    answer = await http.post(MAPS, json={**CONFIG_MAP, "metadata": {"name": "X_y"}})
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(
        'ConfigMap "X_y" is invalid: metadata.name: Invalid value: "X_y": a lowercase RFC 1123 subdomain must'
    )
    assert answer.json()["details"]["causes"][0]["field"] == "metadata.name"


async def test_dry_run_answers_and_stores_nothing(http: httpx2.AsyncClient) -> None:
    made = await http.post(f"{MAPS}?dryRun=All", json=CONFIG_MAP)
    assert made.status_code == 201
    assert (await http.get(f"{MAPS}/c")).status_code == 404
    await http.post(MAPS, json=CONFIG_MAP)
    await http.patch(f"{MAPS}/c?dryRun=All", json={"data": {"k": "dry"}}, headers=MERGE)
    await http.delete(f"{MAPS}/c?dryRun=All")
    assert (await http.get(f"{MAPS}/c")).json()["data"] == {"k": "v"}


async def test_lists_by_labels_fields_and_pages(http: httpx2.AsyncClient) -> None:
    for number in range(5):
        labels = {"even": str(number % 2 == 0).lower()}
        await http.post(MAPS, json={"metadata": {"name": f"m{number}", "labels": labels}})
    even = (await http.get(MAPS, params={"labelSelector": "even=true"})).json()["items"]
    assert [item["metadata"]["name"] for item in even] == ["m0", "m2", "m4"]
    one = (await http.get(MAPS, params={"fieldSelector": "metadata.name=m3"})).json()["items"]
    assert [item["metadata"]["name"] for item in one] == ["m3"]
    page = (await http.get(MAPS, params={"limit": "2"})).json()
    assert page["metadata"]["remainingItemCount"] == 3
    rest = (await http.get(MAPS, params={"limit": "9", "continue": page["metadata"]["continue"]})).json()
    assert [item["metadata"]["name"] for item in rest["items"]] == ["m2", "m3", "m4"]
    assert (await http.get(MAPS, params={"fieldSelector": "data.k=v"})).status_code == 400
    assert (await http.get(MAPS, params={"labelSelector": "a=="})).status_code in {200, 400}


async def test_the_body_may_not_contradict_the_path(http: httpx2.AsyncClient) -> None:
    other = await http.post(MAPS, json={**CONFIG_MAP, "metadata": {"name": "c", "namespace": "b"}})
    assert other.status_code == 400
    assert "does not match the namespace" in other.json()["message"]
    await http.post(MAPS, json=CONFIG_MAP)
    renamed = await http.put(f"{MAPS}/c", json={**CONFIG_MAP, "metadata": {"name": "d"}})
    assert renamed.status_code == 400


async def test_yaml_bodies(http: httpx2.AsyncClient) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  k: v\n"
    made = await http.post(MAPS, content=text, headers={"content-type": "application/yaml"})
    assert (made.status_code, made.json()["data"]) == (201, {"k": "v"})


async def test_nobody_without_a_token(app: Any) -> None:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as outside:
        assert (await outside.get("/readyz")).text == "ok"
        refused = await outside.get("/api/v1/namespaces")
        assert (refused.status_code, refused.json()["reason"]) == (401, "Unauthorized")
        wrong = await outside.get("/api/v1/namespaces", headers={"authorization": "Bearer guess"})
        assert wrong.status_code == 401
        right = await outside.get("/api/v1/namespaces", headers={"authorization": "Bearer secret"})
        assert right.status_code == 200
