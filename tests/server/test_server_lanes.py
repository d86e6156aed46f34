"""The lanes of plain and of raw requests: whatever is sent, the answer is that of the general way, to the byte."""

import asyncio
import json
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.server.batching import Merging
from skerry.server.dataplane import DataPlane
from skerry.server.engines import LoadedModel, Shape, Slot, Values
from skerry.server.execution import INLINE_SECONDS, Execution, Limits, WarmModel
from skerry.server.http.messages import Lane, Later, Request, Response
from skerry.server.model_metrics import ServerMetrics, VersionMetrics
from skerry.server.registry import Registry, ServedVersion
from skerry.server.repository_control import FixedRepository
from skerry.server.rest import application
from skerry.server.rest.application import Application
from skerry.server.rest.lanes import Lanes
from skerry.server.rest.plain import PlainVersion, can_be_plain
from skerry.server.rest.routes import Endpoint, Route
from skerry.server.tensors import DTYPES, Dim, TensorSpec

TARGET = b"/v2/models/m/infer"


class Mirror:
    """Gives back what it gets: `a` and `b` of one type, as `x` and `y`."""

    platform = "test"
    streams = slots = 1

    def __init__(self, datatype: str) -> None:
        dims = (Dim(0, None), Dim(2, 2))
        self.inputs = tuple(TensorSpec(name=name, datatype=datatype, dims=dims) for name in "ab")
        self.outputs = tuple(TensorSpec(name=name, datatype=datatype, dims=dims) for name in ("x", 'y"é'))

    def slot(self) -> Slot:
        return _MirrorSlot()


class _MirrorSlot:
    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        return list(inputs)


class _Models:
    """A repository that only shows."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def load(self, name: str) -> "asyncio.Future[None]":
        raise NotImplementedError

    def unload(self, name: str) -> "asyncio.Future[None]":
        raise NotImplementedError

    def reload(self) -> "asyncio.Future[bool]":
        raise NotImplementedError


class Bench:
    """An application over one model."""

    def __init__(self, datatype: str, model: LoadedModel | None = None, *, rows: int = 1) -> None:
        model, server = model or Mirror(datatype), ServerMetrics()
        self.metrics = VersionMetrics(server, "m", "1")
        self.registry = Registry()
        self.registry.declare("m")
        warm = WarmModel(model, Merging(rows))
        warm.seconds = INLINE_SECONDS / 10  # a busy machine must not decide where this runs
        warm.merging = Merging(rows)
        self.execution = Execution(warm, self.metrics, Limits(100, 30), asyncio.get_running_loop())
        self.served = ServedVersion("m", 1, model, self.execution, self.metrics)
        self.registry.publish(self.served)
        self.application = Application(DataPlane(self.registry), server, FixedRepository(_Models(self.registry)))
        self.handed_back = 0

    def lane(self, request: Request) -> Lane:
        self.application.lanes.open(TARGET, Route(Endpoint.INFER, "m"))
        found = self.application.lanes.find(request)
        assert found is not None
        return found

    async def ask(
        self, body: bytes, headers: dict[bytes, bytes] | None = None, *, lane: bool = True
    ) -> tuple[int, bytes, bytes]:
        request = Request(b"POST", TARGET, headers or {}, body)
        place = Place(self, request)
        answer = self.lane(request).handle(request, place) if lane else self.application.handle(request)
        answer = await asyncio.wait_for(place.told, 10) if answer is None else answer
        if isinstance(answer, Later):
            await asyncio.wait([answer.future], timeout=10)
            answer = answer.render(answer.future)
        return answer.status, answer.headers, answer.body

    async def ask_raw(self, header: dict[str, Any], data: bytes, *, lane: bool = True) -> tuple[int, bytes, bytes]:
        text = json.dumps(header).encode()
        return await self.ask(text + data, {b"inference-header-content-length": b"%d" % len(text)}, lane=lane)

    async def ask_together(self, *bodies: bytes) -> list[tuple[int, Any]]:
        """What is answered when all arrive in one turn of the loop."""
        answers = await asyncio.gather(*[self.ask(body) for body in bodies])
        return [(status, json.loads(body)) for status, _, body in answers]


class Place:
    """Where a lane tells what it did."""

    def __init__(self, bench: Bench, request: Request) -> None:
        self._bench = bench
        self._request = request
        self.told: asyncio.Future[Response | Later] = asyncio.get_running_loop().create_future()

    @property
    def open(self) -> bool:
        return not self.told.done()

    def answer(self, response: Response) -> None:
        self.told.set_result(response)

    def hand_back(self) -> None:
        self._bench.handed_back += 1
        self.told.set_result(self._bench.application.handle(self._request))


def document(datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    inputs = [{"name": name, "shape": [1, 2], "datatype": datatype, "data": [1, 0]} for name in "ab"]
    return {"inputs": inputs, **more}


_numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.just("1"),
    st.lists(st.integers(), max_size=1),
)
_inputs = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "c"]),
        "shape": st.sampled_from([[1, 2], [1, 2], [2, 1], [2], [0, 2], [2, 2], [-1, 2]]),
        "datatype": st.sampled_from([*sorted(DTYPES), "BYTES", "INVALID"]),
        "data": st.lists(_numbers, max_size=4),
    },
    optional={"parameters": st.sampled_from([{}, {"binary_data_size": 8}, {"x": 1}])},
)
_documents = st.fixed_dictionaries(
    {"inputs": st.lists(_inputs, max_size=3)},
    optional={
        "id": st.sampled_from(["", "7"]),
        "parameters": st.sampled_from([{}, {"x": 1}, {"binary_data_output": True}]),
        "outputs": st.sampled_from([[], [{"name": "x"}], [{"name": "no"}]]),
    },
)


@st.composite
def _nearly_plain(draw: st.DrawFn, datatype: str) -> dict[str, Any]:
    kind = st.floats() if datatype.startswith("FP") else st.integers(-(2**66), 2**66)
    number = st.one_of(st.integers(0, 1), kind)
    sent = document(datatype, **draw(st.sampled_from([{}, {"id": "7"}, {"id": 'é"\n'}])))
    for each in sent["inputs"]:
        each["data"] = draw(st.lists(number, min_size=2, max_size=2))
    return sent


_DATATYPES = st.sampled_from(sorted(DTYPES))


@settings(deadline=None, max_examples=300)
@given(st.data(), _DATATYPES)
def test_both_ways_agree(data: st.DataObject, datatype: str) -> None:
    body = json.dumps(data.draw(st.one_of(_documents, _nearly_plain(datatype)))).encode()

    async def both() -> tuple[object, object]:
        bench = Bench(datatype)
        return await bench.ask(body), await bench.ask(body, lane=False)

    short, general = asyncio.run(both())
    assert short == general


@settings(deadline=None, max_examples=100)
@given(st.data(), _DATATYPES, st.sampled_from([1, 3, 64]))
def test_each_of_a_turn_gets_its_own_answer(data: st.DataObject, datatype: str, rows: int) -> None:
    drawn = data.draw(st.lists(st.one_of(_nearly_plain(datatype), _nearly_plain(datatype), _documents), max_size=7))
    bodies = [json.dumps(each).encode() for each in drawn]

    async def both() -> tuple[object, object]:
        bench = Bench(datatype, rows=rows)
        together = await asyncio.gather(*[bench.ask(body) for body in bodies])
        return together, [await bench.ask(body, lane=False) for body in bodies]

    together, alone = asyncio.run(both())
    assert together == alone


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BOOL", "BF16"}))
async def test_a_plain_request_stays_in_the_lane(datatype: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(datatype, rows=rows)
    assert can_be_plain(bench.served)
    monkeypatch.setattr(application, "read_request", None)
    for status, answer in await bench.ask_together(*[json.dumps(document(datatype)).encode()] * 3):
        assert status == 200
        assert [output["data"] for output in answer["outputs"]] == [[1, 0], [1, 0]]
    assert bench.handed_back == 0
    metrics = bench.metrics
    assert metrics.success["REST", "ModelInfer"].value == metrics.inferred["REST"][1].count == 3
    assert metrics.inference_time.count == metrics.wait_time.count == 3
    if rows > 1:
        sizes, waited = metrics.merging()
        assert (sizes.count, sizes.total, waited.count) == (1, 3, 3)


_output_lists = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["x", 'y"é', "no"])},
        optional={"parameters": st.sampled_from([{"binary_data": True}, {"binary_data": False}])},
    ),
    max_size=2,
)


@st.composite
def _raw(draw: st.DrawFn, datatype: str) -> tuple[dict[str, Any], bytes]:
    sent: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "id": st.just("7"),
                "parameters": st.sampled_from([{}, {"x": 1}, {"binary_data_output": True}]),
                "outputs": _output_lists,
            },
        )
    )
    size = 2 * DTYPES[datatype].itemsize
    rows = draw(st.sampled_from([1, 1, 1, 2]))
    sent["inputs"] = [
        {"name": name, "shape": [rows, 2], "datatype": datatype, "parameters": {"binary_data_size": rows * size}}
        for name in draw(st.sampled_from(["ab", "ab", "ba"]))
    ]
    return sent, draw(st.binary(min_size=2 * rows * size, max_size=2 * rows * size + draw(st.sampled_from([0, 0, 1]))))


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(sorted(set(DTYPES) - {"BF16"})), st.sampled_from([1, 64]))
def test_raw_requests_of_a_turn_get_what_each_gets_alone(data: st.DataObject, datatype: str, rows: int) -> None:
    sent = data.draw(st.lists(_raw(datatype), max_size=5))

    async def both() -> tuple[object, object]:
        bench = Bench(datatype, rows=rows)
        alone = [await bench.ask_raw(*each, lane=False) for each in sent]  # from here on their JSON is known
        return alone, await asyncio.gather(*[bench.ask_raw(*each) for each in sent])

    alone, together = asyncio.run(both())
    assert together == alone


@pytest.mark.parametrize("rows", [1, 64])
@pytest.mark.parametrize("parameters", [{}, {"binary_data_output": True}])
async def test_a_raw_request_stays_in_the_lane(rows: int, parameters: dict[str, bool]) -> None:
    bench = Bench("FP32", rows=rows)
    inputs = [
        {"name": name, "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}} for name in "ab"
    ]
    header = {"inputs": inputs, "parameters": parameters}
    sent = [np.arange(4 * number, 4 * number + 4, dtype="<f4").tobytes() for number in range(3)]
    await bench.ask_raw(header, sent[0], lane=False)
    answers = await asyncio.gather(*[bench.ask_raw(header, data) for data in sent])
    assert bench.handed_back == 0
    for data, (status, headers, body) in zip(sent, answers, strict=True):
        assert status == 200
        if parameters:
            assert body.endswith(data)
            size = int(headers.partition(b": ")[2])
            assert [each["parameters"] for each in json.loads(body[:size])["outputs"]] == [{"binary_data_size": 8}] * 2
        else:
            assert [output["data"] for output in json.loads(body)["outputs"]] == np.frombuffer(data, "<f4").reshape(
                2, 2
            ).tolist()


async def test_a_raw_request_whose_json_is_new_goes_the_general_way() -> None:
    bench = Bench("FP32")
    header = {"inputs": [{"name": name, "shape": [1, 2], "datatype": "FP32"} for name in "ab"]}
    assert (await bench.ask_raw(header, bytes(16)))[0] == 200
    assert bench.handed_back == 1
    assert (await bench.ask_raw(header, bytes(16)))[0] == 200
    assert bench.handed_back == 1


def body_of(first: float) -> bytes:
    sent = document()
    sent["inputs"][0]["data"] = [first, 0]
    return json.dumps(sent).encode()


class Unlucky(Mirror):
    """Breaks on 13."""

    def slot(self) -> Slot:
        return _UnluckySlot()


class _UnluckySlot:
    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        if (np.asarray(inputs[0][0]) == 13).any():
            raise ZeroDivisionError("unlucky")
        return list(inputs)


@pytest.mark.parametrize("rows", [1, 64])
async def test_what_breaks_is_one_failed_request(rows: int) -> None:
    bench = Bench("FP32", Unlucky("FP32"), rows=rows)
    answers = await bench.ask_together(*map(body_of, [1, 13, 3]))
    assert [status for status, _ in answers] == [200, 500, 200]
    assert [answers[place][1]["outputs"][0]["data"] for place in (0, 2)] == [[1, 0], [3, 0]]
    assert "ZeroDivisionError" in answers[1][1]["error"]
    assert bench.metrics.success["REST", "ModelInfer"].value == 2
    assert bench.metrics.fail["REST", "ModelInfer"].value == 1
    assert bench.handed_back == 0


async def test_nothing_is_computed_for_who_has_left() -> None:
    bench = Bench("FP32", rows=64)
    places = []
    for number in range(3):
        request = Request(b"POST", TARGET, {}, body_of(number))
        places.append(Place(bench, request))
        assert bench.lane(request).handle(request, places[-1]) is None
    places[1].told.cancel()
    answers = [await places[number].told for number in (0, 2)]
    assert [answer.status for answer in answers if isinstance(answer, Response)] == [200, 200]
    assert bench.metrics.merging()[0].total == 2
    assert bench.metrics.fail["REST", "ModelInfer"].value == 1


class Crooked(Mirror):
    """Returns more than its specs say."""

    def slot(self) -> Slot:
        return _CrookedSlot()


class _CrookedSlot:
    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        return [(np.zeros(6, np.float32), (3, 2)) for _ in inputs]


async def test_a_model_with_other_outputs_leaves_the_lane() -> None:
    bench = Bench("FP32", Crooked("FP32"))
    for _ in range(2):
        answers = await bench.ask_together(body_of(1), body_of(2))
        assert [answer["outputs"][0]["shape"] for _, answer in answers] == [[3, 2], [3, 2]]
        assert bench.handed_back == 2
    assert bench.metrics.success["REST", "ModelInfer"].value == 4


async def test_a_defect_of_the_lane_costs_nobody_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench("FP32")
    monkeypatch.setattr(PlainVersion, "written", None)
    answers = await bench.ask_together(body_of(1), body_of(2))
    assert [status for status, _ in answers] == [200, 200]
    assert bench.handed_back == 2


async def test_a_model_that_moves_to_threads_leaves_the_lane() -> None:
    bench = Bench("FP32")
    asked = asyncio.ensure_future(bench.ask(body_of(1)))
    await asyncio.sleep(0)
    bench.execution._inline = False
    assert (await asked)[0] == 200
    assert bench.handed_back == 1
    assert (await bench.ask(body_of(1)))[0] == 200
    assert bench.handed_back == 1


async def test_a_lone_client_is_answered_at_once() -> None:
    bench = Bench("FP32")
    request = Request(b"POST", TARGET, {}, body_of(1))
    at_once = 0
    for _ in range(100):
        at_once += isinstance(bench.lane(request).handle(request, Place(bench, request)), Response)
        await asyncio.sleep(0)
    assert at_once > 70


@pytest.mark.parametrize(
    "request_",
    [
        Request(b"POST", TARGET, {b"content-type": b"image/png"}, body_of(1)),
        Request(b"POST", TARGET, {b"content-encoding": b"gzip"}, body_of(1)),
        Request(b"GET", TARGET, {}, body_of(1)),
        Request(b"POST", TARGET + b"?x", {}, body_of(1)),
        Request(b"POST", TARGET, {}, body_of(1) + b" " * 10_000),
    ],
)
async def test_what_says_that_it_is_not_plain_is_not_taken(request_: Request) -> None:
    bench = Bench("FP32")
    bench.application.lanes.open(TARGET, Route(Endpoint.INFER, "m"))
    assert bench.application.lanes.find(request_) is None


async def test_a_version_that_is_loaded_again_is_looked_at_again() -> None:
    bench = Bench("FP32")
    body = json.dumps(document("INT32")).encode()
    assert (await bench.ask(body))[0] == 400
    asked = asyncio.ensure_future(bench.ask(body))
    await asyncio.sleep(0)
    other = Bench("INT32")
    bench.registry.publish(other.served)
    assert (await asked)[0] == 200
    assert (await bench.ask(body))[0] == 200


async def test_a_model_that_is_gone_is_gone_and_comes_back() -> None:
    bench = Bench("FP32")
    assert (await bench.ask(body_of(1)))[0] == 200
    asked = asyncio.ensure_future(bench.ask(body_of(1)))
    await asyncio.sleep(0)
    bench.registry.retire("m", 1)
    assert (await asked)[0] == 503
    assert (await bench.ask(body_of(1)))[0] == 503
    bench.registry.publish(bench.served)
    assert (await bench.ask(body_of(1)))[0] == 200


async def test_a_lane_does_not_keep_a_model_that_is_gone() -> None:
    bench = Bench("FP32")
    await bench.ask(body_of(1))
    await bench.ask_raw({"inputs": []}, b"")
    gone = weakref.ref(bench.served)
    bench.registry.retire("m", 1)
    bench.registry.ended("m", 1)
    del bench.served, bench.execution
    assert gone() is None


def test_lanes_are_bounded() -> None:
    lanes = Lanes(DataPlane(Registry()), lambda _: Response(), lambda _: None, lambda _: None)
    for number in range(5000):
        lanes.open(b"/v2/models/%d/infer" % number, Route(Endpoint.INFER, str(number)))
    assert len(lanes._lanes) <= 512
