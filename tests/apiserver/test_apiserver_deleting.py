"""Deletion: at once, by grace period, by finalizer; collections, preconditions, namespaces."""

from typing import Any

import httpx2

MAPS = "/api/v1/namespaces/a/configmaps"
PODS = "/api/v1/namespaces/a/pods"
MERGE = {"content-type": "application/merge-patch+json"}


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}


async def delete(http: httpx2.AsyncClient, path: str, **options: Any) -> httpx2.Response:
    return await http.request("DELETE", path, json=options)


async def test_plain_objects_go_at_once(http: httpx2.AsyncClient) -> None:
    await http.post(MAPS, json={"metadata": {"name": "c"}})
    answer = await delete(http, f"{MAPS}/c")
    assert (answer.status_code, answer.json()["status"]) == (200, "Success")
    assert (await http.get(f"{MAPS}/c")).status_code == 404
    assert (await delete(http, f"{MAPS}/c")).status_code == 404


async def test_a_finalizer_holds_the_object_until_it_is_taken_off(http: httpx2.AsyncClient) -> None:
    await http.post(MAPS, json={"metadata": {"name": "c", "finalizers": ["example.com/hold"]}})
    held = (await delete(http, f"{MAPS}/c")).json()
    assert held["metadata"]["deletionTimestamp"]
    more = await http.patch(
        f"{MAPS}/c", json={"metadata": {"finalizers": ["example.com/hold", "x.com/y"]}}, headers=MERGE
    )
    assert more.status_code == 422
    await http.patch(f"{MAPS}/c", json={"metadata": {"finalizers": None}}, headers=MERGE)
    assert (await http.get(f"{MAPS}/c")).status_code == 404


async def test_a_pod_on_a_node_gets_its_grace_period(http: httpx2.AsyncClient) -> None:
    await http.post(PODS, json=pod(terminationGracePeriodSeconds=7))
    bound = await http.post(f"{PODS}/p/binding", json={"target": {"name": "n"}, "metadata": {"name": "p"}})
    assert bound.status_code == 201
    ending = (await delete(http, f"{PODS}/p")).json()
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 7
    await delete(http, f"{PODS}/p", gracePeriodSeconds=30)
    assert (await http.get(f"{PODS}/p")).json()["metadata"]["deletionGracePeriodSeconds"] == 7
    final = await delete(http, f"{PODS}/p", gracePeriodSeconds=0)
    assert final.json()["status"] == "Success"
    assert (await http.get(f"{PODS}/p")).status_code == 404


async def test_a_pod_without_a_node_goes_at_once(http: httpx2.AsyncClient) -> None:
    await http.post(PODS, json=pod())
    await delete(http, f"{PODS}/p")
    assert (await http.get(f"{PODS}/p")).status_code == 404


async def test_binding_twice_to_different_nodes_conflicts(http: httpx2.AsyncClient) -> None:
    await http.post(PODS, json=pod())
    await http.post(f"{PODS}/p/binding", json={"target": {"name": "n"}})
    item = (await http.get(f"{PODS}/p")).json()
    assert item["spec"]["nodeName"] == "n"
    assert {"PodScheduled": "True"} == {one["type"]: one["status"] for one in item["status"]["conditions"]}
    assert (await http.post(f"{PODS}/p/binding", json={"target": {"name": "other"}})).status_code == 409


async def test_preconditions_and_propagation(http: httpx2.AsyncClient) -> None:
    made = (await http.post(MAPS, json={"metadata": {"name": "c"}})).json()
    wrong = await delete(http, f"{MAPS}/c", preconditions={"uid": "another"})
    assert wrong.status_code == 409
    assert "the UID in the precondition (another) does not match the UID in record" in wrong.json()["message"]
    held = await delete(
        http, f"{MAPS}/c", propagationPolicy="Foreground", preconditions={"uid": made["metadata"]["uid"]}
    )
    assert held.json()["metadata"]["finalizers"] == ["foregroundDeletion"]
    sideways = await delete(http, f"{MAPS}/c", propagationPolicy="Sideways")
    assert (sideways.status_code, sideways.json()["message"]) == (
        422,
        (
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": '
            'supported values: "Background", "Foreground", "Orphan", "nil"'
        ),
    )


async def test_a_collection_by_selector(http: httpx2.AsyncClient) -> None:
    for number in range(3):
        await http.post(MAPS, json={"metadata": {"name": f"m{number}", "labels": {"n": str(number)}}})
    answer = await http.request("DELETE", MAPS, params={"labelSelector": "n in (0,2)"})
    assert len(answer.json()["items"]) == 2
    left = (await http.get(MAPS)).json()["items"]
    assert [item["metadata"]["name"] for item in left] == ["m1"]


async def test_a_namespace_ends_when_it_is_finalized(http: httpx2.AsyncClient) -> None:
    ending = (await delete(http, "/api/v1/namespaces/a")).json()
    assert ending["status"]["phase"] == "Terminating"
    refused = await http.post(MAPS, json={"metadata": {"name": "late"}})
    assert refused.status_code == 403
    assert "because it is being terminated" in refused.json()["message"]
    body = {**ending, "spec": {"finalizers": []}}
    await http.put("/api/v1/namespaces/a/finalize", json=body)
    assert (await http.get("/api/v1/namespaces/a")).status_code == 404
