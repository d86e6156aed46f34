"""Discovery: both forms tell the same, in the shape that client-go reads."""

from typing import Any

import msgspec
import pytest

from skerry.api.kinds import REGISTRY
from skerry.api.registry import Kind
from skerry.cluster.apiserver.access.users import administrator
from skerry.cluster.apiserver.discovery import Discovery, api_resource_list, storage_version_hash
from skerry.cluster.apiserver.requests import Request

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
Json = dict[str, Any]


@pytest.fixture
def discovery() -> Discovery:
    return Discovery(REGISTRY)


def get(discovery: Discovery, path: str, accept: str = "application/json", **headers: str) -> Any:
    request = Request("GET", path, {}, {"accept": accept, **headers}, b"", administrator("admin"))
    return discovery.find(request)


def document(discovery: Discovery, path: str, accept: str = "application/json") -> Json:
    reply = get(discovery, path, accept)
    assert reply is not None, path
    found: Json = msgspec.json.decode(reply.body)
    return found


def test_the_tree_of_small_documents(discovery: Discovery) -> None:
    assert document(discovery, "/api")["versions"] == ["v1"]
    groups = document(discovery, "/apis")["groups"]
    assert [group["name"] for group in groups] == [
        "apps",
        "batch",
        "autoscaling",
        "events.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "rbac.authorization.k8s.io",
        "route.openshift.io",
        "apiextensions.k8s.io",
        "metrics.k8s.io",
        "storage.k8s.io",
        "serving.kserve.io",
    ]
    serving = document(discovery, "/apis/serving.kserve.io")
    assert serving["kind"] == "APIGroup"
    assert serving["preferredVersion"] == {"groupVersion": "serving.kserve.io/v1beta1", "version": "v1beta1"}
    assert [version["version"] for version in serving["versions"]] == ["v1beta1", "v1alpha1"]
    for path in ("/api/v1", "/apis/apps/v1", "/apis/serving.kserve.io/v1alpha1", "/apis/apps/v1/"):
        assert document(discovery, path)["kind"] == "APIResourceList"


@pytest.mark.parametrize("path", ["/", "/api/v2", "/apis/nope", "/apis/apps/v2", "/api/v1/pods", "/openapi/v3"])
def test_other_paths_are_somebody_elses(discovery: Discovery, path: str) -> None:
    assert get(discovery, path) is None


def test_only_reading_is_answered(discovery: Discovery) -> None:
    assert discovery.find(Request("POST", "/api", {}, {}, b"", administrator("admin"))) is None


def test_a_resource_with_all_that_kubectl_needs() -> None:
    resources = {one["name"]: one for one in api_resource_list(REGISTRY, "", "v1")["resources"]}
    assert resources["pods"] == {
        "name": "pods",
        "singularName": "pod",
        "namespaced": True,
        "kind": "Pod",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["po"],
        "categories": ["all"],
        "storageVersionHash": resources["pods"]["storageVersionHash"],
    }
    assert len(resources["pods"]["storageVersionHash"]) == 12
    assert resources["pods/status"]["verbs"] == ["get", "patch", "update"]
    assert (resources["pods/log"]["verbs"], resources["pods/log"]["kind"]) == (["get"], "Pod")
    assert (resources["pods/binding"]["verbs"], resources["pods/binding"]["kind"]) == (["create"], "Binding")
    eviction = resources["pods/eviction"]
    assert (eviction["group"], eviction["version"], eviction["kind"]) == ("policy", "v1", "Eviction")
    assert resources["namespaces/finalize"]["verbs"] == ["update"]
    token = {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest", "verbs": ["create"]}
    assert token.items() <= resources["serviceaccounts/token"].items()
    assert "deletecollection" not in resources["namespaces"]["verbs"]
    assert resources["namespaces"]["namespaced"] is False
    assert "serviceaccounts/status" not in resources


def test_what_is_scaled_is_an_object_of_another_group() -> None:
    resources = {one["name"]: one for one in api_resource_list(REGISTRY, "apps", "v1")["resources"]}
    for plural in ("deployments", "replicasets"):
        scale = resources[f"{plural}/scale"]
        assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
        assert scale["verbs"] == ["get", "patch", "update"]
    assert "group" not in resources["deployments/status"]


def test_what_is_only_asked_is_not_stored() -> None:
    metrics = api_resource_list(REGISTRY, "metrics.k8s.io", "v1beta1")["resources"]
    assert [(one["name"], one["kind"], one["verbs"]) for one in metrics] == [
        ("nodes", "NodeMetrics", ["get", "list"]),
        ("pods", "PodMetrics", ["get", "list"]),
    ]
    assert not any("storageVersionHash" in one for one in metrics)


@pytest.mark.parametrize("form", ["v2", "v2beta1"])
def test_the_aggregated_form_tells_the_same(discovery: Discovery, form: str) -> None:
    accept = f"application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList"
    found: dict[tuple[str, str, str], Json] = {}
    for path in ("/api", "/apis"):
        tree = document(discovery, path, accept)
        assert (tree["kind"], tree["apiVersion"]) == ("APIGroupDiscoveryList", f"apidiscovery.k8s.io/{form}")
        for group in tree["items"]:
            for version in group["versions"]:
                for resource in version["resources"]:
                    found[group["metadata"].get("name", ""), version["version"], resource["resource"]] = resource
    assert set(found) == {(kind.group, kind.version, kind.plural) for kind in REGISTRY}
    for kind in REGISTRY:
        resource = found[kind.group, kind.version, kind.plural]
        assert resource["responseKind"] == {"group": kind.group, "version": kind.version, "kind": kind.kind}
        assert resource["scope"] == ("Namespaced" if kind.namespaced else "Cluster")
        assert resource["verbs"] == sorted(kind.verbs)
        names = [one["subresource"] for one in resource.get("subresources", [])]
        assert names == sorted(kind.subresources)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (AGGREGATED, "v2"),
        ("application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io", "v2beta1"),
        ("application/json;as=APIGroupDiscoveryList;v=v3;g=apidiscovery.k8s.io,application/json", ""),
        ("application/json", ""),
        ("*/*", ""),
        ("", ""),
    ],
)
def test_the_accept_header_chooses(discovery: Discovery, accept: str, form: str) -> None:
    reply = get(discovery, "/apis", accept)
    assert reply.media_type == (
        f"application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList" if form else "application/json"
    )
    assert reply.headers["vary"] == "Accept"


def test_a_client_that_has_the_document_gets_no_second_copy(discovery: Discovery) -> None:
    first = get(discovery, "/apis", AGGREGATED)
    again = get(discovery, "/apis", AGGREGATED, **{"if-none-match": first.headers["etag"]})
    assert (again.code, again.body) == (304, b"")
    assert get(discovery, "/apis", **{"if-none-match": first.headers["etag"]}).code == 200


def test_what_is_stored_alike_has_one_hash() -> None:
    def kind(group: str) -> Kind:
        found = REGISTRY.by_plural(group, "v1", "events")
        assert found is not None
        return found

    assert storage_version_hash(kind("")) == storage_version_hash(kind("events.k8s.io"))
