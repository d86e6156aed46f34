"""Logs: which attempt is meant, and what is read of it, over rotations and while it grows."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.resources.core_v1 import Pod

from skerry.cluster.node.log_files import Cursor, content, tail_text
from skerry.cluster.node.logs import LogOptions, LogReader, choose_attempt, container_of
from skerry.cluster.node.pod_status import container_id
from skerry.kit.clock import SystemClock
from skerry.machinery.status import StatusError

UID = "u-1"
DIRECTORY = f"ai-demo_bee_{UID}"


def stamped(number: int, text: str, tag: str = "F") -> str:
    return f"2026-11-22T12:00:{number:02d}.000000000Z stdout {tag} {text}\n"


def a_pod(*names: str, init: tuple[str, ...] = (), statuses: Iterable[dict[str, Any]] = ()) -> Any:
    manifest = {
        "metadata": {"name": "bee", "namespace": "ai-demo", "uid": UID},
        "spec": {
            "nodeName": "skerry",
            "containers": [{"name": name} for name in names or ("main",)],
            "initContainers": [{"name": name} for name in init],
        },
        "status": {"containerStatuses": list(statuses)},
    }
    return msgspec.convert(manifest, type=Pod)


def a_status(state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0) -> dict[str, Any]:
    identifier = container_id(UID, "main", restarts)
    shown = {"name": "main", "image": "x", "imageID": "", "ready": True, "restartCount": restarts}
    return {**shown, "state": state, "lastState": last or {}, "containerID": identifier}


def terminated(attempt: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": 1, "containerID": container_id(UID, "main", attempt)}}


RUNNING: dict[str, Any] = {"running": {}}


class Book:
    """A reader over log files that a test writes."""

    def __init__(self, root: Path, pod: Any) -> None:
        self.file = root / DIRECTORY / "main" / "0.log"
        self.file.parent.mkdir(parents=True)
        self.ends: asyncio.Future[Any] | None = None
        self.reader = LogReader(root, lambda _, name: pod if name == "bee" else None, self._running, SystemClock())

    def _running(self, uid: str, container: str, attempt: int) -> "asyncio.Future[Any] | None":
        return self.ends if (uid, container, attempt) == (UID, "main", 0) else None

    def write(self, text: str) -> None:
        with self.file.open("a") as file:
            file.write(text)

    def rotate(self, number: int) -> None:
        self.file.rename(self.file.with_name(f"0.log.20261122-120000.{number:06d}"))

    async def read(self, **query: str) -> str:
        lines = await self.reader.read_logs(
            "ai-demo", "bee", query.pop("container", None), LogOptions.from_query(query)
        )
        return b"".join([line async for line in lines]).decode()


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path, a_pod(statuses=[a_status(RUNNING)]))


async def test_lines_are_read_over_rotations(book: Book) -> None:
    book.write(stamped(1, "one"))
    book.rotate(1)
    book.write(stamped(2, "two") + stamped(3, "th", "P") + stamped(3, "ree"))
    assert "one\ntwo\nthree\n" == await book.read()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"tailLines": "1"}, "3\n"),
        ({"tailLines": "2"}, "2\n3\n"),
        ({"tailLines": "99"}, "1\n2\n3\n"),
        ({"tailLines": "0"}, ""),
        ({"limitBytes": "3"}, "1\n2"),
        ({"sinceTime": "2026-11-22T12:00:02Z"}, "2\n3\n"),
        ({"sinceTime": "2026-11-22T13:00:02.5+01:00"}, "3\n"),
        ({"sinceSeconds": "1"}, ""),
        ({"timestamps": "true", "tailLines": "1"}, "2026-11-22T12:00:03.000000000Z 3\n"),
    ],
)
async def test_choices_of_lines(book: Book, query: dict[str, str], expected: str) -> None:
    book.write(stamped(1, "1"))
    book.rotate(1)
    book.write(stamped(2, "2") + stamped(3, "3"))
    assert expected == await book.read(**query)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"tailLines": "x"}, 400),
        ({"sinceTime": "now"}, 400),
        ({"limitBytes": "0"}, 422),
        ({"sinceSeconds": "1", "sinceTime": "2026-11-22T12:00:00Z"}, 422),
    ],
)
async def test_bad_queries_are_refused(book: Book, query: dict[str, str], code: int) -> None:
    with pytest.raises(StatusError) as caught:
        await book.read(**query)
    assert code == caught.value.code


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(0, 12))
def test_a_tail_is_the_end_of_the_whole(tmp_path_factory: pytest.TempPathFactory, sizes: list[int], lines: int) -> None:
    book = Book(tmp_path_factory.mktemp("log"), None)
    every: list[str] = []
    for number, size in enumerate(sizes):
        if number:
            book.rotate(number)
        for _ in range(size):
            every.append(stamped(number, f"line {len(every)} " + "x" * 50))
            book.write(every[-1])
        book.file.touch()
    cursor = Cursor(book.file)
    cursor.before_last(lines)
    read = b""
    while chunk := cursor.read():
        read += chunk
    cursor.close()
    assert "".join(every[len(every) - min(lines, len(every)) :]) == read.decode()


async def test_following_sees_new_lines_rotations_and_the_end(book: Book) -> None:
    book.ends = asyncio.get_running_loop().create_future()
    book.write(stamped(1, "1"))
    lines = await book.reader.read_logs("ai-demo", "bee", None, LogOptions(follow=True))
    seen: list[bytes] = []

    async def read() -> None:
        async for line in lines:
            seen.append(line)  # noqa: PERF401 - the test looks at it meanwhile

    async def wait_for(text: bytes) -> None:
        async with asyncio.timeout(5):
            while not b"".join(seen).endswith(text):
                await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        await wait_for(b"1\n")
        book.write(stamped(2, "2"))
        await wait_for(b"2\n")
        book.write(stamped(3, "3"))
        for number in (1, 2, 3):
            book.rotate(number)
            book.write(stamped(4, f"after {number}"))
        await wait_for(b"3\nafter 1\nafter 2\nafter 3\n")
        assert not reading.done()
        book.write(stamped(5, "last"))
        book.ends.set_result(None)
    assert b"".join(seen).endswith(b"last\n")


async def test_following_what_has_ended_ends(book: Book) -> None:
    book.write(stamped(1, "1"))
    assert "1\n" == await book.read(follow="true")


def test_text_is_kept_as_it_was_written(tmp_path: Path) -> None:
    book = Book(tmp_path, None)
    book.write(stamped(1, "50 %\r100 %") + stamped(1, "") + stamped(1, "end"))
    assert "50 %\r100 %\n\nend\n" == tail_text(book.file, 80, 2048)
    assert "end\n" == tail_text(book.file, 1, 2048)
    assert "end\n" == tail_text(book.file, 80, 4)
    assert "" == tail_text(tmp_path / "missing", 80, 2048)
    assert b"part" == content(b"2026-11-22T12:00:00Z stdout P part\n")


# Which log is meant


def refused(pod: Any, container: str | None = None, *, previous: bool = False) -> str:
    with pytest.raises(StatusError) as caught:
        choose_attempt(pod, container_of(pod, container), previous=previous)
    assert 400 == caught.value.code
    return caught.value.message


def test_a_container_must_be_named_when_there_are_several() -> None:
    message = "a container name must be specified for pod bee, choose one of: [a b]"
    assert message == refused(a_pod("a", "b"))
    assert f"{message} or one of the init containers: [i]" == refused(a_pod("a", "b", init=("i",)))
    assert "container nope is not valid for pod bee" == refused(a_pod("a"), "nope")
    assert "i" == container_of(a_pod("a", init=("i",)), "i")


def test_a_container_that_never_started_has_no_log() -> None:
    who = 'container "main" in pod "bee" is waiting to start: '
    assert f"{who}ContainerCreating" == refused(a_pod())
    waiting = {"waiting": {"reason": "PodInitializing"}}
    assert f"{who}PodInitializing" == refused(a_pod(statuses=[a_status(waiting)]))
    waiting = {"waiting": {"reason": "ErrImagePull"}}
    assert f"{who}image can't be pulled" == refused(a_pod(statuses=[a_status(waiting)]))
    waiting = {"waiting": {"reason": "ImagePullBackOff"}}
    assert f"{who}trying and failing to pull image" == refused(a_pod(statuses=[a_status(waiting)]))


def test_attempts() -> None:
    pod = a_pod(statuses=[a_status(RUNNING, terminated(2), restarts=3)])
    assert 3 == choose_attempt(pod, "main", previous=False)
    assert 2 == choose_attempt(pod, "main", previous=True)
    waiting = a_pod(statuses=[a_status({"waiting": {"reason": "CrashLoopBackOff"}}, terminated(3), restarts=3)])
    assert 3 == choose_attempt(waiting, "main", previous=False)
    assert 3 == choose_attempt(waiting, "main", previous=True)
    first = a_pod(statuses=[a_status(RUNNING)])
    assert 'previous terminated container "main" in pod "bee" not found' == refused(first, previous=True)


async def test_an_unknown_pod_is_not_found(book: Book) -> None:
    with pytest.raises(StatusError) as caught:
        await book.reader.read_logs("ai-demo", "nope", None, LogOptions())
    assert (404, 'pods "nope" not found') == (caught.value.code, caught.value.message)


async def test_a_pod_without_a_node_has_no_lines(tmp_path: Path) -> None:
    pod = a_pod()
    pod.spec.nodeName = None
    assert "" == await Book(tmp_path, pod).read()


def test_options_are_read_from_the_query() -> None:
    query = {"follow": "true", "tailLines": "5", "sinceTime": "2026-11-22T12:00:00Z", "container": "x"}
    expected = LogOptions(follow=True, tail_lines=5, since_time=datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert expected == LogOptions.from_query(query)


def test_whatever_is_not_false_is_true() -> None:
    options = LogOptions.from_query({"follow": "", "previous": "maybe", "timestamps": "False"})
    assert options == LogOptions(follow=True, previous=True)
    assert LogOptions.from_query({"follow": "0"}) == LogOptions()
