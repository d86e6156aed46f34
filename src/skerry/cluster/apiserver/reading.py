"""get and list."""

import base64
import json
from collections.abc import Callable
from datetime import datetime

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.selection import selection_of
from skerry.cluster.store import Key, Store
from skerry.machinery import status

Now = Callable[[], datetime]


def key_of(target: Target) -> Key:
    """Return where the store keeps the object that a target names."""
    assert target.name is not None
    return Key(target.kind.storage_key, target.namespace or "", target.name)


def shown(kind: Kind, stored: Object) -> Object:
    """Turn a stored object into the version that the kind serves."""
    return kind.from_storage(stored) if kind.from_storage else stored


class Reader:
    """The reading verbs over a store."""

    def __init__(self, store: Store, now: Now) -> None:
        self._store = store
        self._now = now

    def fetch(self, target: Target) -> Object:
        """Return the object; raises the 404 that kubectl prints."""
        data = self._store.get(key_of(target))
        if data is None:
            raise status.not_found(target.kind.group_resource, target.name or "")
        return shown(target.kind, msgspec.json.decode(data))

    def get(self, request: Request, target: Target) -> Reply:
        output = printing.output_of(request)
        item = self.fetch(target)
        return json_reply(printing.one(target.kind, item, output, self._now()), media_type=output.media_type)

    def list_objects(self, request: Request, target: Target) -> Reply:
        kind = target.kind
        output = printing.output_of(request)
        selection = selection_of(request, kind)
        limit = request.number("limit") or 0
        after = _after(request.query.get("continue", ""))
        page = self._store.list_objects(kind.storage_key, target.namespace, limit=limit, after=after)
        items = [shown(kind, msgspec.json.decode(data)) for data in page.items]
        chosen = items if selection.everything else [item for item in items if selection.matches(item)]
        meta: Object = {"resourceVersion": str(page.version)}
        if page.after is not None:
            meta["continue"] = _token(page.after)
            if selection.everything:
                meta["remainingItemCount"] = page.remaining
        printed = printing.many(kind, chosen, meta, output, self._now())
        return json_reply(printed, media_type=output.media_type)


def _token(after: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(after).encode()).decode()


def _after(token: str) -> tuple[str, str] | None:
    if not token:
        return None
    try:
        namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        raise status.bad_request("continue key is not valid") from None
    return str(namespace), str(name)
