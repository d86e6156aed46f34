"""Custom resources over HTTP: decoding, pruning, defaults, generation, versions, selectors, sub-resources, apply."""

import json
from typing import Any

import httpx2
from tests.custom_resources.builders import DEFINITIONS, GROUP, crontab, definition, path, simple, version
from tests.custom_resources.test_custom_definitions import create, refused

MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


async def warnings(http: httpx2.AsyncClient, item: dict[str, Any], query: str = "") -> str:
    reply = await http.post(f"{path()}{query}", json=item)
    assert reply.status_code == 201, reply.text
    return str(reply.headers.get("warning", ""))


async def test_unknown_fields_are_dropped_and_named(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    item = {**crontab(bogus=1, env=[{"name": "A", "extra": 1}], free={"any": 1}), "more": 1}
    assert await warnings(http, item) == (
        '299 - "unknown field \\"spec.bogus\\"", 299 - "unknown field \\"spec.env[0].extra\\"", '
        '299 - "unknown field \\"more\\""'
    )
    stored = (await http.get(path("my"))).json()
    assert stored["spec"] == {
        "cron": "* * * * */5",
        "env": [{"name": "A"}],
        "free": {"any": 1},
        "image": "example.com/cron:1",
    }
    assert "more" not in stored
    strict = await http.post(f"{path()}?fieldValidation=Strict", json=crontab("other", bogus=1))
    assert strict.status_code == 400
    assert strict.json()["message"] == (
        'CronTab in version "v1" cannot be handled as a CronTab: strict decoding error: unknown field "spec.bogus"'
    )
    assert await warnings(http, crontab("third", bogus=1), "?fieldValidation=Ignore") == ""


async def test_metadata_has_its_types(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    item = crontab()
    item["metadata"]["labels"] = {"a": 1}
    reply = await http.post(path(), json=item)
    assert reply.status_code == 400
    assert "cannot unmarshal number into Go struct field" in reply.json()["message"]
    item["metadata"] = {"name": "My_Cron"}
    assert (await refused(http, item, path()))[0].startswith('metadata.name: Invalid value: "My_Cron"')
    item["metadata"] = {"name": "fine", "colour": "red"}
    assert await warnings(http, item) == '299 - "unknown field \\"metadata.colour\\""'


async def test_errors_come_with_their_fields(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    item = crontab(cron="whenever", replicas=11, policy="Maybe", port=True, tags=["a", "a"])
    assert await refused(http, item, path()) == [
        (
            r"""spec.cron: Invalid value: "whenever": spec.cron in body should match """
            r"'^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$'"
        ),
        "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        'spec.policy: Unsupported value: "Maybe": supported values: "Allow", "Forbid"',
        'spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
        'spec.tags[1]: Duplicate value: "a"',
    ]
    reply = await http.post(path(), json={**crontab(), "spec": {}})
    assert reply.json()["message"] == 'CronTab.stable.example.com "my" is invalid: spec.cron: Required value'


async def test_generation_counts_what_is_wanted(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    made = await create(http, {**crontab(), "status": {"phase": "x"}}, path())
    assert made["metadata"]["generation"] == 1
    assert "status" not in made, "the status comes through its sub-resource"
    body = {"status": {"phase": "Running", "bogus": 1}, "spec": {"cron": "no"}}
    done = await http.patch(f"{path('my')}/status", json=body, headers=MERGE)
    assert done.json()["status"] == {"phase": "Running"}
    assert done.json()["spec"]["cron"] == "* * * * */5"
    assert done.json()["metadata"]["generation"] == 1
    changed = await http.patch(path("my"), json={"spec": {"replicas": 2}, "status": {"phase": "y"}}, headers=MERGE)
    assert changed.json()["metadata"]["generation"] == 2
    assert changed.json()["status"] == {"phase": "Running"}
    labelled = await http.patch(path("my"), json={"metadata": {"labels": {"a": "b"}}}, headers=MERGE)
    assert labelled.json()["metadata"]["generation"] == 2
    wrong = await http.patch(f"{path('my')}/status", json={"status": {"lastRun": "soon"}}, headers=MERGE)
    assert wrong.status_code == 422


async def test_a_status_without_sub_resource_is_a_field(http: httpx2.AsyncClient) -> None:
    await create(http, simple("things", "Thing"))
    thing = {"apiVersion": f"{GROUP}/v1", "kind": "Thing", "metadata": {"name": "t"}, "status": {"a": 1}}
    made = await create(http, thing, path(plural="things"))
    assert made["status"] == {"a": 1}
    made["status"]["a"] = 2
    changed = await http.put(path("t", plural="things"), json=made)
    assert (changed.json()["status"], changed.json()["metadata"]["generation"]) == ({"a": 2}, 2)
    assert (await http.get(f"{path('t', plural='things')}/status")).status_code == 404


async def test_versions_are_views_of_one_object(http: httpx2.AsyncClient) -> None:
    old = version("v1beta1", storage=False, deprecated=True)
    older = version("v1alpha1", storage=False, deprecated=True, deprecationWarning="v1alpha1 is history")
    hidden = version("v2alpha1", storage=False, served=False)
    await create(http, definition(older, version("v1"), old, hidden))
    made = await http.post(path(version="v1beta1"), json={**crontab(), "apiVersion": f"{GROUP}/v1beta1"})
    assert made.status_code == 201
    assert made.json()["apiVersion"] == f"{GROUP}/v1beta1"
    assert made.headers["warning"] == (f'299 - "{GROUP}/v1beta1 CronTab is deprecated; use {GROUP}/v1 CronTab"')
    stable = await http.get(path("my"))
    assert stable.json()["apiVersion"] == f"{GROUP}/v1"
    assert "warning" not in stable.headers
    assert (await http.get(path("my", version="v1alpha1"))).headers["warning"] == '299 - "v1alpha1 is history"'
    listed = (await http.get(path(version="v1alpha1"))).json()
    assert (listed["apiVersion"], listed["items"][0]["apiVersion"]) == (f"{GROUP}/v1alpha1", f"{GROUP}/v1alpha1")
    assert (await http.get(path(version="v2alpha1"))).status_code == 404
    group = (await http.get(f"/apis/{GROUP}")).json()
    assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1", "v1alpha1"]
    assert group["preferredVersion"]["version"] == "v1"
    wrong = await http.post(path(), json={**crontab("other"), "apiVersion": f"{GROUP}/v1beta1"})
    assert wrong.status_code == 400


async def test_strategic_patches_are_for_built_in_kinds(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    await create(http, crontab(), path())
    headers = {"content-type": "application/strategic-merge-patch+json"}
    reply = await http.patch(path("my"), json={"spec": {"replicas": 2}}, headers=headers)
    assert reply.status_code == 415
    patch = [{"op": "replace", "path": "/spec/cron", "value": "1 * * * *"}]
    headers = {"content-type": "application/json-patch+json"}
    reply = await http.patch(path("my"), json=patch, headers=headers)
    assert reply.json()["spec"]["cron"] == "1 * * * *"
    unpinned = await http.put(path("my"), json=crontab())
    assert unpinned.status_code == 422


async def test_selectors(http: httpx2.AsyncClient) -> None:
    await create(http, definition(version(selectableFields=[{"jsonPath": ".spec.policy"}])))
    for name, policy in (("a", "Allow"), ("b", "Forbid")):
        item = crontab(name, policy=policy)
        item["metadata"]["labels"] = {"x": name}
        await create(http, item, path())

    async def names(query: str) -> list[str]:
        return [each["metadata"]["name"] for each in (await http.get(f"{path()}?{query}")).json()["items"]]

    assert await names("labelSelector=x%3Db") == ["b"]
    assert await names("fieldSelector=metadata.name%3Da") == ["a"]
    assert await names("fieldSelector=spec.policy%3DForbid") == ["b"]
    wrong = await http.get(f"{path()}?fieldSelector=spec.cron%3Dx")
    assert wrong.status_code == 400
    assert "field label not supported: spec.cron" in wrong.json()["message"]


async def test_scale(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    await create(http, crontab(), path())
    missing = await http.get(f"{path('my')}/scale")
    assert (missing.status_code, "spec replicas field" in missing.json()["message"]) == (500, True)
    made = await http.patch(path("my"), json={"spec": {"replicas": 3}}, headers=MERGE)
    await http.patch(f"{path('my')}/status", json={"status": {"replicas": 1, "selector": "a=b"}}, headers=MERGE)
    scale = (await http.get(f"{path('my')}/scale")).json()
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, {"replicas": 1, "selector": "a=b"})
    assert scale["metadata"]["uid"] == made.json()["metadata"]["uid"]
    scale["spec"]["replicas"] = 5
    assert (await http.put(f"{path('my')}/scale", json=scale)).json()["spec"] == {"replicas": 5}
    assert (await http.put(f"{path('my')}/scale", json=scale)).status_code == 409
    patched = await http.patch(f"{path('my')}/scale", json={"spec": {"replicas": 2}}, headers=MERGE)
    assert patched.json()["spec"] == {"replicas": 2}
    stored = (await http.get(path("my"))).json()
    assert (stored["spec"]["replicas"], stored["metadata"]["generation"]) == (2, 4)
    for wrong, code in (
        ({"spec": {"replicas": -1}}, 422),
        ({"spec": {"replicas": 99}}, 422),
        ({"spec": {"replicas": "x"}}, 400),
    ):
        assert (await http.patch(f"{path('my')}/scale", json=wrong, headers=MERGE)).status_code == code


async def apply(http: httpx2.AsyncClient, item: dict[str, Any], manager: str, query: str = "") -> httpx2.Response:
    where = f"{path(item['metadata']['name'])}?fieldManager={manager}{query}"
    return await http.patch(where, content=json.dumps(item), headers=APPLY)


async def test_apply_merges_lists_as_the_schema_marks_them(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    first = await apply(http, crontab(env=[{"name": "A", "value": "1"}], tags=["x"]), "one")
    assert first.status_code == 201
    item = crontab(env=[{"name": "B", "value": "2"}], tags=["y"])
    del item["spec"]["cron"]
    second = await apply(http, item, "two")
    assert second.json()["spec"]["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert second.json()["spec"]["tags"] == ["x", "y"]
    item["spec"]["env"] = [{"name": "A", "value": "3"}]
    conflict = await apply(http, item, "two")
    assert conflict.status_code == 409
    assert '.spec.env[name="A"].value' in conflict.json()["message"]
    forced = await apply(http, item, "two", "&force=true")
    assert forced.json()["spec"]["env"] == [{"name": "A", "value": "3"}]
    owners = {each["manager"]: each["fieldsV1"] for each in forced.json()["metadata"]["managedFields"]}
    assert 'k:{"name":"A"}' in owners["two"]["f:spec"]["f:env"]
    unknown = await apply(http, crontab("new", bogus=1), "one", "&fieldValidation=Strict")
    assert ".spec.bogus: field not declared in schema" in unknown.json()["message"]


async def test_owners_are_known_in_all_versions(http: httpx2.AsyncClient) -> None:
    await create(http, definition(version("v1"), version("v1beta1", storage=False)))
    await apply(http, crontab(replicas=2), "one")
    where = f"{path('my', version='v1beta1')}?fieldManager=two"
    item = {**crontab(replicas=3), "apiVersion": f"{GROUP}/v1beta1"}
    conflict = await http.patch(where, content=json.dumps(item), headers=APPLY)
    assert conflict.status_code == 409, conflict.text
    assert ".spec.replicas" in conflict.json()["message"]


async def test_cluster_scope(http: httpx2.AsyncClient) -> None:
    item = simple("worlds", "World")
    item["spec"]["scope"] = "Cluster"
    await create(http, item)
    world = {"apiVersion": f"{GROUP}/v1", "kind": "World", "metadata": {"name": "w"}}
    await create(http, world, f"/apis/{GROUP}/v1/worlds")
    assert (await http.get(f"/apis/{GROUP}/v1/worlds/w")).status_code == 200
    assert (await http.get(path(plural="worlds"))).status_code == 404


async def test_a_table_has_the_columns_of_the_definition(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    await create(http, crontab(replicas=2), path())
    headers = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = (await http.get(path(), headers=headers)).json()
    columns = [(each["name"], each["type"], each["priority"]) for each in table["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("Spec", "string", 0),
        ("Replicas", "integer", 0),
        ("Image", "string", 1),
        ("Last", "date", 0),
        ("Age", "date", 0),
    ]
    cells = table["rows"][0]["cells"]
    assert cells[:5] == ["my", "* * * * */5", 2, "example.com/cron:1", None]
    assert cells[5].endswith("s")


async def test_openapi_has_the_schema_and_what_every_object_has(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    component = (await http.get(f"/openapi/v3/apis/{GROUP}/v1")).json()["components"]["schemas"][
        "com.example.stable.v1.CronTab"
    ]
    assert component["x-kubernetes-group-version-kind"] == [{"group": GROUP, "kind": "CronTab", "version": "v1"}]
    assert component["properties"]["spec"]["properties"]["env"]["x-kubernetes-list-type"] == "map"
    assert component["properties"]["metadata"]["allOf"][0]["$ref"].endswith(".ObjectMeta")
    older = (await http.get("/openapi/v2")).json()["definitions"]["com.example.stable.v1.CronTab"]
    assert older["properties"]["spec"]["properties"]["image"] == {"type": "string"}
    assert older["properties"]["spec"]["properties"]["port"] == {"x-kubernetes-int-or-string": True}
    assert (await http.get(f"{DEFINITIONS}/crontabs.{GROUP}")).status_code == 200
