"""What a request does to what its path names, and who does it.

Most kinds are stored objects with the standard verbs. Whatever differs has a handler of its own: most sub-resources
(`pods/log`), and kinds that are asked and never stored (reviews, metrics). A handler is found by the resource as
messages name it and the verb: `("pods/log", "get")`, `("deployments.apps/scale", "update")`; a `*` in place of the
resource stands for every kind that has the sub-resource: `("*/scale", "get")`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from skerry.cluster.apiserver.replies import Answer
from skerry.cluster.apiserver.requests import Request, Target
from skerry.machinery import status

Handler = Callable[[Request, Target], Awaitable[Answer]]

_OF_METHODS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
# Sub-resources that are parts of the stored object itself.
_OF_STORED: Final[Mapping[str, Sequence[str]]] = {"status": ("get", "patch", "update"), "finalize": ("update",)}


_STREAMS: Final = frozenset({"attach", "exec", "portforward"})


class Handlers:
    """Handlers by resource and verb."""

    def __init__(self, *tables: Mapping[tuple[str, str], Handler]) -> None:
        self._table = {key: handler for table in tables for key, handler in table.items()}

    def find(self, target: Target, verb: str) -> Handler | None:
        """Return who answers, None for the standard verbs of a stored object."""
        found = self._table.get((resource_of(target), verb))
        if found is None and target.subresource is not None:
            found = self._table.get((f"*/{target.subresource}", verb))
        return found


def resource_of(target: Target) -> str:
    """Name the resource as messages do: `deployments.apps`, `deployments.apps/scale`."""
    resource = target.kind.group_resource
    return resource if target.subresource is None else f"{resource}/{target.subresource}"


def verbs_of(target: Target) -> Sequence[str]:
    """Return the verbs that the stored object takes at this path."""
    return target.kind.verbs if target.subresource is None else _OF_STORED.get(target.subresource, ())


def verbs_needed(target: Target, verb: str) -> Sequence[str]:
    """Return what a client must be allowed for this verb.

    A stream begins with the GET of a WebSocket; who may only read must not run commands with it (Kubernetes 1.35).
    """
    return ("get", "create") if target.subresource in _STREAMS and verb == "get" else (verb,)


def verb_of(request: Request, target: Target) -> str:
    """Return what is to be done; raises a 405 for a method that the path does not take."""
    named = target.name is not None
    # Objects that live in namespaces are made and deleted in one namespace at a time.
    placed = not target.kind.namespaced or target.namespace is not None
    if target.subresource is not None:
        verb = _OF_METHODS.get(request.method)
        if verb is not None:
            return verb
    else:
        match request.method:
            case "GET" | "HEAD" if named:
                return "get"
            case "GET" if request.flag("watch"):
                return "watch"
            case "GET" | "HEAD":
                return "list"
            case "POST" if not named and placed:
                return "create"
            case "PUT" if named:
                return "update"
            case "PATCH" if named:
                return "patch"
            case "DELETE" if named or placed:
                return "delete" if named else "deletecollection"
    raise status.method_not_supported(resource_of(target), request.method)
