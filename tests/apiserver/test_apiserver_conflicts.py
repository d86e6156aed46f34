"""Writers against each other: nothing is lost, nobody overwrites what they did not see; deletion and dry runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from skerry.cluster.store import Store
from skerry.machinery import names

MAPS = "/api/v1/namespaces/a/configmaps"
PODS = "/api/v1/namespaces/a/pods"
NAMESPACES = "/api/v1/namespaces"
DEPLOYMENTS = "/apis/apps/v1/namespaces/a/deployments"
ROUTES = "/apis/route.openshift.io/v1/namespaces/a/routes"
MERGE = {"content-type": "application/merge-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}


async def create(http: httpx2.AsyncClient, name: str, path: str = MAPS, **more: Any) -> dict[str, Any]:
    meta = {"name": name, **more.pop("metadata", {})}
    made = await http.post(path, json={"metadata": meta, **more})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


async def get(http: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def deployment() -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {"spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template}}


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}


def without_version(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}}


class TestConcurrency:
    """Many at once."""

    async def test_one_of_many_creates_wins(self, http: httpx2.AsyncClient) -> None:
        answers = await asyncio.gather(*(http.post(MAPS, json={"metadata": {"name": "c"}}) for _ in range(16)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15

    async def test_patches_of_different_fields_all_arrive(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c", data={})
        patches = (http.patch(f"{MAPS}/c", json={"data": {f"k{n}": "v"}}, headers=MERGE) for n in range(64))
        assert {answer.status_code for answer in await asyncio.gather(*patches)} == {200}
        assert len((await get(http, f"{MAPS}/c"))["data"]) == 64

    async def test_of_many_updates_of_one_version_one_wins(self, http: httpx2.AsyncClient) -> None:
        seen = await create(http, "c", data={})
        updates = (http.put(f"{MAPS}/c", json={**seen, "data": {"k": str(n)}}) for n in range(16))
        answers = await asyncio.gather(*updates)
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15

    async def test_updates_without_a_version_never_conflict(self, http: httpx2.AsyncClient) -> None:
        seen = without_version(await create(http, "c", data={}))
        updates = (http.put(f"{MAPS}/c", json={**seen, "data": {"k": str(n)}}) for n in range(64))
        assert {answer.status_code for answer in await asyncio.gather(*updates)} == {200}

    async def test_status_and_spec_written_at_once_keep_both(self, http: httpx2.AsyncClient) -> None:
        await create(http, "d", DEPLOYMENTS, **deployment())
        writes = [
            *(http.patch(f"{DEPLOYMENTS}/d", json={"spec": {"replicas": n}}, headers=MERGE) for n in range(1, 5)),
            *(
                http.patch(f"{DEPLOYMENTS}/d/status", json={"status": {"replicas": n}}, headers=MERGE)
                for n in range(1, 5)
            ),
        ]
        assert {answer.status_code for answer in await asyncio.gather(*writes)} == {200}
        item = await get(http, f"{DEPLOYMENTS}/d")
        assert item["spec"]["replicas"] in range(1, 5)
        assert item["status"]["replicas"] in range(1, 5)

    async def test_deletes_and_patches_at_once_end_deleted(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c")
        writes = [http.patch(f"{MAPS}/c", json={"data": {"k": str(n)}}, headers=MERGE) for n in range(6)]
        answers = await asyncio.gather(*writes[:3], http.delete(f"{MAPS}/c"), *writes[3:])
        assert {answer.status_code for answer in answers} <= {200, 404}
        assert (await http.get(f"{MAPS}/c")).status_code == 404


class TestVersions:
    """What a resourceVersion in the body means."""

    async def test_a_patch_may_name_the_version_that_it_wants(self, http: httpx2.AsyncClient) -> None:
        first = (await create(http, "c"))["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": first}, "data": {"k": "1"}}
        assert (await http.patch(f"{MAPS}/c", json=body, headers=MERGE)).status_code == 200
        stale = await http.patch(f"{MAPS}/c", json=body, headers=MERGE)
        assert (stale.status_code, stale.json()["reason"]) == (409, "Conflict")
        any_version = {"metadata": {"resourceVersion": None}, "data": {"k": "2"}}
        assert (await http.patch(f"{MAPS}/c", json=any_version, headers=MERGE)).status_code == 200

    async def test_of_many_patches_of_one_version_one_wins(self, http: httpx2.AsyncClient) -> None:
        version = (await create(http, "c"))["metadata"]["resourceVersion"]
        bodies = [{"metadata": {"resourceVersion": version}, "data": {f"k{n}": "v"}} for n in range(8)]
        answers = await asyncio.gather(*(http.patch(f"{MAPS}/c", json=body, headers=MERGE) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
        assert len((await get(http, f"{MAPS}/c"))["data"]) == 1

    async def test_a_json_patch_may_test_the_version(self, http: httpx2.AsyncClient) -> None:
        version = (await create(http, "c"))["metadata"]["resourceVersion"]
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/data", "value": {"k": "v"}},
        ]
        assert (await http.patch(f"{MAPS}/c", json=patch, headers=JSON_PATCH)).status_code == 200
        assert (await http.patch(f"{MAPS}/c", json=patch, headers=JSON_PATCH)).status_code == 422

    @pytest.mark.parametrize("method", ["put", "patch"])
    async def test_a_status_of_an_old_version_conflicts(self, http: httpx2.AsyncClient, method: str) -> None:
        old = await create(http, "d", DEPLOYMENTS, **deployment())
        await http.patch(f"{DEPLOYMENTS}/d", json={"spec": {"replicas": 2}}, headers=MERGE)
        path, body = f"{DEPLOYMENTS}/d/status", {**old, "status": {"replicas": 5}}
        if method == "put":
            answer = await http.put(path, json=body)
        else:
            body = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "status": {"replicas": 5}}
            answer = await http.patch(path, json=body, headers=MERGE)
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        item = await get(http, f"{DEPLOYMENTS}/d")
        assert "replicas" not in item.get("status", {})

    async def test_a_status_update_changes_the_status_only(self, http: httpx2.AsyncClient) -> None:
        old = await create(http, "d", DEPLOYMENTS, **deployment())
        changed = {**old, "status": {"replicas": 5}, "spec": {**old["spec"], "replicas": 9}}
        changed["metadata"] = {**old["metadata"], "labels": {"sneaky": "yes"}, "finalizers": ["example.com/x"]}
        answer = await http.put(f"{DEPLOYMENTS}/d/status", json=changed)
        assert answer.status_code == 200, answer.text
        new = answer.json()
        assert (new["status"], new["spec"]) == ({"replicas": 5}, old["spec"])
        assert new["metadata"] == {**old["metadata"], "resourceVersion": new["metadata"]["resourceVersion"]}

    async def test_custom_kinds_must_be_updated_with_a_version(self, http: httpx2.AsyncClient) -> None:
        route = await create(http, "r", ROUTES, spec={"host": "r.example.com", "to": {"name": "s"}})
        answer = await http.put(f"{ROUTES}/r", json=without_version(route))
        assert answer.status_code == 422
        assert answer.json()["message"] == (
            'Route.route.openshift.io "r" is invalid: metadata.resourceVersion: Invalid value: 0x0: '
            "must be specified for an update"
        )
        assert (await http.put(f"{ROUTES}/r", json=route)).status_code == 200

    async def test_another_object_of_the_same_name_is_not_overwritten(self, http: httpx2.AsyncClient) -> None:
        old = await create(http, "c")
        await http.delete(f"{MAPS}/c")
        await create(http, "c")
        answer = await http.put(f"{MAPS}/c", json=without_version(old))
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        assert "Precondition failed: UID" in answer.json()["message"]

    async def test_an_update_of_what_is_not_there(self, http: httpx2.AsyncClient) -> None:
        for answer in (
            await http.put(f"{MAPS}/c", json={"metadata": {"name": "c"}}),
            await http.patch(f"{MAPS}/c", json={}, headers=MERGE),
        ):
            assert answer.status_code == 404
            assert answer.json()["details"] == {"name": "c", "kind": "configmaps"}

    async def test_a_version_may_not_be_set_at_creation(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post(MAPS, json={"metadata": {"name": "c", "resourceVersion": "1"}})
        assert answer.status_code == 400
        assert answer.json()["message"] == "resourceVersion should not be set on objects to be created"


class TestGeneratedNames:
    """generateName."""

    async def test_a_name_that_is_taken_is_drawn_again(
        self, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn = iter(["g-1", "g-1", "g-1", "g-2", "g-3"])
        monkeypatch.setattr(names, "generate_name", lambda _base, _source: next(drawn))
        made = [(await http.post(MAPS, json={"metadata": {"generateName": "g-"}})).json() for _ in range(3)]
        assert [one["metadata"]["name"] for one in made] == ["g-1", "g-2", "g-3"]
        assert len({one["metadata"]["uid"] for one in made}) == 3

    async def test_when_all_are_taken_the_client_is_told(
        self, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await create(http, "g-1")
        monkeypatch.setattr(names, "generate_name", lambda _base, _source: "g-1")
        answer = await http.post(MAPS, json={"metadata": {"generateName": "g-"}})
        assert (answer.status_code, answer.json()["reason"]) == (409, "AlreadyExists")
        assert "not able to generate a unique name" in answer.json()["message"]

    async def test_a_given_name_is_never_replaced(self, http: httpx2.AsyncClient) -> None:
        body = {"metadata": {"name": "c", "generateName": "g-"}}
        assert (await http.post(MAPS, json=body)).json()["metadata"]["name"] == "c"
        assert (await http.post(MAPS, json=body)).status_code == 409

    async def test_many_at_once(self, http: httpx2.AsyncClient) -> None:
        posts = (http.post(MAPS, json={"metadata": {"generateName": "g-"}}) for _ in range(40))
        made = {answer.json()["metadata"]["name"] for answer in await asyncio.gather(*posts)}
        assert len(made) == 40

    async def test_no_name_at_all(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post(MAPS, json={"metadata": {}})
        assert answer.status_code == 422
        assert "name or generateName is required" in answer.json()["message"]


HOLD, MORE = "example.com/hold", "example.com/more"


class TestFinalizers:
    """Objects that wait for somebody before they go."""

    @pytest.fixture
    async def held(self, http: httpx2.AsyncClient) -> dict[str, Any]:
        await create(http, "c", metadata={"finalizers": [HOLD, MORE]})
        answer = await http.delete(f"{MAPS}/c")
        assert answer.json()["metadata"]["deletionTimestamp"]
        marked: dict[str, Any] = answer.json()
        return marked

    async def test_the_last_one_lets_it_go_however_it_is_removed(
        self, http: httpx2.AsyncClient, held: dict[str, Any]
    ) -> None:
        kept = await http.patch(
            f"{MAPS}/c", json=[{"op": "remove", "path": "/metadata/finalizers/0"}], headers=JSON_PATCH
        )
        assert kept.json()["metadata"]["finalizers"] == [MORE]
        strategic = {"metadata": {"$deleteFromPrimitiveList/finalizers": [MORE]}}
        gone = await http.patch(f"{MAPS}/c", json=strategic, headers=STRATEGIC)
        assert gone.status_code == 200, gone.text
        assert (await http.get(f"{MAPS}/c")).status_code == 404
        again = await http.patch(f"{MAPS}/c", json={"metadata": {"finalizers": None}}, headers=MERGE)
        assert again.status_code == 404

    async def test_an_update_without_finalizers(self, http: httpx2.AsyncClient, held: dict[str, Any]) -> None:
        meta = {key: value for key, value in held["metadata"].items() if key != "finalizers"}
        assert (await http.put(f"{MAPS}/c", json={**held, "metadata": meta})).status_code == 200
        assert (await http.get(f"{MAPS}/c")).status_code == 404

    async def test_an_update_cannot_take_the_deletion_back(
        self, http: httpx2.AsyncClient, held: dict[str, Any]
    ) -> None:
        patch = {"metadata": {"deletionTimestamp": None, "deletionGracePeriodSeconds": None}, "data": {"k": "v"}}
        changed = (await http.patch(f"{MAPS}/c", json=patch, headers=MERGE)).json()
        assert changed["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
        assert changed["data"] == {"k": "v"}

    async def test_a_dry_run_lets_nothing_go(self, http: httpx2.AsyncClient, held: dict[str, Any]) -> None:
        patch = {"metadata": {"finalizers": None}}
        assert (await http.patch(f"{MAPS}/c?dryRun=All", json=patch, headers=MERGE)).status_code == 200
        assert (await get(http, f"{MAPS}/c"))["metadata"]["finalizers"] == [HOLD, MORE]

    async def test_watchers_see_it_marked_and_then_go(self, http: httpx2.AsyncClient, held: dict[str, Any]) -> None:
        version = held["metadata"]["resourceVersion"]
        await http.patch(f"{MAPS}/c", json={"metadata": {"finalizers": None}}, headers=MERGE)
        params = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
        lines = (await http.get(MAPS, params=params)).text.splitlines()
        assert len(lines) == 1
        assert '"type":"DELETED"' in lines[0]

    async def test_a_second_delete_changes_nothing(self, http: httpx2.AsyncClient, held: dict[str, Any]) -> None:
        again = await http.delete(f"{MAPS}/c")
        assert again.json() == held

    async def test_a_pod_waits_for_its_node_and_for_its_finalizers(self, http: httpx2.AsyncClient) -> None:
        await create(http, "p", PODS, metadata={"finalizers": [HOLD]}, **pod())
        await http.post(f"{PODS}/p/binding", json={"target": {"name": "n"}})
        await http.delete(f"{PODS}/p")
        await http.patch(f"{PODS}/p", json={"metadata": {"finalizers": None}}, headers=MERGE)
        assert (await get(http, f"{PODS}/p"))["metadata"]["deletionGracePeriodSeconds"] == 30
        final = await http.request("DELETE", f"{PODS}/p", json={"gracePeriodSeconds": 0})
        assert final.json()["status"] == "Success"
        assert (await http.get(f"{PODS}/p")).status_code == 404

    async def test_a_finalizer_outlives_the_node(self, http: httpx2.AsyncClient) -> None:
        await create(http, "p", PODS, metadata={"finalizers": [HOLD]}, **pod())
        await http.post(f"{PODS}/p/binding", json={"target": {"name": "n"}})
        await http.delete(f"{PODS}/p")
        await http.request("DELETE", f"{PODS}/p", json={"gracePeriodSeconds": 0})
        assert (await get(http, f"{PODS}/p"))["metadata"]["deletionGracePeriodSeconds"] == 0
        await http.patch(f"{PODS}/p", json={"metadata": {"finalizers": None}}, headers=MERGE)
        assert (await http.get(f"{PODS}/p")).status_code == 404


class TestNamespaces:
    """Namespaces that end."""

    async def test_some_may_not_be_deleted(self, http: httpx2.AsyncClient) -> None:
        await create(http, "default", NAMESPACES)
        answer = await http.delete(f"{NAMESPACES}/default")
        assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden")
        assert answer.json()["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'

    async def test_nothing_new_comes_in_but_what_is_there_can_change_and_go(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c")
        await http.delete(f"{NAMESPACES}/a")
        late = await http.post(MAPS, json={"metadata": {"name": "late"}})
        assert late.status_code == 403
        assert late.json()["message"] == (
            'configmaps "late" is forbidden: unable to create new content in namespace a because it is being terminated'
        )
        assert late.json()["details"]["causes"] == [
            {
                "reason": "NamespaceTerminating",
                "message": "namespace a is being terminated",
                "field": "metadata.namespace",
            }
        ]
        assert (await http.patch(f"{MAPS}/c", json={"data": {"k": "v"}}, headers=MERGE)).status_code == 200
        assert (await http.delete(f"{MAPS}/c")).status_code == 200

    async def test_it_cannot_be_removed_while_it_holds_something(self, http: httpx2.AsyncClient) -> None:
        """The controller that finalizes it lists before, and an object may come in between."""
        await create(http, "c")
        ending = (await http.delete(f"{NAMESPACES}/a")).json()
        empty = {**ending, "spec": {"finalizers": []}}
        answer = await http.put(f"{NAMESPACES}/a/finalize", json=empty)
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        assert "not empty" in answer.json()["message"]
        await http.delete(f"{MAPS}/c")
        assert (await http.put(f"{NAMESPACES}/a/finalize", json=empty)).status_code == 200
        assert (await http.get(f"{NAMESPACES}/a")).status_code == 404


class TestDryRun:
    """Everything answers as it would, and nothing is stored."""

    @pytest.fixture(autouse=True)
    async def nothing_changes(self, http: httpx2.AsyncClient, store: Store) -> AsyncIterator[None]:
        await create(http, "c", data={"k": "v"}, metadata={"finalizers": [HOLD]})
        await create(http, "plain")
        await create(http, "p", PODS, **pod())
        await create(http, "d", DEPLOYMENTS, **deployment())
        ending = await create(http, "ending", NAMESPACES)
        self.ending = (await http.delete(f"{NAMESPACES}/ending")).json()
        assert ending["metadata"]["name"] == "ending"
        before = store.committed
        yield
        assert store.committed == before

    @pytest.mark.parametrize(
        ("method", "path", "body", "code"),
        [
            ("POST", MAPS, {"metadata": {"name": "new"}}, 201),
            ("POST", MAPS, {"metadata": {"generateName": "new-"}}, 201),
            ("POST", MAPS, {"metadata": {"name": "plain"}}, 409),
            ("POST", MAPS, {"metadata": {"name": "X"}}, 422),
            ("PUT", f"{MAPS}/plain", {"metadata": {"name": "plain"}, "data": {"k": "v"}}, 200),
            ("PATCH", f"{MAPS}/plain", {"data": {"k": "v"}}, 200),
            ("PATCH", f"{DEPLOYMENTS}/d/status", {"status": {"replicas": 3}}, 200),
            ("DELETE", f"{MAPS}/plain", None, 200),
            ("DELETE", f"{MAPS}/c", None, 200),
            ("DELETE", f"{MAPS}/nope", None, 404),
            ("DELETE", MAPS, None, 200),
            ("DELETE", f"{NAMESPACES}/a", None, 200),
            ("POST", f"{PODS}/p/binding", {"target": {"name": "n"}}, 201),
        ],
    )
    async def test_by_query(self, http: httpx2.AsyncClient, method: str, path: str, body: Any, code: int) -> None:
        headers = MERGE if method == "PATCH" else {}
        answer = await http.request(method, path, params={"dryRun": "All"}, json=body, headers=headers)
        assert answer.status_code == code, answer.text

    @pytest.mark.parametrize("path", [f"{MAPS}/plain", f"{MAPS}/c", MAPS, f"{PODS}/p"])
    async def test_by_delete_options(self, http: httpx2.AsyncClient, path: str) -> None:
        answer = await http.request("DELETE", path, json={"dryRun": ["All"]})
        assert answer.status_code == 200

    async def test_finalize(self, http: httpx2.AsyncClient) -> None:
        body = {**self.ending, "spec": {"finalizers": []}}
        answer = await http.put(f"{NAMESPACES}/ending/finalize", params={"dryRun": "All"}, json=body)
        assert answer.status_code == 200, answer.text

    async def test_what_no_dry_run_is(self, http: httpx2.AsyncClient) -> None:
        answer = await http.request("DELETE", f"{MAPS}/plain", json={"dryRun": ["Some"]})
        assert answer.status_code == 422
        assert answer.json()["message"] == (
            'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": supported values: "All"'
        )


class TestDeleteOptions:
    """Options that contradict each other or the object."""

    async def test_two_policies(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c")
        options = {"orphanDependents": True, "propagationPolicy": "Background"}
        answer = await http.request("DELETE", f"{MAPS}/c", json=options)
        assert answer.status_code == 422
        assert "orphanDependents and deletionPropagation cannot be both set" in answer.json()["message"]

    async def test_the_version_must_match(self, http: httpx2.AsyncClient) -> None:
        version = (await create(http, "c"))["metadata"]["resourceVersion"]
        await http.patch(f"{MAPS}/c", json={"data": {"k": "v"}}, headers=MERGE)
        stale = {"preconditions": {"resourceVersion": version}}
        answer = await http.request("DELETE", f"{MAPS}/c", json=stale)
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        present = {"preconditions": {"resourceVersion": (await get(http, f"{MAPS}/c"))["metadata"]["resourceVersion"]}}
        assert (await http.request("DELETE", f"{MAPS}/c", json=present)).status_code == 200

    async def test_the_answer_to_a_delete(self, http: httpx2.AsyncClient) -> None:
        made = await create(http, "d", DEPLOYMENTS, **deployment())
        answer = await http.delete(f"{DEPLOYMENTS}/d")
        assert answer.json() == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": "d", "group": "apps", "kind": "deployments", "uid": made["metadata"]["uid"]},
        }

    async def test_a_delete_that_cannot_be_answered_deletes_nothing(self, http: httpx2.AsyncClient) -> None:
        await create(http, "c")
        answer = await http.delete(f"{MAPS}/c", headers={"accept": "text/html"})
        assert answer.status_code == 406
        assert (await http.get(f"{MAPS}/c")).status_code == 200


class TestBinding:
    """What a scheduler posts."""

    async def test_the_right_pod_or_none(self, http: httpx2.AsyncClient) -> None:
        await create(http, "p", PODS, **pod())
        other = {"metadata": {"name": "p", "uid": "another"}, "target": {"name": "n"}}
        answer = await http.post(f"{PODS}/p/binding", json=other)
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        assert (await http.post(f"{PODS}/q/binding", json={"target": {"name": "n"}})).status_code == 404
        wrong = await http.post(f"{PODS}/p/binding", json={"target": {"kind": "Service", "name": "n"}})
        assert wrong.status_code in {400, 422}
        assert (await http.post(f"{PODS}/p/binding", json={"target": {}})).status_code in {400, 422}
        assert "nodeName" not in (await get(http, f"{PODS}/p"))["spec"]

    async def test_a_pod_that_is_to_go_is_not_bound(self, http: httpx2.AsyncClient) -> None:
        await create(http, "p", PODS, metadata={"finalizers": [HOLD]}, **pod())
        await http.delete(f"{PODS}/p")
        answer = await http.post(f"{PODS}/p/binding", json={"target": {"name": "n"}})
        assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
        assert "is being deleted, cannot be assigned to a host" in answer.json()["message"]

    async def test_binding_against_other_writers(self, http: httpx2.AsyncClient) -> None:
        await create(http, "p", PODS, **pod())
        labels = [
            http.patch(f"{PODS}/p", json={"metadata": {"labels": {f"k{n}": "v"}}}, headers=MERGE) for n in range(4)
        ]
        answers = await asyncio.gather(
            *labels[:2], http.post(f"{PODS}/p/binding", json={"target": {"name": "n"}}), *labels[2:]
        )
        assert {answer.status_code for answer in answers} == {200, 201}
        item = await get(http, f"{PODS}/p")
        assert (item["spec"]["nodeName"], len(item["metadata"]["labels"])) == ("n", 4)

    async def test_binding_a_pod_that_is_deleted_meanwhile(self, http: httpx2.AsyncClient) -> None:
        for _ in range(5):
            await create(http, "p", PODS, **pod())
            deleted, bound = await asyncio.gather(
                http.delete(f"{PODS}/p"), http.post(f"{PODS}/p/binding", json={"target": {"name": "n"}})
            )
            assert deleted.status_code == 200
            assert bound.status_code in {201, 404, 409}
            await http.request("DELETE", f"{PODS}/p", json={"gracePeriodSeconds": 0})


class TestEventsInTwoGroups:
    """One event, seen and changed through both of its groups."""

    OLD = "/api/v1/namespaces/a/events"
    NEW = "/apis/events.k8s.io/v1/namespaces/a/events"

    async def test_both_ways(self, http: httpx2.AsyncClient) -> None:
        body = {
            "metadata": {"name": "e"},
            "regarding": {"kind": "Pod", "name": "p", "namespace": "a"},
            "note": "it happened",
            "reason": "R",
            "type": "Normal",
            "action": "Act",
            "reportingController": "example.com/c",
            "reportingInstance": "i",
            "eventTime": "2026-01-01T00:00:00.123456Z",
            "deprecatedCount": 3,
        }
        made = await http.post(self.NEW, json=body)
        assert made.status_code == 201, made.text
        assert made.json()["apiVersion"] == "events.k8s.io/v1"
        old = await get(http, f"{self.OLD}/e")
        assert (old["apiVersion"], old["message"], old["count"]) == ("v1", "it happened", 3)
        assert (old["involvedObject"]["name"], old["reportingComponent"]) == ("p", "example.com/c")
        assert not {"note", "regarding", "reportingController", "deprecatedCount"} & set(old)
        counted = await http.patch(f"{self.OLD}/e", json={"count": 4, "extra": "kept"}, headers=MERGE)
        assert counted.status_code == 200, counted.text
        new = await get(http, f"{self.NEW}/e")
        assert (new["deprecatedCount"], new["note"], new["extra"]) == (4, "it happened", "kept")
        assert new["metadata"]["resourceVersion"] == counted.json()["metadata"]["resourceVersion"]
        series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
        put = await http.put(f"{self.NEW}/e", json={**new, **series})
        assert put.status_code == 200, put.text
        assert (await get(http, f"{self.OLD}/e"))["series"]["count"] == 2
        assert (await get(http, self.NEW))["items"][0]["note"] == "it happened"
        assert (await http.delete(f"{self.NEW}/e")).status_code == 200
        assert (await http.get(f"{self.OLD}/e")).status_code == 404
