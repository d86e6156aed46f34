"""Whoever has everything in one namespace has nothing outside: every kind, every verb, every sub-resource."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx2
import pytest
from tests.apiserver.people import allow, person, posted, rule

from skerry.api.kinds import REGISTRY
from skerry.api.registry import Kind
from skerry.cluster.apiserver.app import ApiServer


class Way(NamedTuple):
    """One way to ask."""

    verb: str
    method: str
    named: bool
    query: Mapping[str, str] = MappingProxyType({})


WAYS = (
    Way("get", "GET", named=True),
    Way("get", "HEAD", named=True),
    Way("list", "GET", named=False),
    Way("watch", "GET", named=False, query={"watch": "1"}),
    Way("create", "POST", named=False),
    Way("update", "PUT", named=True),
    Way("patch", "PATCH", named=True),
    Way("delete", "DELETE", named=True),
    Way("deletecollection", "DELETE", named=False),
)
ON_SUBRESOURCES = (("get", "GET"), ("create", "POST"), ("update", "PUT"), ("patch", "PATCH"))
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


class Case(NamedTuple):
    """One request and the words of its refusal."""

    method: str
    path: str
    query: Mapping[str, str]
    why: str


def refused(kind: Kind, verb: str, where: str, subresource: str = "", name: str = "") -> str:
    resource = f"{kind.plural}/{subresource}" if subresource else kind.plural
    what = f'{kind.group_resource} "{name}"' if name else kind.group_resource
    return f'{what} is forbidden: User "ann" cannot {verb} resource "{resource}" in API group "{kind.group}" {where}'


def cases(kind: Kind) -> Iterator[Case]:
    """Yield every request about a kind that leads out of namespace `a`."""
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = f"{base}/namespaces/b/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
    where = 'in the namespace "b"' if kind.namespaced else "at the cluster scope"
    named_where = 'in the namespace "b"' if kind.plural == "namespaces" else where
    for way in WAYS:
        if way.verb in kind.verbs:
            name = "b" if way.named else ""
            place = named_where if way.named else where
            path = f"{inside}/{name}" if name else inside
            yield Case(way.method, path, way.query, refused(kind, way.verb, place, name=name))
            if kind.namespaced and not way.named and way.verb in {"list", "watch"}:
                everywhere = refused(kind, way.verb, "at the cluster scope")
                yield Case(way.method, f"{base}/{kind.plural}", way.query, everywhere)
    for subresource in kind.subresources:
        for verb, method in ON_SUBRESOURCES:
            why = refused(kind, verb, named_where, subresource, "b")
            yield Case(method, f"{inside}/b/{subresource}", {}, why)


@pytest.fixture
async def ann(app: ApiServer, http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Somebody who may do everything in namespace a, with a namespace b beside it."""
    await posted(http, "/api/v1/namespaces", metadata={"name": "b"})
    await posted(http, "/api/v1/namespaces/b/configmaps", metadata={"name": "b"}, data={"secret": "told"})
    await allow(http, "ann", EVERYTHING, namespace="a")
    return person(app, "ann")


@pytest.mark.parametrize("kind", list(REGISTRY), ids=lambda kind: f"{kind.group}/{kind.version}/{kind.kind}")
async def test_nothing_outside_the_namespace(ann: httpx2.AsyncClient, http: httpx2.AsyncClient, kind: Kind) -> None:
    before = (await http.get("/api/v1/namespaces/b/configmaps")).json()["metadata"]["resourceVersion"]
    seen = 0
    for case in cases(kind):
        headers = {"content-type": "application/merge-patch+json"} if case.method == "PATCH" else {}
        body = b"{}" if case.method in {"POST", "PUT", "PATCH"} else b""
        answer = await ann.request(case.method, case.path, params=case.query, content=body, headers=headers)
        assert answer.status_code == 403, (case, answer.text)
        if case.method != "HEAD":
            assert answer.json()["message"] == case.why
            assert answer.json()["reason"] == "Forbidden"
        seen += 1
    assert seen >= len(kind.verbs)
    after = (await http.get("/api/v1/namespaces/b/configmaps")).json()["metadata"]["resourceVersion"]
    assert after == before


@pytest.mark.parametrize(
    "kind",
    [kind for kind in REGISTRY if kind.namespaced and "list" in kind.verbs],
    ids=lambda kind: kind.group_resource,
)
async def test_everything_inside_it(ann: httpx2.AsyncClient, kind: Kind) -> None:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    path = f"{base}/namespaces/a/{kind.plural}"
    assert (await ann.get(path)).status_code == 200
    assert (await ann.get(f"{path}/none")).status_code == 404
    wrong = await ann.post(path, json={"kind": "Wrong", "apiVersion": "v1"})
    assert wrong.status_code == (400 if "create" in kind.verbs else 405)
    for subresource in kind.subresources:
        answer = await ann.get(f"{path}/none/{subresource}")
        assert answer.status_code in {404, 405}, answer.text
    emptied = await ann.request("DELETE", path)  # her own rights among it
    assert emptied.status_code == (200 if "deletecollection" in kind.verbs else 405)


async def test_a_namespace_is_in_itself(ann: httpx2.AsyncClient) -> None:
    assert (await ann.get("/api/v1/namespaces/a")).json()["metadata"]["name"] == "a"
    assert (await ann.get("/api/v1/namespaces/b")).status_code == 403
    assert (await ann.get("/api/v1/namespaces")).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/a/../b/configmaps/b",
        "/api/v1/namespaces/a%2F..%2Fb/configmaps/b",
        "//api/v1/namespaces/b/configmaps/b",
        "/api/v1//namespaces/b/configmaps/b",
        "/api/v1/namespaces/b/configmaps/b/",
        "/api/v1/namespaces/a/namespaces/b/configmaps/b",
        "/api/v1/configmaps?fieldSelector=metadata.namespace%3Da",
        "/api/v1/configmaps?fieldSelector=metadata.name%3Db&namespace=a",
        "/api/v1/namespaces/b/configmaps?fieldSelector=metadata.name%3Da",
    ],
)
async def test_no_spelling_of_a_path_leads_out(ann: httpx2.AsyncClient, path: str) -> None:
    answer = await ann.get(httpx2.URL(f"http://api{path}"))
    assert answer.status_code in {403, 404}
    assert "told" not in answer.text


async def test_a_body_cannot_lead_out(ann: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    item: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "b"}}
    path = "/api/v1/namespaces/a/configmaps"
    assert (await ann.post(path, json=item)).status_code == 400
    await posted(ann, path, metadata={"name": "x"})
    assert (await ann.put(f"{path}/x", json=item)).status_code == 400
    headers = {"content-type": "application/merge-patch+json"}
    moved = await ann.patch(f"{path}/x", json={"metadata": {"namespace": "b"}}, headers=headers)
    assert moved.status_code == 400
    assert [
        item["metadata"]["name"] for item in (await http.get("/api/v1/namespaces/b/configmaps")).json()["items"]
    ] == ["b"]


async def test_what_is_not_served_is_told_to_nobody(ann: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    for path, what in (
        ("/api/v1/gadgets", 'gadgets is forbidden: User "ann" cannot list resource "gadgets" in API group ""'),
        ("/apis/x.example.com/v1/gadgets", "gadgets.x.example.com is forbidden"),
        ("/", 'forbidden: User "ann" cannot get path "/"'),
        ("/api", 'forbidden: User "ann" cannot get path "/api"'),
        ("/openapi/v2", 'forbidden: User "ann" cannot get path "/openapi/v2"'),
        ("/metrics", 'forbidden: User "ann" cannot get path "/metrics"'),
    ):
        refused = await ann.get(path)
        assert refused.status_code == 403
        assert refused.json()["message"].startswith(what)
        assert (await http.get(path)).status_code in {200, 404}
    assert (await ann.get("/version")).status_code == 200


async def test_names_and_subresources(app: ApiServer, http: httpx2.AsyncClient) -> None:
    one = rule("get list watch update", "configmaps", resourceNames=["mine"])
    await allow(http, "bob", one, rule("get", "pods/log"), rule("get", "*/status", ["*"]), namespace="a")
    for name in ("mine", "yours"):
        await posted(http, "/api/v1/namespaces/a/configmaps", metadata={"name": name})
    bob, path = person(app, "bob"), "/api/v1/namespaces/a/configmaps"
    assert (await bob.get(f"{path}/mine")).status_code == 200
    assert (await bob.get(f"{path}/yours")).status_code == 403
    assert (await bob.get(path)).status_code == 403
    listed = await bob.get(path, params={"fieldSelector": "metadata.name=mine"})
    assert [item["metadata"]["name"] for item in listed.json()["items"]] == ["mine"]
    for selector in ("metadata.name=yours", "metadata.name!=mine", "metadata.namespace=mine"):
        assert (await bob.get(path, params={"fieldSelector": selector})).status_code == 403
    pods = "/api/v1/namespaces/a/pods"
    assert (await bob.get(f"{pods}/p/log")).status_code == 404  # allowed, and no such pod
    assert (await bob.get(f"{pods}/p")).status_code == 403
    assert (await bob.get("/apis/apps/v1/namespaces/a/deployments/d/status")).status_code == 404
    assert (await bob.put("/apis/apps/v1/namespaces/a/deployments/d/status", json={})).status_code == 403
