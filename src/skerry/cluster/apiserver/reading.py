"""get and list."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.list_options import Continue, check_list_options, continued
from skerry.cluster.apiserver.printing import Output
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.selection import Selection, selection_of
from skerry.cluster.store import Expired, Key, Store
from skerry.machinery import status

Now = Callable[[], datetime]

_READ_AHEAD: Final = 500  # objects read at once for a page of selected ones


def key_of(target: Target) -> Key:
    """Return where the store keeps the object that a target names."""
    assert target.name is not None
    return Key(target.kind.storage_key, target.namespace or "", target.name)


def shown(kind: Kind, stored: Object) -> Object:
    """Turn a stored object into the version that the kind serves."""
    return kind.from_storage(stored) if kind.from_storage else stored


def stored_reply(kind: Kind, data: bytes, output: Output, now: datetime, code: int = 200) -> Reply:
    """Answer with a stored object; its bytes go out as they are when nobody wants them changed."""
    if output.form == "Object" and kind.from_storage is None:
        return Reply(code, data)
    item = shown(kind, msgspec.json.decode(data))
    return json_reply(printing.one(kind, item, output, now), code, output.media_type)


class Reader:
    """The reading verbs over a store."""

    def __init__(self, store: Store, now: Now) -> None:
        self._store = store
        self._now = now

    def fetch(self, target: Target) -> Object:
        """Return the object; raises the 404 that kubectl prints."""
        found = self.find(target)
        if found is None:
            raise status.not_found(target.kind.group_resource, target.name or "")
        return found

    def find(self, target: Target) -> Object | None:
        """Return the object, None when it is not there."""
        data = self._store.get(key_of(target))
        return None if data is None else shown(target.kind, msgspec.json.decode(data))

    @property
    def version(self) -> int:
        """The version of the store."""
        return self._store.version

    def all_of(self, kind: Kind, namespace: str | None) -> list[Object]:
        """Return all objects of a kind, for what is made of them."""
        page = self._store.list_objects(kind.storage_key, namespace)
        return [shown(kind, msgspec.json.decode(data)) for data in page.items]

    def get(self, request: Request, target: Target) -> Reply:
        output = printing.output_of(request)
        data = self._store.get(key_of(target))
        if data is None:
            raise status.not_found(target.kind.group_resource, target.name or "")
        return stored_reply(target.kind, data, output, self._now())

    def list_objects(self, request: Request, target: Target) -> Reply:
        kind = target.kind
        output = printing.output_of(request)
        selection = selection_of(request, kind)
        check_list_options(request, self._store)
        if selection.everything and output.form == "Object" and kind.from_storage is None:
            return self._verbatim(request, target)
        page = self._page(request, target, selection)
        meta = _list_meta(page.version, page.more, page.remaining if selection.everything else None)
        printed = printing.many(kind, page.items, meta, output, self._now())
        return json_reply(printed, media_type=output.media_type)

    def _verbatim(self, request: Request, target: Target) -> Reply:
        """List stored bytes as they are; long lists are mostly asked for like this."""
        kind, begun = target.kind, self._continued(request)
        limit, after = _limit(request), (begun.namespace, begun.name) if begun else None
        page = self._store.list_objects(kind.storage_key, target.namespace, limit=limit, after=after)
        version = begun.rv if begun else page.version
        more = Continue(version, *page.after) if page.after else None
        empty = printing.many(kind, [], _list_meta(version, more, page.remaining), Output(), self._now())
        head = msgspec.json.encode(empty)
        assert head.endswith(b"]}")
        return Reply(200, b"%b%b]}" % (head[:-2], b",".join(page.items)))

    def _page(self, request: Request, target: Target, selection: Selection) -> "_Page":
        """Read on until the page holds as many selected objects as the client wants."""
        limit, begun = _limit(request), self._continued(request)
        size = limit if selection.everything else limit and max(limit, _READ_AHEAD)
        after = (begun.namespace, begun.name) if begun else None
        chosen: list[Object] = []
        version = begun.rv if begun else 0
        while True:
            page = self._store.list_objects(target.kind.storage_key, target.namespace, limit=size, after=after)
            version = version or page.version
            for place, data in enumerate(page.items, 1):
                item = shown(target.kind, msgspec.json.decode(data))
                if not selection.matches(item):
                    continue
                chosen.append(item)
                if len(chosen) == limit and (place < len(page.items) or page.after):
                    meta = item["metadata"]
                    more = Continue(version, meta.get("namespace", ""), meta["name"])
                    return _Page(version, chosen, more, page.remaining)
            if page.after is None:
                return _Page(version, chosen, None, 0)
            after = page.after

    def _continued(self, request: Request) -> Continue | None:
        begun = continued(request)
        if begun is not None:
            try:
                self._store.check_kept(begun.rv)
            except Expired:
                raise status.gone(
                    "The provided continue parameter is too old to display a consistent list result. "
                    "You must start a new list without the continue parameter."
                ) from None
        return begun


def _limit(request: Request) -> int:
    return max(request.number("limit") or 0, 0)


def _list_meta(version: int, more: Continue | None, remaining: int | None) -> Object:
    meta: Object = {"resourceVersion": str(version)}
    if more is not None:
        meta["continue"] = more.token()
        if remaining is not None:
            meta["remainingItemCount"] = remaining
    return meta


class _Page(NamedTuple):
    version: int
    items: list[Object]
    more: Continue | None
    remaining: int
