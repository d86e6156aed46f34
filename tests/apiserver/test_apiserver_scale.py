"""`scale`: the replicas of a kind as an object of its own, written through to the object under its rules."""

from typing import Any

import httpx2
import pytest
from tests.apiserver.deployments import WEB, deployment

SCALE = f"{WEB}/scale"


@pytest.fixture(autouse=True)
async def web(http: httpx2.AsyncClient) -> None:
    query = {"fieldManager": "creator"}
    created = await http.post(WEB.rpartition("/")[0], json=deployment("web", replicas=2), params=query)
    assert created.status_code == 201, created.text


async def scaled(http: httpx2.AsyncClient, replicas: Any, *, version: str = "", **query: str) -> httpx2.Response:
    metadata = {"name": "web", "namespace": "a"} | ({"resourceVersion": version} if version else {})
    body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas}}
    return await http.put(SCALE, json=body, params=query)


async def test_a_scale_shows_the_replicas_and_whom_they_select(http: httpx2.AsyncClient) -> None:
    found = (await http.get(SCALE)).json()
    whole = (await http.get(WEB)).json()
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    assert found == {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {field: whole["metadata"][field] for field in shown},
        "spec": {"replicas": 2},
        "status": {"replicas": 0, "selector": "app=web"},
    }


async def test_a_write_changes_the_replicas_and_nothing_else(http: httpx2.AsyncClient) -> None:
    before = (await http.get(WEB)).json()
    answer = await scaled(http, 5, fieldManager="me")
    assert (answer.status_code, answer.json()["kind"], answer.json()["spec"]) == (200, "Scale", {"replicas": 5})
    after = (await http.get(WEB)).json()
    assert after["spec"] == {**before["spec"], "replicas": 5}
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    entry = after["metadata"]["managedFields"][-1]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("me", "Update", "apps/v1")
    assert (entry["subresource"], entry["fieldsV1"]) == ("scale", {"f:spec": {"f:replicas": {}}})


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/merge-patch+json", {"spec": {"replicas": 0}}),
        ("application/strategic-merge-patch+json", {"spec": {"replicas": 0}}),
        ("application/json-patch+json", [{"op": "replace", "path": "/spec/replicas", "value": 0}]),
    ],
)
async def test_each_patch_type_is_taken(http: httpx2.AsyncClient, media_type: str, body: Any) -> None:
    answer = await http.patch(SCALE, json=body, headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["spec"]) == (200, {"replicas": 0})
    assert (await http.get(WEB)).json()["spec"]["replicas"] == 0


async def test_an_apply_meets_the_owner_of_the_replicas(http: httpx2.AsyncClient) -> None:
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web", "namespace": "a"},
        "spec": {"replicas": 3},
    }
    headers = {"content-type": "application/apply-patch+yaml"}
    refused = await http.patch(SCALE, json=body, headers=headers, params={"fieldManager": "other"})
    assert refused.status_code == 409
    assert ".spec.replicas" in refused.json()["message"]
    forced = await http.patch(SCALE, json=body, headers=headers, params={"fieldManager": "other", "force": "true"})
    assert (forced.status_code, forced.json()["spec"]) == (200, {"replicas": 3})
    owners = (await http.get(WEB)).json()["metadata"]["managedFields"]
    found = [own for own in owners if own["manager"] == "other"]
    assert [(own["operation"], own.get("subresource")) for own in found] == [("Apply", "scale")]


async def test_an_old_version_is_refused_and_so_is_less_than_nothing(http: httpx2.AsyncClient) -> None:
    version = (await http.get(SCALE)).json()["metadata"]["resourceVersion"]
    assert (await scaled(http, 4, version=version)).status_code == 200
    late = await scaled(http, 5, version=version)
    assert (late.status_code, late.json()["reason"]) == (409, "Conflict")
    assert late.json()["message"].startswith('Operation cannot be fulfilled on deployments.apps "web": the object has')
    negative = await scaled(http, -1)
    assert negative.status_code == 422
    assert negative.json()["message"] == (
        'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )
    assert (await scaled(http, "many")).status_code == 400
    assert (await http.get(SCALE)).json()["spec"] == {"replicas": 4}


async def test_a_dry_run_changes_nothing(http: httpx2.AsyncClient) -> None:
    assert (await scaled(http, 9, dryRun="All")).json()["spec"] == {"replicas": 9}
    assert (await http.get(SCALE)).json()["spec"] == {"replicas": 2}


async def test_what_is_not_there_cannot_be_scaled(http: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/merge-patch+json"}
    for method, body in (("GET", None), ("PATCH", {"spec": {"replicas": 1}})):
        answer = await http.request(method, SCALE.replace("web", "wob"), json=body, headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (404, 'deployments.apps "wob" not found')
    assert (await http.post(SCALE, json={})).status_code == 405
