"""Events: one object a repeated event, counted; writing them never fails the work that they tell of."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from lightkube import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Event, Namespace, Node
from lightkube.types import PatchType
from tests.reconcile.faulty import Api, api_server, status_response

from skerry.reconcile import Recorder

Widget = create_namespaced_resource("example.com", "v1", "Widget", "widgets")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path / "store.db") as made:
        for name in ("a", "default"):
            await made.client.create(Namespace(metadata=ObjectMeta(name=name)))
        yield made


async def config_map(api: Api, name: str = "x") -> ConfigMap:
    made: ConfigMap = await api.client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="a")))
    return made


async def events(api: Api, namespace: str = "a") -> list[Event]:
    return [item async for item in api.client.list(Event, namespace=namespace)]


async def test_an_event_says_what_describe_shows(api: Api) -> None:
    about = await config_map(api)
    await Recorder(api.client, api.clock, "kubelet", "box").warning(about, "Failed", "cannot start")
    (event,) = await events(api)
    assert (event.type, event.reason, event.message, event.count) == ("Warning", "Failed", "cannot start", 1)
    assert event.source is not None
    assert (event.source.component, event.source.host) == ("kubelet", "box")
    assert (event.reportingComponent, event.reportingInstance) == ("kubelet", "box")
    about_it, meta = event.involvedObject, about.metadata
    assert meta is not None
    assert (about_it.apiVersion, about_it.kind, about_it.name, about_it.namespace) == ("v1", "ConfigMap", "x", "a")
    assert (about_it.uid, about_it.resourceVersion) == (meta.uid, meta.resourceVersion)
    assert event.firstTimestamp == event.lastTimestamp == datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_repeated_event_is_counted(api: Api) -> None:
    about = await config_map(api)
    recorder = Recorder(api.client, api.clock, "kubelet")
    for _ in range(5):
        await recorder.normal(about, "Pulled", "image is there")
        api.clock.passed += 10
    (event,) = await events(api)
    assert event.count == 5
    assert event.firstTimestamp == datetime(2026, 1, 1, tzinfo=UTC)
    assert event.lastTimestamp == datetime(2026, 1, 1, 0, 0, 40, tzinfo=UTC)


async def test_a_change_of_the_object_does_not_make_the_event_another(api: Api) -> None:
    about = await config_map(api)
    recorder = Recorder(api.client, api.clock, "kubelet")
    await recorder.normal(about, "Pulled", "image is there")
    changed = await api.client.patch(ConfigMap, "x", {"data": {"k": "v"}}, namespace="a", patch_type=PatchType.MERGE)
    await recorder.normal(changed, "Pulled", "image is there")
    (event,) = await events(api)
    assert event.count == 2


async def test_other_words_another_object_or_component_is_another_event(api: Api) -> None:
    one, other = await config_map(api, "x"), await config_map(api, "y")
    recorder = Recorder(api.client, api.clock, "kubelet")
    await recorder.normal(one, "Pulled", "image is there")
    await recorder.normal(one, "Pulled", "image was there")
    await recorder.normal(one, "Found", "image is there")
    await recorder.warning(one, "Pulled", "image is there")
    await recorder.normal(other, "Pulled", "image is there")
    await Recorder(api.client, api.clock, "scheduler").normal(one, "Pulled", "image is there")
    found = await events(api)
    assert [event.count for event in found] == [1] * 6


async def test_the_same_event_from_many_sides_at_once_is_counted_fully(api: Api) -> None:
    about = await config_map(api)
    recorder = Recorder(api.client, api.clock, "kubelet")
    await asyncio.gather(*(recorder.normal(about, "Pulled", "image is there") for _ in range(8)))
    (event,) = await events(api)
    assert event.count == 8


async def test_two_processes_that_count_the_same_event(api: Api) -> None:
    about = await config_map(api)
    recorders = [Recorder(api.client, api.clock, "kubelet") for _ in range(3)]
    for _ in range(3):
        await asyncio.gather(*(recorder.normal(about, "Pulled", "image is there") for recorder in recorders))
    (event,) = await events(api)
    assert event.count == 9


async def test_an_event_that_expired_meanwhile_is_written_anew(api: Api) -> None:
    about = await config_map(api)
    recorder = Recorder(api.client, api.clock, "kubelet")
    await recorder.normal(about, "Pulled", "image is there")
    (event,) = await events(api)
    assert event.metadata is not None
    name = event.metadata.name
    assert name is not None
    patched = False

    def vanish(request: httpx2.Request) -> httpx2.Response | None:
        nonlocal patched
        if request.method != "PATCH" or patched:
            return None
        patched = True
        answer: httpx2.Response = status_response(404, "NotFound")
        return answer

    api.network.fault(vanish)
    await recorder.normal(about, "Pulled", "image is there")
    assert patched
    assert len(await events(api)) == 1
    await api.client.delete(Event, name, namespace="a")
    await recorder.normal(about, "Pulled", "image is there")
    (again,) = await events(api)
    assert again.count == 1


async def test_objects_without_a_namespace_have_their_events_in_default(api: Api) -> None:
    node = await api.client.create(Node(metadata=ObjectMeta(name="skerry")))
    await Recorder(api.client, api.clock, "kubelet").normal(node, "NodeReady", "ready")
    (event,) = await events(api, "default")
    assert (event.involvedObject.kind, event.involvedObject.namespace) == ("Node", None)


async def test_kinds_that_lightkube_does_not_know(api: Api) -> None:
    widget = Widget(metadata=ObjectMeta(name="w", namespace="a", uid="1"))
    await Recorder(api.client, api.clock, "maker").normal(widget, "Made", "it is made")
    (event,) = await events(api)
    assert (event.involvedObject.apiVersion, event.involvedObject.kind) == ("example.com/v1", "Widget")


@pytest.mark.parametrize("name", ["x" * 253, ("y" * 235) + "-z", ("y" * 234) + ".z"])
async def test_the_longest_names_have_events_too(api: Api, name: str) -> None:
    about = await config_map(api, name)
    recorder = Recorder(api.client, api.clock, "kubelet")
    for _ in range(2):
        await recorder.normal(about, "Pulled", "image is there")
    (event,) = await events(api)
    assert (event.count, event.involvedObject.name) == (2, name)


async def test_long_messages_are_cut(api: Api) -> None:
    about = await config_map(api)
    await Recorder(api.client, api.clock, "kubelet").warning(about, "Failed", "ö" * 5000)
    (event,) = await events(api)
    assert event.message is not None
    assert 500 < len(event.message.encode()) <= 1024
    assert set(event.message) == {"ö"}


@pytest.mark.parametrize(
    "failure",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        status_response(500, "InternalError"),
        status_response(403, "Forbidden"),
        status_response(409, "Conflict"),
        status_response(404, "NotFound"),
        httpx2.Response(502, text="bad gateway"),
        httpx2.Response(502, content=b""),
        httpx2.Response(200, content=b"<html>"),
        OSError("the disk"),
    ],
    ids=lambda failure: type(failure).__name__ if isinstance(failure, Exception) else str(failure.status_code),
)
async def test_a_failure_is_logged_and_swallowed(
    api: Api, caplog: pytest.LogCaptureFixture, failure: httpx2.Response | Exception
) -> None:
    about = await config_map(api)
    api.network.fault(lambda request: failure)
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(5):
            await Recorder(api.client, api.clock, "kubelet").normal(about, "Pulled", "image is there")
    assert "event not written" in caplog.text


async def test_an_event_in_a_namespace_that_ends_is_refused_and_swallowed(api: Api) -> None:
    about = await config_map(api)
    await api.client.delete(Namespace, "a")
    await Recorder(api.client, api.clock, "kubelet").normal(about, "Killing", "stopping")
    with pytest.raises(ApiError):
        await api.client.create(ConfigMap(metadata=ObjectMeta(name="late", namespace="a")))
    assert await events(api) == []
