"""The paths of OpenAPI documents: what can be done with a kind, and where.

Clients look for three things here: the path of a resource with its group, version and kind (`kubectl explain`), the
query parameter `fieldValidation` on its patch (`kubectl create --validate`), and the media types of the patch's body
(`kubectl apply` sends a strategic merge patch only where it is offered). The rest is for readers.
"""

from collections.abc import Iterator
from typing import Final

from skerry.api.registry import Kind
from skerry.api.schemas import V2, V3, Schema
from skerry.cluster.apiserver.replies import JSON

Paths = Iterator[tuple[str, Schema]]

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_MERGE_PATCHES: Final = ("application/json-patch+json", "application/merge-patch+json")
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"

_WRITE_OPTIONS: Final = {
    "dryRun": "All: nothing is stored.",
    "fieldManager": "Who writes.",
    "fieldValidation": "What happens to unknown and duplicate fields: Ignore, Warn or Strict.",
}
_LIST_OPTIONS: Final = {
    "labelSelector": "Only objects with these labels.",
    "fieldSelector": "Only objects with these fields.",
    "limit": "At most so many objects; the answer then has a token for the rest.",
    "continue": "The token of the answer before.",
    "resourceVersion": "The version to start from.",
    "watch": "Stream changes instead of answering with a list.",
}
_DELETE_OPTIONS: Final = {
    "dryRun": "All: nothing is deleted.",
    "gracePeriodSeconds": "Time to end in.",
    "propagationPolicy": "What happens to what the object owns: Orphan, Background or Foreground.",
}
# verb → (HTTP method, x-kubernetes-action, what stands in the query, whether the body is an object)
_ON_COLLECTION: Final[dict[str, tuple[str, str, dict[str, str], bool]]] = {
    "list": ("get", "list", _LIST_OPTIONS, False),
    "create": ("post", "post", _WRITE_OPTIONS, True),
    "deletecollection": ("delete", "deletecollection", _LIST_OPTIONS | _DELETE_OPTIONS, False),
}
_ON_OBJECT: Final[dict[str, tuple[str, str, dict[str, str], bool]]] = {
    "get": ("get", "get", {}, False),
    "update": ("put", "put", _WRITE_OPTIONS, True),
    "patch": ("patch", "patch", _WRITE_OPTIONS | {"force": "Only for server-side apply."}, False),
    "delete": ("delete", "delete", _DELETE_OPTIONS, False),
}
_ON_STATUS: Final = {verb: _ON_OBJECT[verb] for verb in ("get", "update", "patch")}


def gvk(kind: Kind, name: str = "") -> dict[str, str]:
    """Return group, version and kind as OpenAPI extensions spell them."""
    return {"group": kind.group, "kind": name or kind.kind, "version": kind.version}


def paths_v3(kind: Kind, names: tuple[str, str]) -> Paths:
    """Yield the paths of a kind; `names` are the components of an object and of a list."""
    for path, operations in _paths(kind):
        item: Schema = {"parameters": _path_parameters(path, version=3)}
        for verb, operation in operations.items():
            method = operation[0]
            answer = V3.reference(names[1] if verb == "list" else names[0])
            item[method] = {
                **_head(kind, operation[1], path),
                "parameters": [
                    {"name": name, "in": "query", "description": text, "schema": _query_type(name)}
                    for name, text in operation[2].items()
                ],
                "responses": {"200": {"description": "OK", "content": {JSON: {"schema": answer}}}},
            }
            if operation[3]:
                item[method]["requestBody"] = {"content": {JSON: {"schema": V3.reference(names[0])}}, "required": True}
            if verb == "patch":
                content: Schema = {media: {"schema": {"type": "object"}} for media in _patches(kind)}
                item[method]["requestBody"] = {"content": content, "required": True}
        yield path, item


def paths_v2(kind: Kind, names: tuple[str, str]) -> Paths:
    """Yield the paths of a kind in the older form."""
    for path, operations in _paths(kind):
        item: Schema = {"parameters": _path_parameters(path, version=2)}
        for verb, operation in operations.items():
            method = operation[0]
            parameters: list[Schema] = [
                {"name": name, "in": "query", "description": text, **_query_type(name)}
                for name, text in operation[2].items()
            ]
            if operation[3] or verb == "patch":
                schema = V2.reference(names[0]) if operation[3] else {"type": "object"}
                parameters.insert(0, {"name": "body", "in": "body", "required": True, "schema": schema})
            answer = V2.reference(names[1] if verb == "list" else names[0])
            item[method] = {
                **_head(kind, operation[1], path),
                "consumes": _patches(kind) if verb == "patch" else ["*/*"],
                "produces": [JSON],
                "schemes": ["https"],
                "parameters": parameters,
                "responses": {"200": {"description": "OK", "schema": answer}},
            }
        yield path, item


def _paths(kind: Kind) -> Iterator[tuple[str, dict[str, tuple[str, str, dict[str, str], bool]]]]:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"{base}/namespaces/{{namespace}}" if kind.namespaced else base
    served = set(kind.verbs)
    yield f"{scope}/{kind.plural}", {verb: one for verb, one in _ON_COLLECTION.items() if verb in served}
    yield f"{scope}/{kind.plural}/{{name}}", {verb: one for verb, one in _ON_OBJECT.items() if verb in served}
    if kind.has_status:
        yield f"{scope}/{kind.plural}/{{name}}/status", dict(_ON_STATUS)
    if kind.namespaced and "list" in served:
        yield f"{base}/{kind.plural}", {"list": _ON_COLLECTION["list"]}


def _head(kind: Kind, action: str, path: str) -> Schema:
    words = [action, *(part for part in path.split("/") if part and "{" not in part)]
    return {
        "operationId": "".join(word[:1].upper() + word[1:] for word in words).replace(".", ""),
        "tags": [f"{kind.group or 'core'}_{kind.version}"],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
    }


def _path_parameters(path: str, *, version: int) -> list[Schema]:
    found = [name for name in ("name", "namespace") if f"{{{name}}}" in path]
    kind: Schema = {"schema": {"type": "string"}} if version == 3 else {"type": "string"}
    return [{"name": name, "in": "path", "required": True, **kind} for name in found]


def _query_type(name: str) -> Schema:
    match name:
        case "limit" | "gracePeriodSeconds":
            return {"type": "integer"}
        case "watch" | "force":
            return {"type": "boolean"}
        case _:
            return {"type": "string"}


def _patches(kind: Kind) -> list[str]:
    return [*_MERGE_PATCHES, *([_STRATEGIC] if kind.built_in else []), _APPLY]
