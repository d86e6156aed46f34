"""watch: the events of one resource as a stream of JSON lines.

A selector turns changes into the events that a client with that selector must see: an object that moves into the
selection is ADDED, one that moves out is DELETED, in the last state that was in it. A watch without resourceVersion
begins with the present state.

Most watchers want the stored bytes, and one event is encoded once for all of them. What waits for a client goes out
together. A bookmark says up to which version nothing is missing; it comes every minute however much or little
happens, and at the end of the time that the client set.

Facts: k8s.io/apiserver `pkg/storage/cacher`, `pkg/endpoints/handlers/get.go`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from skerry.api.registry import Kind, Object, Registry
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.list_options import check_watch_options, resource_version
from skerry.cluster.apiserver.reading import shown
from skerry.cluster.apiserver.replies import Stream
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.selection import Selection, selection_of
from skerry.cluster.store import Event, Expired, Store, StoreFailed, Watcher, json_line
from skerry.machinery import status

_BOOKMARK_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 24 * 3600
# A client that sets no time is ended after half an hour to an hour, as by the real server, and not all at once.
_SHORT_SECONDS, _LONG_SECONDS = 1800.0, 3600.0
_CHUNK: Final = 64 * 1024  # what waits is sent together up to here
_PIECE: Final = 500
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
    seconds = request.number("timeoutSeconds") or random.uniform(_SHORT_SECONDS, _LONG_SECONDS)  # noqa: S311 - no secret
    return WatchOptions(
        since=since,
        present=since is None if initial is None else initial,
        seconds=min(seconds, _LONGEST_SECONDS),
        bookmarks=request.flag("allowWatchBookmarks"),
        initial_end=bool(initial),
    )


class WatchHandler:
    """Starts watches over a store."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        now: Callable[[], datetime],
        sent: MutableMapping[tuple[str, str, str], int],
    ) -> None:
        """`sent` counts events by group, version and kind."""
        self._store = store
        self._registry = registry
        self._now = now
        self._sent = sent
        self._open: dict[Watcher, Kind] = {}
        registry.listen(self._end_the_gone)

    def watch(self, request: Request, target: Target) -> Stream:
        output = printing.output_of(request)
        selection = selection_of(request, target.kind)
        options = watch_options(request)
        printer = _Printer(target.kind, selection, output, self._now, self._sent)
        return Stream(self._follow(target, options, printer), output.media_type)

    async def _follow(self, target: Target, options: WatchOptions, printer: "_Printer") -> AsyncIterator[bytes]:
        resource, name = target.kind.storage_key, printer.selection.name
        since = self._store.version if options.since is None else options.since
        try:
            if options.present:
                page = self._store.list_objects(resource, target.namespace, name=name, limit=_PIECE, count=False)
                since = page.version
            watcher = self._store.watch(resource, target.namespace, since, name=name)
        except Expired as error:
            yield _error_line(status.gone(str(error)))
            return
        self._open[watcher] = target.kind
        if self._is_gone(target.kind):  # while the head of the answer was sent
            watcher.close()
        try:
            while options.present:
                if lines := [*printer.present(page.items)]:
                    printer.count(len(lines))
                    yield b"".join(lines)
                if page.after is None:
                    break
                await asyncio.sleep(0)  # others are served between the pieces of a long state
                page = self._store.list_objects(
                    resource, target.namespace, name=name, limit=_PIECE, after=page.after, at=since, count=False
                )
            if options.initial_end and options.bookmarks:
                yield printer.bookmark(since, {_INITIAL_END: "true"})
            async for chunk in self._events(watcher, options, printer, since):
                yield chunk
        except Expired as error:
            yield _error_line(status.gone(str(error)))
        except StoreFailed as error:
            yield _error_line(status.internal(str(error)))
        finally:
            del self._open[watcher]
            self._store.unwatch(watcher)

    def _end_the_gone(self) -> None:
        """End the watches of kinds that are served no more: nothing will ever happen to them again."""
        for watcher, kind in self._open.items():
            if self._is_gone(kind):
                watcher.close()

    def _is_gone(self, kind: Kind) -> bool:
        served = self._registry.by_plural(kind.group, kind.version, kind.plural)
        return served is None or served.kind != kind.kind

    async def _events(
        self, watcher: Watcher, options: WatchOptions, printer: "_Printer", seen: int
    ) -> AsyncIterator[bytes]:
        """Send changes and bookmarks until the time is over; everything up to version `seen` was sent."""
        loop = asyncio.get_running_loop()
        end, mark = loop.time() + options.seconds, loop.time() + _BOOKMARK_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(min(end, mark)) as limit:
                    event = await watcher.next()
            except TimeoutError:
                if not limit.expired():
                    raise
            else:
                if event is None:
                    return
                lines, seen = _waiting(watcher, event, printer)
                if lines:
                    yield lines
            now = loop.time()
            if now >= min(end, mark):
                mark = now + _BOOKMARK_SECONDS
                if options.bookmarks:
                    # A client resumes after its last bookmark: there may be nothing before it that was not sent.
                    seen = max(seen, self._store.version) if watcher.caught_up else seen
                    yield printer.bookmark(seen, None)
                if now >= end:
                    return


def _waiting(watcher: Watcher, event: Event, printer: "_Printer") -> tuple[bytes, int]:
    """Print an event and those that wait behind it; returns the version reached too."""
    lines = [*printer.change(event)]
    size = sum(map(len, lines))
    while size < _CHUNK and (following := watcher.ready()) is not None:
        event = following
        for line in printer.change(event):
            lines.append(line)
            size += len(line)
    printer.count(len(lines))
    return b"".join(lines), event.version


class _Printer:
    """Turns events of the store into lines for one client."""

    def __init__(
        self,
        kind: Kind,
        selection: Selection,
        output: printing.Output,
        now: Callable[[], datetime],
        sent: MutableMapping[tuple[str, str, str], int],
    ) -> None:
        self._kind = kind
        self.selection = selection
        self._output = output
        self._now = now
        self._sent = sent
        self._counted = (kind.group, kind.version, kind.kind)
        # Stored bytes go out as they are when nobody wants them changed.
        self._verbatim = output.form == "Object" and kind.from_storage is None

    def count(self, lines: int) -> None:
        self._sent[self._counted] += lines

    def present(self, stored: Iterable[bytes]) -> Iterator[bytes]:
        for data in stored:
            if self._verbatim and self.selection.everything:
                yield json_line("ADDED", data)
                continue
            item = shown(self._kind, msgspec.json.decode(data))
            if self.selection.matches(item):
                yield self._line("ADDED", item)

    def change(self, event: Event) -> Iterator[bytes]:
        if self._verbatim and self.selection.everything:
            yield event.line
            return
        before = event.previous_object
        was = before is not None and self.selection.matches(shown(self._kind, before))
        if event.type != "DELETED" and self.selection.matches(shown(self._kind, event.object)):
            yield self._changed(event, "MODIFIED" if was else "ADDED")
        elif event.type == "DELETED" and was:
            yield self._changed(event, "DELETED")
        elif was:
            assert before is not None
            # What it became is none of this client's business: it gets the last state that it could see.
            meta = {**before["metadata"], "resourceVersion": str(event.version)}
            yield self._line("DELETED", shown(self._kind, {**before, "metadata": meta}))

    def _changed(self, event: Event, type_: str) -> bytes:
        if not self._verbatim:
            return self._line(type_, shown(self._kind, event.object))
        return event.line if type_ == event.type else json_line(type_, event.data)

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
    return json_line(type_, msgspec.json.encode(item))


def _error_line(error: status.StatusError) -> bytes:
    return _line("ERROR", error.body())
