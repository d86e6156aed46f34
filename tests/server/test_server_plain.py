"""The short way of plain requests: whatever is sent, the answer is that of the general way, to the byte."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.server.dataplane import DataPlane
from skerry.server.engines import Shape, Slot, Values
from skerry.server.execution import Execution, Limits, WarmModel
from skerry.server.http.messages import Later, Request, Response
from skerry.server.model_metrics import ServerMetrics, VersionMetrics
from skerry.server.registry import Registry, ServedVersion
from skerry.server.repository_control import FixedRepository
from skerry.server.rest import application
from skerry.server.rest.application import Application
from skerry.server.rest.plain import PlainVersion, can_be_plain
from skerry.server.tensors import DTYPES, Dim, TensorSpec


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

    def __init__(self, datatype: str) -> None:
        model, server = Mirror(datatype), ServerMetrics()
        self.metrics = VersionMetrics(server, "m", "1")
        registry = Registry()
        registry.declare("m")
        execution = Execution(WarmModel(model), self.metrics, Limits(100, 30), asyncio.get_running_loop())
        self.served = ServedVersion("m", 1, model, execution, self.metrics)
        registry.publish(self.served)
        self.application = Application(DataPlane(registry), server, FixedRepository(_Models(registry)))

    async def ask(self, body: bytes, **headers: str) -> tuple[int, bytes, bytes]:
        named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        answer = self.application.handle(Request(b"POST", b"/v2/models/m/infer", named, body))
        if isinstance(answer, Later):
            await asyncio.wait([answer.future], timeout=10)
            answer = answer.render(answer.future)
        assert isinstance(answer, Response)
        return answer.status, answer.headers, answer.body


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
    sent = document(datatype)
    for each in sent["inputs"]:
        each["data"] = draw(st.lists(number, min_size=2, max_size=2))
    return sent


_DATATYPES = st.sampled_from(sorted(DTYPES))


@settings(deadline=None, max_examples=300)
@given(st.data(), _DATATYPES)
def test_both_ways_agree(data: st.DataObject, datatype: str) -> None:
    body = json.dumps(data.draw(st.one_of(_documents, _nearly_plain(datatype)))).encode()

    async def both() -> tuple[object, object]:
        short, general = Bench(datatype), Bench(datatype)
        general.served.notes[PlainVersion] = None
        return await short.ask(body), await general.ask(body)

    short, general = asyncio.run(both())
    assert short == general


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - {"BOOL", "BF16"}))
async def test_a_plain_request_takes_the_short_way(datatype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(datatype)
    assert can_be_plain(bench.served)
    monkeypatch.setattr(application, "read_request", None)
    status, _, body = await bench.ask(json.dumps(document(datatype)).encode())
    assert status == 200
    assert [output["data"] for output in json.loads(body)["outputs"]] == [[1, 0], [1, 0]]
    assert bench.metrics.success["REST", "ModelInfer"].value == 1


async def test_a_picture_is_none_whatever_it_holds() -> None:
    status, _, _ = await Bench("FP32").ask(json.dumps(document()).encode(), content_type="image/png")
    assert status == 415


async def test_a_version_that_is_loaded_again_is_looked_at_again() -> None:
    bench = Bench("FP32")
    body = json.dumps(document("INT32")).encode()
    assert (await bench.ask(body))[0] == 400
    other = Bench("INT32")
    bench.application._plane._registry.publish(other.served)
    assert (await bench.ask(body))[0] == 200
