"""OpenAPI documents: complete in themselves, and with what kubectl looks for."""

import gzip
from typing import Any

import msgspec
import pytest

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.access.users import administrator
from skerry.cluster.apiserver.openapi import OpenApi
from skerry.cluster.apiserver.replies import Reply
from skerry.cluster.apiserver.requests import Request
from skerry.machinery.status import StatusError

Json = dict[str, Any]
GROUPS = [(group, version) for group, versions in REGISTRY.groups().items() for version in versions]
OPENAPI = OpenApi(REGISTRY)


def get(path: str, query: dict[str, str] | None = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = OPENAPI.find(Request("GET", path, query or {}, named, b"", administrator("admin")))
    assert reply is not None, path
    return reply


def path_of(group: str, version: str) -> str:
    return f"/openapi/v3/apis/{group}/{version}" if group else f"/openapi/v3/api/{version}"


def document(group: str, version: str) -> Json:
    found: Json = msgspec.json.decode(get(path_of(group, version)).body)
    return found


def schemas(group: str = "", version: str = "v1") -> Json:
    found: Json = document(group, version)["components"]["schemas"]
    return found


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        # A JSON schema has a field of that name, too.
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(references(inner) for inner in value))
    return set()


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        # The names of fields are no keywords: the schema of a JSON schema has a field `anyOf`.
        named = {"properties": list(value["properties"].values())} if isinstance(value.get("properties"), dict) else {}
        return set(value).union(*(keys(inner) for inner in {**value, **named}.values()))
    return set().union(*(keys(inner) for inner in value)) if isinstance(value, list) else set()


def test_the_index_names_every_version_with_a_hash() -> None:
    paths = msgspec.json.decode(get("/openapi/v3").body)["paths"]
    assert set(paths) == {path_of(*one).removeprefix("/openapi/v3/") for one in GROUPS}
    for path, entry in paths.items():
        url, _, hashed = entry["serverRelativeURL"].partition("?hash=")
        assert url == f"/openapi/v3/{path}"
        assert len(hashed) == 32


@pytest.mark.parametrize(("group", "version"), GROUPS)
def test_a_document_is_complete_in_itself(group: str, version: str) -> None:
    found = document(group, version)
    assert found["openapi"] == "3.0.0"
    known = {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    assert references(found) <= known
    assert not {"anyOf", "$defs", "title"} & (keys(found["components"]) - {"title"})


@pytest.mark.parametrize("kind", list(REGISTRY), ids=lambda kind: f"{kind.group}/{kind.version}/{kind.kind}")
def test_what_kubectl_looks_for(kind: Any) -> None:
    found = document(kind.group, kind.version)
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    marked = [
        schema
        for schema in found["components"]["schemas"].values()
        if gvk in schema.get("x-kubernetes-group-version-kind", [])
    ]
    assert len(marked) == 1
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"{base}/namespaces/{{namespace}}" if kind.namespaced else base
    collection = found["paths"][f"{scope}/{kind.plural}"]
    assert collection["get" if "list" in kind.verbs else "post"]["x-kubernetes-group-version-kind"] == gvk
    patches = [item["patch"] for item in found["paths"].values() if "patch" in item]
    own = [patch for patch in patches if patch["x-kubernetes-group-version-kind"] == gvk]
    assert bool(own) is ("patch" in kind.verbs)
    strategic = "." not in kind.group or kind.group.endswith(".k8s.io")
    for patch in own:
        assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
        offered = "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
        assert offered is strategic


def test_operations_have_names_of_their_own() -> None:
    for one in GROUPS:
        names = [
            operation["operationId"]
            for item in document(*one)["paths"].values()
            for method, operation in item.items()
            if method != "parameters"
        ]
        assert len(names) == len(set(names))


def test_fields_of_a_pod() -> None:
    found = schemas()
    pod, spec = found["io.k8s.api.core.v1.Pod"], found["io.k8s.api.core.v1.PodSpec"]
    assert pod["description"].startswith("Pod is a collection of containers that can run on a host.")
    assert pod["properties"]["spec"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    containers = spec["properties"]["containers"]
    assert containers["description"].startswith("List of containers belonging to the pod.")
    assert containers["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}
    assert (containers["x-kubernetes-patch-merge-key"], containers["x-kubernetes-patch-strategy"]) == ("name", "merge")
    assert spec["properties"]["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert spec["required"] == ["containers"]
    assert spec["properties"]["terminationGracePeriodSeconds"]["type"] == "integer"
    strategy = schemas("apps", "v1")["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]
    assert strategy["x-kubernetes-patch-strategy"] == "retainKeys"
    assert "x-kubernetes-patch-merge-key" not in strategy


def test_special_types() -> None:
    found = schemas()
    meta = found["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]
    assert (meta["creationTimestamp"]["type"], meta["creationTimestamp"]["format"]) == ("string", "date-time")
    assert meta["labels"]["additionalProperties"] == {"type": "string"}
    assert meta["finalizers"]["x-kubernetes-patch-strategy"] == "merge"
    assert set(found["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"]["properties"]) >= {"continue", "resourceVersion"}
    quantity = {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"}
    resources = found["io.k8s.api.core.v1.ResourceRequirements"]["properties"]
    assert resources["limits"]["additionalProperties"] == quantity
    limit = found["io.k8s.api.core.v1.EmptyDirVolumeSource"]["properties"]["sizeLimit"]
    assert limit["allOf"] == [quantity]
    port = found["io.k8s.api.core.v1.ServicePort"]["properties"]["targetPort"]
    assert port["allOf"] == [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}]
    assert found["io.k8s.api.core.v1.Secret"]["properties"]["data"]["additionalProperties"]["format"] == "byte"
    assert found["io.k8s.api.core.v1.ConfigMap"]["properties"]["data"]["additionalProperties"] == {"type": "string"}


def test_our_own_kinds() -> None:
    serving = schemas("serving.kserve.io", "v1beta1")
    service = serving["io.kserve.serving.v1beta1.InferenceService"]
    assert service["properties"]["spec"] == {
        "$ref": "#/components/schemas/io.kserve.serving.v1beta1.InferenceServiceSpec"
    }
    assert service["properties"]["status"]["x-kubernetes-preserve-unknown-fields"] is True
    predictor = serving["io.kserve.serving.v1beta1.PredictorSpec"]["properties"]
    assert predictor["tolerations"]["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Toleration"}
    assert predictor["tolerations"]["description"].startswith("If specified, the pod's tolerations.")
    route = schemas("route.openshift.io", "v1")["io.openshift.route.v1.RouteSpec"]
    assert route["required"] == ["to"]
    assert route["properties"]["host"]["description"].startswith("Host name of the requests;")


def test_the_older_form_has_everything_in_one() -> None:
    found = msgspec.json.decode(get("/openapi/v2").body)
    assert found["swagger"] == "2.0"
    assert references(found) <= {f"#/definitions/{name}" for name in found["definitions"]}
    for kind in REGISTRY:
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        assert any(gvk in one.get("x-kubernetes-group-version-kind", []) for one in found["definitions"].values())
    target = found["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    assert (target["type"], target["format"]) == ("string", "int-or-string")
    assert "oneOf" not in keys(found["definitions"])


def test_a_document_is_sent_as_it_is_kept_to_who_can_read_that() -> None:
    plain, packed = get("/openapi/v3/api/v1"), get("/openapi/v3/api/v1", accept_encoding="gzip, deflate")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) * 4 < len(plain.body)


def test_caching_by_hash() -> None:
    url = msgspec.json.decode(get("/openapi/v3").body)["paths"]["api/v1"]["serverRelativeURL"]
    path, _, hashed = url.partition("?hash=")
    fresh = get(path, {"hash": hashed})
    assert fresh.code == 200
    assert "immutable" in fresh.headers["cache-control"]
    moved = get(path, {"hash": "old"})
    assert (moved.code, moved.headers["location"]) == (301, url)
    known = get(path, if_none_match=fresh.headers["etag"])
    assert (known.code, known.body) == (304, b"")
    assert "cache-control" not in get(path).headers


def test_the_older_form_as_protobuf() -> None:
    """What kubectl makes of it: tests/conformance. Here: that nothing in any kind's schema has no place in it."""
    answer = get("/openapi/v2", accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    assert answer.media_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert answer.body.startswith(b"\x0a\x032.0\x12")
    assert b"io.k8s.api.apps.v1.Deployment" in answer.body


def test_version_3_is_not_offered_as_protobuf() -> None:
    with pytest.raises(StatusError, match="only the following media types are accepted: application/json"):
        get("/openapi/v3/api/v1", accept="application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
    assert get("/openapi/v3/api/v1", accept="application/json, */*").code == 200


@pytest.mark.parametrize("path", ["/openapi", "/openapi/v3/api/v2", "/openapi/v3/apis/nope/v1", "/openapi/v4", "/api"])
def test_other_paths_are_somebody_elses(path: str) -> None:
    assert OPENAPI.find(Request("GET", path, {}, {}, b"", administrator("admin"))) is None


def test_only_reading_is_answered() -> None:
    assert OPENAPI.find(Request("POST", "/openapi/v2", {}, {}, b"", administrator("admin"))) is None
