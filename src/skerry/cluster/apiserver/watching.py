"""watch: the events of one resource as a stream of JSON lines.

A selector turns changes into the events that a client with that selector must see: an object that moves into the
selection is ADDED, one that moves out is DELETED. A watch without resourceVersion begins with the present state.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.list_options import check_watch_options, resource_version
from skerry.cluster.apiserver.reading import shown
from skerry.cluster.apiserver.replies import Stream
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.selection import Selection, selection_of
from skerry.cluster.store import Event, Expired, Store, StoreFailed, Watcher
from skerry.machinery import status

_BOOKMARK_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 3600  # the real server ends watches after 30 to 60 minutes too
_LINE_ENDS: Final = tuple((mark.encode(), b"\\u%04x" % ord(mark)) for mark in "\u0085\u2028\u2029")
_INITIAL_END: Final = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class WatchOptions:
    """The query of one watch. `present`: begin with the present state; else with what follows version `since`."""

    since: int | None
    present: bool
    seconds: float
    bookmarks: bool
    initial_end: bool


def watch_options(request: Request) -> WatchOptions:
    """Read the options of a watch; raises a 400 or 422 for what Kubernetes refuses."""
    check_watch_options(request)
    since = resource_version(request) or None
    initial = request.flag("sendInitialEvents") if "sendInitialEvents" in request.query else None
    seconds = request.number("timeoutSeconds") or _LONGEST_SECONDS
    return WatchOptions(
        since=since,
        present=since is None if initial is None else initial,
        seconds=min(seconds, _LONGEST_SECONDS),
        bookmarks=request.flag("allowWatchBookmarks"),
        initial_end=bool(initial),
    )


class WatchHandler:
    """Starts watches over a store."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def watch(self, request: Request, target: Target) -> Stream:
        output = printing.output_of(request)
        selection = selection_of(request, target.kind)
        options = watch_options(request)
        printer = _Printer(target.kind, selection, output, self._now)
        return Stream(self._follow(target, options, printer), output.media_type)

    async def _follow(self, target: Target, options: WatchOptions, printer: "_Printer") -> AsyncIterator[bytes]:
        resource = target.kind.storage_key
        present: list[bytes] = []
        since = self._store.version if options.since is None else options.since
        if options.present:
            page = self._store.list_objects(resource, target.namespace)
            present, since = page.items, page.version
        try:
            watcher = self._store.watch(resource, target.namespace, since)
        except Expired as error:
            yield _error_line(status.gone(str(error)))
            return
        try:
            for data in present:
                if line := printer.present(msgspec.json.decode(data)):
                    yield line
            if options.initial_end:
                yield printer.bookmark(since, {_INITIAL_END: "true"})
            async for line in self._events(watcher, options, printer):
                yield line
        except Expired as error:
            yield _error_line(status.gone(str(error)))
        except StoreFailed as error:
            yield _error_line(status.internal(str(error)))
        finally:
            self._store.unwatch(watcher)

    async def _events(self, watcher: Watcher, options: WatchOptions, printer: "_Printer") -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + options.seconds
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, _BOOKMARK_SECONDS)):
                    event = await watcher.next()
            except TimeoutError:
                # A client resumes after its last bookmark: there may be nothing before it that was not sent.
                if options.bookmarks and watcher.caught_up:
                    yield printer.bookmark(self._store.version, None)
                continue
            if event is None:
                return
            for line in printer.change(event):
                yield line


class _Printer:
    """Turns events of the store into lines for one client."""

    def __init__(self, kind: Kind, selection: Selection, output: printing.Output, now: Callable[[], datetime]) -> None:
        self._kind = kind
        self._selection = selection
        self._output = output
        self._now = now
        # Stored bytes go out as they are when nobody wants them changed.
        self._verbatim = selection.everything and output.form == "Object" and kind.from_storage is None

    def present(self, stored: Object) -> bytes | None:
        item = shown(self._kind, stored)
        return self._line("ADDED", item) if self._selection.matches(item) else None

    def change(self, event: Event) -> Iterator[bytes]:
        if self._verbatim:
            yield _one_line(b'{"type":"%b","object":%b}' % (event.type.encode(), event.data))
            return
        item = shown(self._kind, event.object)
        before = event.previous_object
        was = before is not None and self._selection.matches(shown(self._kind, before))
        now = event.type != "DELETED" and self._selection.matches(item)
        if now:
            yield self._line("MODIFIED" if was else "ADDED", item)
        elif was:
            yield self._line("DELETED", item)

    def bookmark(self, version: int, annotations: dict[str, str] | None) -> bytes:
        meta: Object = {"resourceVersion": str(version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        item = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": meta}
        if self._output.form == "Table":
            item = {
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "columnDefinitions": [],
                "rows": [],
            }
        return _line("BOOKMARK", item)

    def _line(self, type_: str, item: Object) -> bytes:
        return _line(type_, printing.one(self._kind, item, self._output, self._now()))


def _line(type_: str, item: Object) -> bytes:
    return _one_line(msgspec.json.encode({"type": type_, "object": item}))


def _one_line(event: bytes) -> bytes:
    """Escape what Unicode calls a line end too: clients in Python (httpx) would cut the event there."""
    for raw, escaped in _LINE_ENDS:
        if raw in event:
            event = event.replace(raw, escaped)
    return event + b"\n"


def _error_line(error: status.StatusError) -> bytes:
    return _line("ERROR", error.body())
