"""The API server: who owns what after each sort of write, and what an apply answers.

`outside` is a client of the network (with a token), `inside` a part of this process.
"""

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.apiserver.conftest import no_logs

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.kit.clock import SystemClock

APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
MAPS = "/api/v1/namespaces/a/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/a/deployments"
ISVCS = "/apis/serving.kserve.io/v1beta1/namespaces/a/inferenceservices"


class OutsideTransport(InProcessTransport):
    """Calls the application as a server on the network would."""

    def _scope(self, request: httpx2.Request) -> MutableMapping[str, Any]:
        return {**super()._scope(request), "extensions": {}}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[ApiServer]:
    store = Store.open(tmp_path / "store.db")
    yield ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens({token_hash("secret"): "admin"}), no_logs))
    store.close()


@pytest.fixture
async def inside(app: ApiServer) -> AsyncIterator[httpx2.AsyncClient]:
    transport = InProcessTransport(app, "admin")
    async with httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=10) as client:
        yield client


@pytest.fixture
async def outside(app: ApiServer, inside: httpx2.AsyncClient) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"authorization": "Bearer secret", "user-agent": "tester/1.0 (linux)"}
    transport = OutsideTransport(app, "nobody")
    async with httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=10, headers=headers) as client:
        created = await client.post("/api/v1/namespaces", json={"metadata": {"name": "a"}})
        assert created.status_code == 201, created.text
        yield client


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "main", "image": "i:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"x": "y"}}, "template": template, **spec},
    }


async def apply(
    client: httpx2.AsyncClient, path: str, config: dict[str, Any], manager: str, code: int = 200, **query: str
) -> dict[str, Any]:
    where = f"{path}/{config['metadata']['name']}"
    answer = await client.patch(where, json=config, headers=APPLY, params={"fieldManager": manager, **query})
    assert answer.status_code == code, answer.text
    decoded: dict[str, Any] = answer.json()
    return decoded


def owners(item: dict[str, Any]) -> dict[str, Any]:
    """Return the sets by `NAME OPERATION[ SUBRESOURCE]`."""
    return {
        " ".join(filter(None, (entry["manager"], entry["operation"], entry.get("subresource")))): entry["fieldsV1"]
        for entry in item["metadata"].get("managedFields", [])
    }


async def test_an_apply_creates_what_is_missing(outside: httpx2.AsyncClient) -> None:
    item = await apply(outside, MAPS, config_map(k="v"), "me", 201)
    assert item["metadata"]["uid"]
    assert owners(item) == {"me Apply": {"f:data": {"f:k": {}}}}
    again = await apply(outside, MAPS, config_map(k="v"), "me", 200)
    assert again == item


async def test_each_write_leaves_its_owner(outside: httpx2.AsyncClient) -> None:
    made = (await outside.post(MAPS, json=config_map(a="1", b="1", c="1", d="1"))).json()
    assert owners(made) == {"tester Update": {"f:data": {".": {}, "f:a": {}, "f:b": {}, "f:c": {}, "f:d": {}}}}
    changed = {**made, "data": {**made["data"], "a": "2"}}
    put = (await outside.put(f"{MAPS}/c?fieldManager=putter", json=changed)).json()
    assert owners(put)["putter Update"] == {"f:data": {"f:a": {}}}
    merged = await outside.patch(f"{MAPS}/c?fieldManager=merger", json={"data": {"b": "2"}}, headers=MERGE)
    assert owners(merged.json())["merger Update"] == {"f:data": {"f:b": {}}}
    operations = [{"op": "replace", "path": "/data/c", "value": "2"}]
    patched = await outside.patch(f"{MAPS}/c?fieldManager=patcher", json=operations, headers=JSON_PATCH)
    assert owners(patched.json()) == {
        "tester Update": {"f:data": {".": {}, "f:d": {}}},
        "putter Update": {"f:data": {"f:a": {}}},
        "merger Update": {"f:data": {"f:b": {}}},
        "patcher Update": {"f:data": {"f:c": {}}},
    }


async def test_a_put_without_managed_fields_forgets_nobody(outside: httpx2.AsyncClient) -> None:
    made = (await outside.post(MAPS, json=config_map(a="1"))).json()
    item = config_map(a="1", b="2")
    put = (await outside.put(f"{MAPS}/c?fieldManager=putter", json=item)).json()
    assert owners(put) == {"tester Update": owners(made)["tester Update"], "putter Update": {"f:data": {"f:b": {}}}}


async def test_a_conflict_names_field_and_owner(outside: httpx2.AsyncClient) -> None:
    await outside.post(f"{DEPLOYMENTS}?fieldManager=kubectl", json=deployment(replicas=1))
    answer = await apply(outside, DEPLOYMENTS, deployment(replicas=3), "me", 409)
    assert answer["message"] == 'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas'
    assert answer["reason"] == "Conflict"
    assert answer["details"] == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl" using apps/v1',
                "field": ".spec.replicas",
            }
        ]
    }
    forced = await apply(outside, DEPLOYMENTS, deployment(replicas=3), "me", force="true")
    assert forced["spec"]["replicas"] == 3
    assert forced["metadata"]["generation"] == 2


async def test_a_withdrawn_field_falls_back_to_its_default(outside: httpx2.AsyncClient) -> None:
    item = await apply(outside, DEPLOYMENTS, deployment(replicas=3, minReadySeconds=5), "me", 201)
    assert item["spec"]["progressDeadlineSeconds"] == 600
    less = await apply(outside, DEPLOYMENTS, deployment(), "me")
    assert less["spec"]["replicas"] == 1
    assert "minReadySeconds" not in less["spec"]
    assert "f:replicas" not in owners(less)["me Apply"]["f:spec"]


async def test_status_has_owners_of_its_own(outside: httpx2.AsyncClient) -> None:
    await apply(outside, DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}}, "me", 201)
    change = {"status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]}}
    answer = await outside.patch(f"{DEPLOYMENTS}/d/status?fieldManager=ctl", json=change, headers=MERGE)
    item = answer.json()
    assert "f:status" not in owners(item)["me Apply"]
    assert owners(item)["ctl Update status"] == {
        "f:status": {
            "f:conditions": {".": {}, 'k:{"type":"Available"}': {".": {}, "f:status": {}, "f:type": {}}},
            "f:replicas": {},
        }
    }
    config = {**deployment(replicas=7), "status": {"replicas": 2}}
    refused = await outside.patch(f"{DEPLOYMENTS}/d/status?fieldManager=other", json=config, headers=APPLY)
    assert refused.json()["message"] == (
        'Apply failed with 1 conflict: conflict with "ctl" with subresource "status" using apps/v1: .status.replicas'
    )
    forced = await outside.patch(f"{DEPLOYMENTS}/d/status?fieldManager=other&force=true", json=config, headers=APPLY)
    assert forced.json()["status"]["replicas"] == 2
    assert forced.json()["spec"]["replicas"] == 1
    assert owners(forced.json())["other Apply status"] == {"f:status": {"f:replicas": {}}}


async def test_a_status_of_nothing_is_not_created(outside: httpx2.AsyncClient) -> None:
    answer = await outside.patch(f"{DEPLOYMENTS}/d/status?fieldManager=x", json=deployment(), headers=APPLY)
    assert answer.status_code == 404


async def test_dry_run_shows_and_stores_nothing(outside: httpx2.AsyncClient) -> None:
    item = await apply(outside, MAPS, config_map(k="v"), "me", 201, dryRun="All")
    assert owners(item) == {"me Apply": {"f:data": {"f:k": {}}}}
    assert (await outside.get(f"{MAPS}/c")).status_code == 404
    await apply(outside, MAPS, config_map(k="v"), "me", 201)
    shown = await apply(outside, MAPS, config_map(k="w"), "me", dryRun="All")
    assert shown["data"] == {"k": "w"}
    assert (await outside.get(f"{MAPS}/c")).json()["data"] == {"k": "v"}


async def test_an_apply_that_changes_nothing_writes_nothing(outside: httpx2.AsyncClient) -> None:
    item = await apply(outside, DEPLOYMENTS, deployment(replicas=2), "me", 201)
    again = await apply(outside, DEPLOYMENTS, deployment(replicas=2), "me")
    assert again["metadata"]["resourceVersion"] == item["metadata"]["resourceVersion"]
    shared = await apply(outside, DEPLOYMENTS, deployment(replicas=2), "other")
    assert shared["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]
    assert shared["metadata"]["generation"] == 1


async def test_yaml_is_taken_and_a_name_is_not_needed(outside: httpx2.AsyncClient) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {labels: {since: 2026-01-01}}\ndata:\n  k: 'on'\n"
    answer = await outside.patch(f"{MAPS}/c?fieldManager=me", content=text.encode(), headers=APPLY)
    assert answer.status_code == 201, answer.text
    assert answer.json()["metadata"]["name"] == "c"
    assert answer.json()["metadata"]["labels"] == {"since": "2026-01-01"}


@pytest.mark.parametrize(
    ("query", "body", "code", "message"),
    [
        (
            "",
            config_map(),
            422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        ),
        ("fieldManager=" + "x" * 129, config_map(), 422, "Too long: may not be more than 128 bytes"),
        ("fieldManager=a%01b", config_map(), 422, "invalid character U+0001 (at position 1)"),
        ("fieldManager=me", {**config_map(), "apiVersion": "v2"}, 400, "Incorrect version specified in apply patch."),
        ("fieldManager=me", {**config_map(), "kind": "Secret"}, 400, "cannot be handled as a ConfigMap"),
        ("fieldManager=me", config_map("other"), 400, "does not match the name on the URL"),
        ("fieldManager=me", {**config_map(), "datum": {}}, 500, ".datum: field not declared in schema"),
        (
            "fieldManager=me",
            {**config_map(), "metadata": {"name": "c", "managedFields": []}},
            400,
            "metadata.managedFields must be nil",
        ),
        ("fieldManager=me", {**config_map(), "metadata": {"name": "c", "uid": "1"}}, 409, "uid mismatch: the provided"),
        ("fieldManager=me", [], 400, "error decoding YAML"),
        ("fieldManager=me", {**config_map(), "metadata": {"name": "c", "namespace": "b"}}, 400, "does not match"),
    ],
)
async def test_what_cannot_be_applied(
    outside: httpx2.AsyncClient, query: str, body: Any, code: int, message: str
) -> None:
    answer = await outside.patch(f"{MAPS}/c?{query}", json=body, headers=APPLY)
    assert answer.status_code == code, answer.text
    assert message in answer.json()["message"]


async def test_force_is_for_applies_only(outside: httpx2.AsyncClient) -> None:
    await outside.post(MAPS, json=config_map())
    answer = await outside.patch(f"{MAPS}/c?force=true", json={}, headers=MERGE)
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
    )


async def test_an_apply_can_insist_on_a_version(outside: httpx2.AsyncClient) -> None:
    item = await apply(outside, MAPS, config_map(k="v"), "me", 201)
    config = config_map(k="w")
    config["metadata"]["resourceVersion"] = item["metadata"]["resourceVersion"]
    await apply(outside, MAPS, config, "me")
    answer = await apply(outside, MAPS, {**config, "data": {"k": "x"}}, "me", 409)
    assert "the object has been modified" in answer["message"]


async def test_owners_can_be_rewritten_and_forgotten(outside: httpx2.AsyncClient) -> None:
    await outside.post(f"{MAPS}?fieldManager=old", json=config_map(k="v"))
    entry = {
        "manager": "new",
        "operation": "Apply",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:k": {}}},
    }
    change = [{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}]
    moved = await outside.patch(f"{MAPS}/c", json=change, headers=JSON_PATCH)
    assert owners(moved.json()) == {"new Apply": {"f:data": {"f:k": {}}}}
    reset = await outside.patch(f"{MAPS}/c", json={"metadata": {"managedFields": [{}]}}, headers=MERGE)
    assert "managedFields" not in reset.json()["metadata"]
    await outside.patch(f"{MAPS}/c", json={"data": {"k": "w"}}, headers=MERGE)
    after = await apply(outside, MAPS, config_map(j="x"), "me")
    assert owners(after) == {
        "me Apply": {"f:data": {"f:j": {}}},
        "before-first-apply Update": {"f:data": {".": {}, "f:k": {}}},
    }


async def test_writers_inside_leave_no_owners_unless_they_say_who_they_are(
    inside: httpx2.AsyncClient, outside: httpx2.AsyncClient
) -> None:
    made = (await inside.post(MAPS, json=config_map("i", k="v"))).json()
    assert "managedFields" not in made["metadata"]
    changed = await inside.patch(f"{MAPS}/i", json={"data": {"k": "w"}}, headers=MERGE)
    assert "managedFields" not in changed.json()["metadata"]
    named = (await inside.post(f"{MAPS}?fieldManager=part", json=config_map("j", k="v"))).json()
    assert owners(named) == {"part Update": {"f:data": {".": {}, "f:k": {}}}}
    # Nobody outside tracks it either, as long as nobody applies to it.
    touched = await outside.patch(f"{MAPS}/i", json={"data": {"k": "x"}}, headers=MERGE)
    assert "managedFields" not in touched.json()["metadata"]


async def test_a_writer_inside_takes_part_in_what_is_tracked(
    inside: httpx2.AsyncClient, outside: httpx2.AsyncClient
) -> None:
    """Otherwise an author who withdraws `replicas` would undo what an autoscaler has done."""
    await apply(outside, DEPLOYMENTS, deployment(replicas=2), "me", 201)
    scaled = (await inside.patch(f"{DEPLOYMENTS}/d", json={"spec": {"replicas": 5}}, headers=MERGE)).json()
    assert owners(scaled)["skerry Update"] == {"f:spec": {"f:replicas": {}}}
    after = await apply(outside, DEPLOYMENTS, deployment(), "me")
    assert after["spec"]["replicas"] == 5


async def test_custom_kinds_are_applied_like_the_built_in_ones(outside: httpx2.AsyncClient) -> None:
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "oci://m:1", "env": [{"name": "A", "value": "1"}]}
    config = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "m"},
        "spec": {"predictor": {"model": model}},
    }
    await apply(outside, ISVCS, config, "one", 201)
    other = {**config, "spec": {"predictor": {"model": {"env": [{"name": "B", "value": "2"}]}}}}
    item = await apply(outside, ISVCS, other, "other")
    assert [one["name"] for one in item["spec"]["predictor"]["model"]["env"]] == ["A", "B"]
    assert owners(item)["other Apply"] == {
        "f:spec": {"f:predictor": {"f:model": {"f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}}}}
    }


async def test_a_race_of_appliers_loses_nobody(outside: httpx2.AsyncClient) -> None:
    import asyncio

    await apply(outside, MAPS, config_map(base="x"), "base", 201)
    await asyncio.gather(*(apply(outside, MAPS, config_map(**{f"k{n}": "v"}), f"m{n}") for n in range(6)))
    item = (await outside.get(f"{MAPS}/c")).json()
    assert sorted(item["data"]) == ["base", *(f"k{n}" for n in range(6))]
    assert len(owners(item)) == 7


async def test_a_race_of_creates_by_apply_creates_once(outside: httpx2.AsyncClient) -> None:
    import asyncio

    async def one(number: int) -> int:
        config = config_map(**{f"k{number}": "v"})
        answer = await outside.patch(f"{MAPS}/c?fieldManager=m{number}", json=config, headers=APPLY)
        return answer.status_code

    codes = await asyncio.gather(*map(one, range(5)))
    assert sorted(codes) == [200, 200, 200, 200, 201]
    assert len((await outside.get(f"{MAPS}/c")).json()["data"]) == 5


async def test_warnings_about_twins_come_with_the_answer(outside: httpx2.AsyncClient) -> None:
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"v","k":"w"}}'
    answer = await outside.patch(f"{MAPS}/c?fieldManager=me", content=body, headers=APPLY)
    assert answer.status_code == 201
    assert 'duplicate field \\"data.k\\"' in answer.headers["warning"]
    strict = await outside.patch(f"{MAPS}/c?fieldManager=me&fieldValidation=Strict", content=body, headers=APPLY)
    assert strict.status_code == 400


async def test_a_namespace_must_be_there(outside: httpx2.AsyncClient) -> None:
    answer = await outside.patch(
        "/api/v1/namespaces/none/configmaps/c?fieldManager=me", json=config_map(), headers=APPLY
    )
    assert (answer.status_code, answer.json()["message"]) == (404, 'namespaces "none" not found')
