"""Discovery: which groups, versions, resources and verbs are served.

Two forms of the same facts. The old one is a tree of small documents (`/api`, `/apis`, `/apis/GROUP/VERSION`). The
aggregated one puts everything that lies below `/api` or `/apis` into one document, which kubectl asks for first; which
form is meant stands in the Accept header. Every document is encoded once, when somebody first asks for it, and again
when kinds have come or gone (`Registry.revision`).

Facts: k8s.io/api `apidiscovery/v2`, k8s.io/apiserver `pkg/endpoints/discovery`.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec

from skerry.api.registry import Kind, Registry
from skerry.cluster.apiserver.replies import JSON, Reply
from skerry.cluster.apiserver.requests import Request

Document = dict[str, Any]

AGGREGATED_VERSIONS: Final = ("v2", "v2beta1")

_STATUS_VERBS: Final = ["get", "patch", "update"]
# Sub-resources that answer with another kind than their parent, or take other verbs than a status does. The kind is
# `Kind` of the parent's group, or `group/version/Kind` where clients must be told.
_SUBRESOURCES: Final[dict[str, tuple[list[str], str | None]]] = {
    "attach": (["create", "get"], "PodAttachOptions"),
    "binding": (["create"], "Binding"),
    "eviction": (["create"], "policy/v1/Eviction"),
    "exec": (["create", "get"], "PodExecOptions"),
    "finalize": (["update"], None),
    "log": (["get"], None),
    "portforward": (["create", "get"], "PodPortForwardOptions"),
    "scale": (_STATUS_VERBS, "autoscaling/v1/Scale"),
    "status": (_STATUS_VERBS, None),
    "token": (["create"], "authentication.k8s.io/v1/TokenRequest"),
}
# Answers of another group than the resource that they belong to.


class Discovery:
    """Answers requests for discovery documents."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._revision = -1
        self._encoded: dict[tuple[str, str], Reply] = {}

    def find(self, request: Request) -> Reply | None:
        """Return the document at the request's path, None when there is none."""
        if request.method not in {"GET", "HEAD"}:
            return None
        if self._revision != self._registry.revision:
            self._makers, self._encoded = _makers(self._registry), {}
            self._revision = self._registry.revision
        path = request.path.rstrip("/")
        form = _aggregated_version(request.headers.get("accept", "")) if path in {"/api", "/apis"} else ""
        make = self._makers.get((path, form))
        if make is None:
            return None
        reply = self._encoded.get((path, form))
        if reply is None:
            reply = self._encoded[path, form] = _encoded(make(), form)
        if reply.headers["etag"] == request.headers.get("if-none-match"):
            return Reply(304, b"", reply.media_type, reply.headers)
        return reply


def _makers(registry: Registry) -> dict[tuple[str, str], Callable[[], Document]]:
    """Map path and form to what makes the document."""
    makers: dict[tuple[str, str], Callable[[], Document]] = {
        ("/api", ""): partial(api_versions, registry),
        ("/apis", ""): partial(api_group_list, registry),
    }
    for form in AGGREGATED_VERSIONS:
        makers["/api", form] = partial(aggregated, registry, form, legacy=True)
        makers["/apis", form] = partial(aggregated, registry, form, legacy=False)
    for group, versions in registry.groups().items():
        base = f"/apis/{group}" if group else "/api"
        if group:
            makers[base, ""] = partial(api_group, registry, group)
        for version in versions:
            makers[f"{base}/{version}", ""] = partial(api_resource_list, registry, group, version)
    return makers


def _aggregated_version(accept: str) -> str:
    """Return the first aggregated form that the header asks for, "" for none."""
    for entry in accept.split(","):
        media, *parameters = [part.strip() for part in entry.split(";")]
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        if options.get("as") == "APIGroupDiscoveryList" and media == JSON and options.get("v") in AGGREGATED_VERSIONS:
            return options["v"]
        if media in {JSON, "*/*"} and "as" not in options:
            return ""
    return ""


def _encoded(document: Document, form: str) -> Reply:
    body = msgspec.json.encode(document)
    media_type = f"{JSON};g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList" if form else JSON
    etag = '"' + hashlib.sha256(body).hexdigest()[:32].upper() + '"'
    return Reply(200, body, media_type, {"etag": etag, "vary": "Accept"})


def api_versions(registry: Registry) -> Document:
    """`/api`: the versions of the group without a name."""
    return {
        "kind": "APIVersions",
        "versions": registry.groups().get("", []),
        # The address is for clients that look for a nearer server; there is one.
        "serverAddressByClientCIDRs": [],
    }


def api_group_list(registry: Registry) -> Document:
    """`/apis`: all named groups."""
    groups = [_group(registry, group) for group in registry.groups() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(registry: Registry, group: str) -> Document:
    """`/apis/GROUP`: one group."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, group)}


def _group(registry: Registry, group: str) -> Document:
    """List the versions of a group; the first one registered is preferred."""
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in registry.groups()[group]]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def api_resource_list(registry: Registry, group: str, version: str) -> Document:
    """`/api/v1` or `/apis/GROUP/VERSION`: the resources and sub-resources of one version."""
    resources: list[Document] = []
    for kind in _kinds_of(registry, group, version):
        resources.append(_resource(kind))
        resources += [_subresource(kind, name) for name in sorted(kind.subresources)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def _kinds_of(registry: Registry, group: str, version: str) -> Iterable[Kind]:
    return sorted((kind for kind in registry if (kind.group, kind.version) == (group, version)), key=_plural)


def _plural(kind: Kind) -> str:
    return kind.plural


def _resource(kind: Kind) -> Document:
    resource: Document = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    if kind.stored:
        resource["storageVersionHash"] = storage_version_hash(kind)
    return resource


def _subresource(kind: Kind, name: str) -> Document:
    verbs, _ = _SUBRESOURCES.get(name, (_STATUS_VERBS, None))
    answer = _answer(kind, name)
    foreign = {"group": answer["group"], "version": answer["version"]} if answer["group"] != kind.group else {}
    return {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        **foreign,
        "kind": answer["kind"],
        "verbs": verbs,
    }


def _answer(kind: Kind, subresource: str) -> Document:
    """Return group, version and kind of what a sub-resource answers with."""
    _, answer = _SUBRESOURCES.get(subresource, (_STATUS_VERBS, None))
    group, version, name = (answer or "").split("/") if answer and "/" in answer else (kind.group, kind.version, answer)
    return {"group": group, "version": version, "kind": name or kind.kind}


def storage_version_hash(kind: Kind) -> str:
    """Hash what a kind is stored as; clients only compare it with what it was before."""
    group = kind.stored_as[0] if kind.stored_as else kind.group
    digest = hashlib.sha256(f"{group}/{kind.version}/{kind.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def aggregated(registry: Registry, form: str, *, legacy: bool) -> Document:
    """`/api` (legacy) or `/apis` with everything below it, in one document."""
    items = []
    for group, versions in registry.groups().items():
        if (group == "") is not legacy:
            continue
        shown = [
            {
                "version": version,
                "resources": [_aggregated_resource(kind) for kind in _kinds_of(registry, group, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        metadata = {"name": group} if group else {}
        items.append({"metadata": metadata, "versions": shown})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{form}",
        "metadata": {},
        "items": items,
    }


def _aggregated_resource(kind: Kind) -> Document:
    resource: Document = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    if kind.subresources:
        resource["subresources"] = [
            {
                "subresource": name,
                "responseKind": _answer(kind, name),
                "verbs": _subresource(kind, name)["verbs"],
            }
            for name in sorted(kind.subresources)
        ]
    return resource
