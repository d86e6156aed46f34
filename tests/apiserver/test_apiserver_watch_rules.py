"""Watches as an adversary sees them: options, versions, bookmarks, slow and leaving clients, broken streams."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from skerry.cluster.apiserver import watching
from skerry.cluster.apiserver.access.users import administrator
from skerry.cluster.apiserver.app import ApiServer
from skerry.cluster.apiserver.requests import Request
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store, json_line

MAPS = "/api/v1/namespaces/a/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}


async def lines(http: httpx2.AsyncClient, count: int, path: str = MAPS, **params: str) -> list[dict[str, Any]]:
    """Read `count` events, or fewer when the server ends the stream."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10), http.stream("GET", path, params={"watch": "true", **params}) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            found.append(json.loads(line))
            if len(found) == count:
                break
    return found


async def create(http: httpx2.AsyncClient, name: str, path: str = MAPS, **more: Any) -> str:
    made = await http.post(path, json={"metadata": {"name": name, **more}})
    assert made.status_code == 201, made.text
    version: str = made.json()["metadata"]["resourceVersion"]
    return version


async def until(what: Any) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sendInitialEvents": "true"}, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        ({"sendInitialEvents": "true", "resourceVersionMatch": "Exact"}, "resourceVersionMatch"),
        ({"resourceVersionMatch": "NotOlderThan"}, "resourceVersionMatch is forbidden for watch unless"),
    ],
)
async def test_options_that_contradict_each_other(http: httpx2.AsyncClient, params: dict[str, str], words: str) -> None:
    answer = await http.get(MAPS, params={"watch": "true", **params})
    assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
    assert answer.json()["message"].startswith('ListOptions.meta.k8s.io "" is invalid: ')
    assert words in answer.json()["message"]


@pytest.mark.parametrize("params", [{"resourceVersion": "x"}, {"resourceVersion": "-1"}, {"timeoutSeconds": "soon"}])
async def test_options_that_cannot_be_read(http: httpx2.AsyncClient, params: dict[str, str]) -> None:
    assert (await http.get(MAPS, params={"watch": "1", **params})).status_code == 400


async def test_no_initial_events_when_they_are_not_wanted(http: httpx2.AsyncClient, store: Store) -> None:
    await create(http, "old")
    params = {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}
    async with asyncio.TaskGroup() as group:
        watching_ = group.create_task(lines(http, 1, **params))
        await until(lambda: store._watchers)
        await create(http, "new")
    assert watching_.result()[0]["object"]["metadata"]["name"] == "new"


async def test_a_version_from_the_future_is_told_to_list_again(http: httpx2.AsyncClient) -> None:
    found = await lines(http, 1, resourceVersion="999999")
    assert (found[0]["type"], found[0]["object"]["code"], found[0]["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_named_get_is_no_watch(http: httpx2.AsyncClient) -> None:
    """Kubernetes ignores `watch` on a named path; kubectl watches one object with a field selector."""
    await create(http, "x")
    answer = await http.get(f"{MAPS}/x", params={"watch": "true"})
    assert answer.json()["metadata"]["name"] == "x"
    found = await lines(http, 1, fieldSelector="metadata.name=x")
    assert found[0]["object"]["metadata"]["name"] == "x"


async def test_nothing_happens_between_the_first_state_and_the_changes(http: httpx2.AsyncClient, store: Store) -> None:
    """A reader takes the first object and pauses, while more is written than the history keeps for late comers."""
    for name in ("x", "y"):
        await create(http, name)
    async with http.stream("GET", MAPS, params={"watch": "true"}) as response:
        stream = response.aiter_lines()
        first = json.loads(await anext(stream))
        await create(http, "z")
        await http.delete(f"{MAPS}/y")
        rest = [json.loads(await anext(stream)) for _ in range(3)]
    seen = [(one["type"], one["object"]["metadata"]["name"]) for one in [first, *rest]]
    assert seen == [("ADDED", "x"), ("ADDED", "y"), ("ADDED", "z"), ("DELETED", "y")]
    await until(lambda: not store._watchers)


async def test_bookmarks_come_when_it_is_quiet_and_only_when_all_was_sent(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_BOOKMARK_SECONDS", 0.02)
    start = await create(http, "x")
    other = await create(http, "s", "/api/v1/namespaces/a/secrets")
    found = await lines(http, 2, resourceVersion=start, allowWatchBookmarks="true")
    assert [one["type"] for one in found] == ["BOOKMARK", "BOOKMARK"]
    assert found[0]["object"]["kind"] == "ConfigMap"
    assert int(found[0]["object"]["metadata"]["resourceVersion"]) >= int(other)
    assert await lines(http, 9, resourceVersion=start, timeoutSeconds="1") == []


async def test_bookmarks_come_when_others_are_busy_too(
    http: httpx2.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that the selector leaves out must not put the bookmark off: its client would resume too far back."""
    monkeypatch.setattr(watching, "_BOOKMARK_SECONDS", 0.05)
    start = await create(http, "x")
    done = asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            await http.patch(f"{MAPS}/x", json={"data": {"n": str(store.version)}}, headers=MERGE)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        params = {"resourceVersion": start, "allowWatchBookmarks": "true", "labelSelector": "on=yes"}
        found = await lines(http, 3, **params)
        done.set()
    versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in found]
    assert [one["type"] for one in found] == ["BOOKMARK"] * 3
    assert versions == sorted(set(versions))


async def test_a_bookmark_ends_the_time_that_was_asked_for(http: httpx2.AsyncClient) -> None:
    start = await create(http, "x")
    found = await lines(http, 9, resourceVersion=start, allowWatchBookmarks="true", timeoutSeconds="1")
    assert [one["type"] for one in found] == ["BOOKMARK"]
    assert found[0]["object"]["metadata"]["resourceVersion"] == start


def test_watches_without_a_time_end_one_after_the_other() -> None:
    def seconds(**query: str) -> float:
        return watching.watch_options(Request("GET", MAPS, query, {}, b"", administrator("admin"))).seconds

    drawn = {seconds() for _ in range(50)}
    assert len(drawn) > 40
    assert all(1800 <= one <= 3600 for one in drawn)
    assert seconds(timeoutSeconds="7200") == 7200
    assert seconds(timeoutSeconds=str(10**30)) == 24 * 3600


async def test_what_leaves_the_selection_is_shown_as_it_was_in_it(http: httpx2.AsyncClient) -> None:
    start = await create(http, "x", labels={"on": "yes"})
    body = {"metadata": {"labels": {"on": "no"}}, "data": {"secret": "of the others"}}
    left = (await http.patch(f"{MAPS}/x", json=body, headers=MERGE)).json()
    (found,) = await lines(http, 1, resourceVersion=start, labelSelector="on=yes")
    assert found["type"] == "DELETED"
    assert found["object"]["metadata"]["labels"] == {"on": "yes"}
    assert "data" not in found["object"]
    assert found["object"]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]


async def test_one_event_is_encoded_once_for_all_plain_watchers(
    http: httpx2.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []

    def counted(type_: str, data: bytes) -> bytes:
        encoded.append(type_)
        return json_line(type_, data)

    monkeypatch.setattr("skerry.cluster.store.objects.json_line", counted)
    start = await create(http, "x", labels={"on": "yes"})
    async with asyncio.TaskGroup() as group:
        selectors = [{}, {"labelSelector": "on=yes"}, {"fieldSelector": "metadata.name=x"}] * 5
        watches = [group.create_task(lines(http, 1, resourceVersion=start, **one)) for one in selectors]
        await until(lambda: len(store._watchers) == 15)
        await http.patch(f"{MAPS}/x", json={"data": {"k": "v"}}, headers=MERGE)
    assert len(encoded) == 1
    assert {json.dumps(one.result()[0]["object"]["data"]) for one in watches} == {'{"k": "v"}'}


async def test_a_client_that_leaves_is_forgotten(http: httpx2.AsyncClient, store: Store) -> None:
    for _ in range(5):
        await create_and_leave(http)
    await until(lambda: not store._watchers)


async def create_and_leave(http: httpx2.AsyncClient) -> None:
    async with http.stream("GET", MAPS, params={"watch": "true"}) as response:
        assert response.status_code == 200


async def test_a_reader_that_stops_reading_costs_little_and_misses_nothing(
    http: httpx2.AsyncClient, store: Store
) -> None:
    start = await create(http, "x")
    async with http.stream("GET", MAPS, params={"watch": "true", "resourceVersion": start}) as response:
        stream = response.aiter_lines()
        for number in range(800):
            await http.patch(f"{MAPS}/x", json={"data": {"n": str(number)}}, headers=MERGE)
        (watcher,) = store._watchers
        assert watcher.queued <= 256
        seen = [json.loads(await anext(stream))["object"]["data"]["n"] for _ in range(800)]
    assert seen == [str(number) for number in range(800)]


async def test_a_failure_in_the_middle_breaks_the_stream_visibly(
    app: ApiServer, http: httpx2.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that only ended would look complete; the reader must see that it broke."""

    def broken(*_: object) -> bytes:
        raise ZeroDivisionError

    start = await create(http, "x")
    monkeypatch.setattr(watching._Printer, "change", broken)
    with pytest.raises(httpx2.RemoteProtocolError):  # noqa: PT012 - the stream breaks while it is read
        async with http.stream("GET", MAPS, params={"watch": "true", "resourceVersion": start}) as response:
            await http.delete(f"{MAPS}/x")
            async for _ in response.aiter_lines():
                pass
    await until(lambda: not store._watchers)


async def test_a_store_that_closes_ends_all_watches(http: httpx2.AsyncClient, store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(lines(http, 9)) for _ in range(3)]
        await until(lambda: len(store._watchers) == 3)
        store.close()
    assert [one.result() for one in watches] == [[], [], []]
    answer = await http.get(MAPS)
    assert (answer.status_code, answer.json()["kind"]) == (500, "Status")


async def test_events_of_one_group_are_seen_in_the_other(http: httpx2.AsyncClient) -> None:
    body = {
        "metadata": {"name": "e", "namespace": "a"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "a"},
        "message": "m",
        "reason": "R",
        "type": "Normal",
    }
    made = await http.post("/api/v1/namespaces/a/events", json=body)
    assert made.status_code == 201, made.text
    for params in ({}, {"fieldSelector": "regarding.name=p"}):
        (found,) = await lines(http, 1, "/apis/events.k8s.io/v1/namespaces/a/events", **params)
        assert (found["object"]["apiVersion"], found["object"]["note"]) == ("events.k8s.io/v1", "m")


class TestTransport:
    """The in-process transport when the application or the caller fails."""

    async def ask(self, application: Any, **options: Any) -> httpx2.Response:
        transport = InProcessTransport(application, "admin")
        async with httpx2.AsyncClient(transport=transport, base_url="http://api", **options) as client:
            async with asyncio.timeout(5):
                return await client.get("/")

    async def test_an_application_that_fails_before_the_head(self) -> None:
        async def application(_scope: Any, _receive: Any, _send: Any) -> None:
            raise ZeroDivisionError

        with pytest.raises(httpx2.RemoteProtocolError, match="ZeroDivisionError"):
            await self.ask(application)

    async def test_an_application_that_ends_without_an_answer(self) -> None:
        async def application(_scope: Any, _receive: Any, _send: Any) -> None:
            return

        with pytest.raises(httpx2.RemoteProtocolError):
            await self.ask(application)

    @pytest.mark.parametrize("chunks", [0, 1, 64, 65, 200])
    async def test_an_application_that_fails_in_the_body(self, chunks: int) -> None:
        async def application(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(chunks):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            raise ZeroDivisionError

        with pytest.raises(httpx2.RemoteProtocolError):
            await self.ask(application)

    @pytest.mark.parametrize("chunks", [0, 1, 63, 64, 65, 200])
    async def test_bodies_of_every_length_are_whole(self, chunks: int) -> None:
        async def application(_scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["body"] == b""
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(chunks):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await send({"type": "http.response.body", "body": b"y", "more_body": False})

        assert (await self.ask(application)).content == b"x" * chunks + b"y"

    async def test_a_caller_that_gives_up_ends_the_application(self) -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def application(_scope: Any, _receive: Any, _send: Any) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.ensure_future(self.ask(application))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await ended.wait()

    async def test_the_clients_own_time_limit_counts(self) -> None:
        """Over a socket the client waits ten seconds at most; a call inside the process must not wait for ever."""
        ended = asyncio.Event()

        async def application(_scope: Any, _receive: Any, _send: Any) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        with pytest.raises(httpx2.ReadTimeout):
            await self.ask(application, timeout=0.05)
        async with asyncio.timeout(5):
            await ended.wait()

    async def test_a_stream_that_is_closed_early_ends_the_application(self) -> None:
        ended = asyncio.Event()

        async def application(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            finally:
                ended.set()

        transport = InProcessTransport(application, "admin")
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            async with client.stream("GET", "/") as response:
                async for _ in response.aiter_raw():
                    break
            async with asyncio.timeout(5):
                await ended.wait()
