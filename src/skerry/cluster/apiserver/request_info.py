"""What a request is about, known from its head alone: for limits, time-outs and metrics, before anything is done.

Facts: k8s.io/apiserver `pkg/endpoints/request` RequestInfo, `pkg/endpoints/metrics`.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from skerry.api.registry import Registry
from skerry.cluster.apiserver.requests import APPLY_PATCH, Target, target_of

_VERBS: Final = {"GET": "GET", "HEAD": "GET", "POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE"}
_MUTATING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# They last as long as the client wants.
_LONG: Final = frozenset({"log", "exec", "attach", "portforward", "proxy"})
# Paths without a resource that are counted by name; all others are counted together.
_NAMED: Final = frozenset(
    {"/healthz", "/livez", "/readyz", "/metrics", "/version", "/api", "/apis", "/openapi/v2", "/openapi/v3"}
)


class RequestInfo(NamedTuple):
    """The labels of a request in metrics, which are also the key under which it is counted."""

    verb: str
    group: str
    version: str
    resource: str
    subresource: str
    scope: str  # "resource" for one object, "namespace" or "cluster" for many, "" for a path without a resource
    dry_run: str

    @property
    def long_running(self) -> bool:
        return self.verb == "WATCH" or self.subresource in _LONG


def info_of(scope: Mapping[str, Any], registry: Registry) -> RequestInfo:
    """Take the head of a request apart."""
    method, path, query = scope["method"], scope["path"], scope["query_string"]
    dry_run = "All" if b"dryRun=All" in query else ""
    target = target_of(path, registry)
    if target is None:
        return RequestInfo(_VERBS.get(method, "other"), "", "", "", path if path in _NAMED else "", "", dry_run)
    kind = target.kind
    verb = _verb(method, target, scope)
    return RequestInfo(verb, kind.group, kind.version, kind.plural, target.subresource or "", _scope(target), dry_run)


def is_mutating(method: str) -> bool:
    """Say whether a method changes something."""
    return method in _MUTATING


def _verb(method: str, target: Target, scope: Mapping[str, Any]) -> str:
    verb = _VERBS.get(method, "other")
    if verb == "PATCH":
        applies = (b"content-type", APPLY_PATCH.encode()) in scope["headers"]
        return "APPLY" if applies else "PATCH"
    if target.name is not None:
        return verb
    if verb == "GET":
        return "WATCH" if method == "GET" and _watches(scope["query_string"]) else "LIST"
    return "DELETECOLLECTION" if verb == "DELETE" else verb


def _watches(query: bytes) -> bool:
    """Read the flag as `Request.flag` does, which reads the first one."""
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name == b"watch":
            return value.lower() in {b"", b"1", b"t", b"true"}
    return False


def _scope(target: Target) -> str:
    if target.name is not None:
        return "resource"
    return "namespace" if target.namespace is not None else "cluster"
