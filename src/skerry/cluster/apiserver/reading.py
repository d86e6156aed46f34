"""get and list."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.list_options import Continue, ListOptions, list_options
from skerry.cluster.apiserver.printing import Output
from skerry.cluster.apiserver.replies import Reply, Stream, json_reply
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.selection import Selection, selection_of
from skerry.cluster.store import Expired, Key, Listing, Store
from skerry.machinery import status

Now = Callable[[], datetime]

_PIECE: Final = 500  # objects read at once: some milliseconds, in which nobody else is served


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

    async def list_objects(self, request: Request, target: Target) -> Reply | Stream:
        kind = target.kind
        output = printing.output_of(request)
        selection = selection_of(request, kind)
        options = list_options(request, self._store.committed)
        try:
            if selection.everything and output.form == "Object" and kind.from_storage is None:
                return self._verbatim(target, options)
            page = await self._page(target, selection, options)
        except Expired:
            raise options.too_old() from None
        meta = _list_meta(page.version, page.more, page.remaining if selection.everything else None)
        printed = printing.many(kind, page.items, meta, output, self._now())
        return json_reply(printed, media_type=output.media_type)

    def _verbatim(self, target: Target, options: ListOptions) -> Reply | Stream:
        """List stored bytes as they are; long lists are mostly asked for like this, and go out in pieces."""
        kind = target.kind
        page = self._store.list_objects(
            kind.storage_key,
            target.namespace,
            limit=options.limit or _PIECE,
            after=options.after,
            at=options.at,
            count=options.limit > 0,
        )
        more = Continue(page.version, *page.after) if page.after and options.limit else None
        empty = printing.many(kind, [], _list_meta(page.version, more, page.remaining), Output(), self._now())
        head = msgspec.json.encode(empty)
        assert head.endswith(b"]}")
        begin = head[:-2] + b",".join(page.items)
        if page.after is None or options.limit:
            return Reply(200, begin + b"]}")
        return Stream(self._pieces(target, begin, page))

    async def _pieces(self, target: Target, begin: bytes, page: Listing) -> AsyncIterator[bytes]:
        """Send the rest of a list as it was when it began; others are served in between."""
        yield begin
        while page.after is not None:
            await asyncio.sleep(0)
            page = self._store.list_objects(
                target.kind.storage_key, target.namespace, limit=_PIECE, after=page.after, at=page.version, count=False
            )
            yield b"," + b",".join(page.items)
        yield b"]}"

    async def _page(self, target: Target, selection: Selection, options: ListOptions) -> "_Page":
        """Read on until the page holds as many selected objects as the client wants."""
        limit, after, version = options.limit, options.after, options.at
        size = _PIECE if not selection.everything or not limit else limit
        chosen: list[Object] = []
        while True:
            page = self._store.list_objects(
                target.kind.storage_key,
                target.namespace,
                name=selection.name,
                limit=size,
                after=after,
                at=version,
                count=selection.everything,
            )
            version, after = page.version, page.after
            for place, data in enumerate(page.items, 1):
                item = shown(target.kind, msgspec.json.decode(data))
                if not selection.matches(item):
                    continue
                chosen.append(item)
                if len(chosen) == limit and (place < len(page.items) or after):
                    meta = item["metadata"]
                    more = Continue(version, meta.get("namespace", ""), meta["name"])
                    return _Page(version, chosen, more, page.remaining)
            if after is None:
                return _Page(version, chosen, None, 0)
            await asyncio.sleep(0)


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
