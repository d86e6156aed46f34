"""`kubectl logs`: which attempt of which container is meant, and its lines, followed while it runs.

Errors are `StatusError`s in the words of the kubelet and the API server.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from skerry.api.pods.choosing import choose_container
from skerry.cluster.node.inotify import DirectoryWatch
from skerry.cluster.node.log_files import Cursor, content, lines_of
from skerry.cluster.node.pod_status import container_id
from skerry.kit.clock import Clock
from skerry.machinery import status
from skerry.machinery.fielderrors import FieldError, forbidden, invalid

_FALSE: Final = frozenset({"0", "false"})

Running = Callable[[str, str, int], "asyncio.Future[Any] | None"]
"""(pod uid, container, attempt) → a future that is done when the attempt ends; None when it does not run here."""


class LogOptions(Struct, frozen=True):
    """The query of a `log` request."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_seconds: int | None = None
    since_time: datetime | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, str], pod: str = "") -> "LogOptions":
        """Read the query; raises 400 for a value that is none, 422 for one that cannot be meant."""
        options = cls(
            follow=_flag(query, "follow"),
            previous=_flag(query, "previous"),
            timestamps=_flag(query, "timestamps"),
            tail_lines=_number(query, "tailLines"),
            limit_bytes=_number(query, "limitBytes"),
            since_seconds=_number(query, "sinceSeconds"),
            since_time=_moment(query, "sinceTime"),
        )
        if errors := options.errors():
            raise status.invalid("PodLogOptions", "", pod, errors)
        return options

    def errors(self) -> list[FieldError]:
        """Say what cannot be meant."""
        bounds = [
            ("tailLines", self.tail_lines, 0),
            ("limitBytes", self.limit_bytes, 1),
            ("sinceSeconds", self.since_seconds, 1),
        ]
        found = []
        for name, value, least in bounds:
            if value is not None and value < least:
                word = "greater than 0" if least else "greater than or equal to 0"
                found.append(invalid(name, value, f"must be {word}"))
        if self.since_seconds is not None and self.since_time is not None:
            found.append(forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
        return found


class LogReader:
    """Reads the logs of the pods of one node."""

    def __init__(self, log: Path, pod: Callable[[str, str], Any | None], running: Running, clock: Clock) -> None:
        self._log = log
        self._pod = pod
        self._running = running
        self._clock = clock

    async def read_logs(
        self, namespace: str, name: str, container: str | None, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """Find the log and return its lines; raises `StatusError` before the first line."""
        pod = self._pod(namespace, name)
        if pod is None:
            raise status.not_found("pods", name)
        chosen = container_of(pod, container)
        if not pod.spec.nodeName:
            return _nothing()
        attempt = choose_attempt(pod, chosen, previous=options.previous)
        uid = pod.metadata.uid
        file = self._log / f"{namespace}_{name}_{uid}" / chosen / f"{attempt}.log"
        ends = self._running(uid, chosen, attempt) if options.follow else None
        since = options.since_time
        if options.since_seconds is not None:
            since = self._clock.now() - timedelta(seconds=options.since_seconds)
        return _stream(file, options, since, ends)


def container_of(pod: Any, named: str | None) -> str:
    """Return the container that is meant; raises 400 when that is not clear."""
    names, init = ([each.name for each in found or []] for found in (pod.spec.containers, pod.spec.initContainers))
    return choose_container(pod.metadata.name, names, init, named or "")


def choose_attempt(pod: Any, container: str, *, previous: bool) -> int:
    """Return the attempt whose log is meant; raises 400 when there is none."""
    who = f'container "{container}" in pod "{pod.metadata.name}"'
    found = _status_of(pod, container)
    state, last = (found.state, found.lastState) if found is not None else (None, None)
    ended_before = last.terminated if last is not None else None
    if previous:
        if ended_before is None or not ended_before.containerID:
            missing = f'previous terminated container "{container}" in pod "{pod.metadata.name}" not found'
            raise status.bad_request(missing)
        return _attempt(pod, container, found, ended_before.containerID)
    if found is not None and state is not None and state.running is not None:
        return _attempt(pod, container, found, found.containerID)
    if state is not None and state.terminated is not None and state.terminated.containerID:
        return _attempt(pod, container, found, state.terminated.containerID)
    if ended_before is not None and ended_before.containerID:
        return _attempt(pod, container, found, ended_before.containerID)
    reason = (state.waiting.reason if state is not None and state.waiting is not None else "") or "ContainerCreating"
    explained = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
    raise status.bad_request(f"{who} is waiting to start: {explained}")


def _status_of(pod: Any, container: str) -> Any | None:
    statuses = pod.status
    known = [*(statuses.initContainerStatuses or []), *(statuses.containerStatuses or [])] if statuses else []
    return next((each for each in known if each.name == container), None)


def _attempt(pod: Any, container: str, found: Any, identifier: str) -> int:
    """Find the attempt behind a container id; it is the last one or the one before."""
    count = found.restartCount
    for attempt in (count, count - 1, count + 1):
        if container_id(pod.metadata.uid, container, attempt) == identifier:
            return int(attempt)
    return int(count)


async def _nothing() -> AsyncIterator[bytes]:
    lines: tuple[bytes, ...] = ()
    for line in lines:
        yield line


async def _stream(
    file: Path, options: LogOptions, since: datetime | None, ends: "asyncio.Future[Any] | None"
) -> AsyncIterator[bytes]:
    left = options.limit_bytes
    printer = _Printer(since, timestamps=options.timestamps)
    cursor = Cursor(file)
    watch = DirectoryWatch(file.parent) if ends is not None and file.parent.is_dir() else None
    if ends is not None and watch is not None:
        ends.add_done_callback(lambda _: watch.set())
    try:
        if options.tail_lines is None:
            cursor.at_start()
        else:
            cursor.before_last(options.tail_lines)
        while True:
            over = ends is None or ends.done()
            if watch is not None:
                watch.clear()
            while raw := cursor.read():
                text = printer.print(raw)
                if left is not None:
                    text, left = text[:left], left - len(text[:left])
                if text:
                    yield text
                if left == 0:
                    return
                await asyncio.sleep(0)
            if over or watch is None:
                return
            if not (ends is not None and ends.done()):
                await watch.changed()
    finally:
        cursor.close()
        if watch is not None:
            watch.close()


class _Printer:
    """Turns raw lines into what a person wants to see."""

    def __init__(self, since: datetime | None, *, timestamps: bool) -> None:
        self._since = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").encode() if since else b""
        self._timestamps = timestamps
        self._fresh_line = True

    def print(self, raw: bytes) -> bytes:
        """Return the text of whole raw lines."""
        return b"".join(self._line(line) for line in lines_of(raw))

    def _line(self, line: bytes) -> bytes:
        # Times are written alike, so their texts compare as the times do.
        if self._since and line < self._since:
            return b""
        text = content(line)
        prefix = line.partition(b" ")[0] + b" " if self._timestamps and self._fresh_line else b""
        self._fresh_line = text.endswith(b"\n")
        return prefix + text


def _flag(query: Mapping[str, str], name: str) -> bool:
    """Read a boolean as the API server does: whatever is given and not false is true."""
    return name in query and query[name].lower() not in _FALSE


def _number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except ValueError:
        raise status.bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax') from None


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    value = query.get(name)
    if not value:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise status.bad_request(f"{name}: Invalid value: {value}: must be a time as in RFC 3339") from None
