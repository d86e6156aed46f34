"""Watches: order, selectors that turn changes into comings and goings, bookmarks, tables, expiry."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from lightkube import AsyncClient
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from skerry.cluster.store import Store

MAPS = "/api/v1/namespaces/a/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


async def events(http: httpx2.AsyncClient, count: int, headers: Any = None, **params: str) -> list[dict[str, Any]]:
    """Read `count` events of a watch."""
    found: list[dict[str, Any]] = []
    query = {"watch": "true", **params}
    async with asyncio.timeout(10), http.stream("GET", MAPS, params=query, headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            found.append(json.loads(line))
            if len(found) == count:
                break
    return found


def shape(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in found]


async def test_a_watch_begins_with_what_is_there(http: httpx2.AsyncClient) -> None:
    await http.post(MAPS, json={"metadata": {"name": "x"}})

    async def later() -> None:
        await http.patch(f"{MAPS}/x", json={"data": {"a": "b"}}, headers=MERGE)
        await http.delete(f"{MAPS}/x")

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(events(http, 3))
        await asyncio.sleep(0)
        group.create_task(later())
    assert shape(watching.result()) in (
        [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")],
        [("ADDED", "x"), ("DELETED", "x")],
    )


async def test_a_watch_from_a_version_sees_what_came_after(http: httpx2.AsyncClient) -> None:
    first = (await http.post(MAPS, json={"metadata": {"name": "x"}})).json()["metadata"]["resourceVersion"]
    await http.patch(f"{MAPS}/x", json={"data": {"a": "b"}}, headers=MERGE)
    await http.delete(f"{MAPS}/x")
    found = await events(http, 2, resourceVersion=first)
    assert shape(found) == [("MODIFIED", "x"), ("DELETED", "x")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert int(first) < versions[0] < versions[1]


async def test_selectors_turn_changes_into_comings_and_goings(http: httpx2.AsyncClient) -> None:
    made = (await http.post(MAPS, json={"metadata": {"name": "x", "labels": {"on": "no"}}})).json()
    for value in ("yes", "yes", "no", "yes"):
        body = {"metadata": {"labels": {"on": value}}, "data": {"turn": value}}
        await http.patch(f"{MAPS}/x", json=body, headers=MERGE)
    await http.patch(f"{MAPS}/x", json={"data": {"turn": "again"}}, headers=MERGE)
    await http.delete(f"{MAPS}/x")
    found = await events(http, 5, resourceVersion=made["metadata"]["resourceVersion"], labelSelector="on=yes")
    assert [event["type"] for event in found] == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]


async def test_streaming_lists_end_with_a_bookmark(http: httpx2.AsyncClient) -> None:
    await http.post(MAPS, json={"metadata": {"name": "x"}})
    found = await events(
        http, 2, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    )
    assert [event["type"] for event in found] == ["ADDED", "BOOKMARK"]
    assert found[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    refused = await http.get(MAPS, params={"watch": "true", "sendInitialEvents": "true"})
    assert refused.status_code == 422


async def test_timeout_seconds_ends_the_stream(http: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(10):
        answer = await http.get(MAPS, params={"watch": "true", "timeoutSeconds": "1"})
    assert (answer.status_code, answer.text) == (200, "")


async def test_an_expired_version_is_a_410_event(http: httpx2.AsyncClient, store: Store) -> None:
    store._reader.execute("PRAGMA query_only=OFF")
    store._reader.execute("UPDATE marks SET value=1000 WHERE name='compacted'")
    found = await events(http, 1, resourceVersion="5")
    assert (found[0]["type"], found[0]["object"]["code"], found[0]["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_tables_are_watched_too(http: httpx2.AsyncClient) -> None:
    await http.post(MAPS, json={"metadata": {"name": "x"}, "data": {"a": "1", "b": "2"}})
    found = await events(http, 1, headers=TABLE)
    table = found[0]["object"]
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:2] == ["x", 2]


async def test_lightkube_watches_in_this_process(kube: AsyncClient) -> None:
    await kube.create(ConfigMap(metadata=ObjectMeta(name="x", namespace="a"), data={"k": "v"}))
    stream: AsyncIterator[Any] = kube.watch(ConfigMap, namespace="*").__aiter__()
    async with asyncio.timeout(10):
        type_, item = await anext(stream)
    assert (type_, item.metadata.name, item.data) == ("ADDED", "x", {"k": "v"})
    await stream.aclose()  # type: ignore[attr-defined]
