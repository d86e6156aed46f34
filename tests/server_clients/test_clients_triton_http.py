"""tritonclient over HTTP, with gevent and with asyncio; its gRPC clients are in tests/server_grpc."""

from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tests.server import harness
from tests.server_grpc.served import Served
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

ROWS = np.array([[0.1, 0.2, 0.3, 0.4], [5, 1, 2, 0]], np.float32)


def address(served: Served) -> str:
    return f"{served.process.address}:{served.process.port}"


def tensor(values: Any, name: str = "x", *, binary: bool = True) -> Any:
    made = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def test_what_the_server_tells(served: Served) -> None:
    with triton.InferenceServerClient(address(served)) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("iris")
        assert client.is_model_ready("iris", "1")
        assert not client.is_model_ready("nothing")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata("iris")
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        index = client.get_model_repository_index()
        assert {(one["name"], one["state"]) for one in index} == {
            (name, "READY") for name in ("iris", "kinds", "strings")
        }


@pytest.mark.parametrize("into", [True, False])
@pytest.mark.parametrize("out_of", [True, False])
def test_json_and_binary_in_each_direction(served: Served, into: bool, out_of: bool) -> None:
    with triton.InferenceServerClient(address(served)) as client:
        outputs = [triton.InferRequestedOutput("y", binary_data=out_of)]
        reply = client.infer("iris", [tensor(ROWS, binary=into)], outputs=outputs, request_id="seven")
        np.testing.assert_allclose(reply.as_numpy("y"), harness.iris_answer(ROWS), rtol=1e-5)
        whole = reply.get_response()
        assert (whole["id"], whole["model_name"], whole["model_version"]) == ("seven", "iris", "1")
        assert ("data" in whole["outputs"][0]) is not out_of


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_in_each_direction(served: Served, algorithm: str) -> None:
    with triton.InferenceServerClient(address(served)) as client:
        reply = client.infer(
            "iris",
            [tensor(ROWS)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        np.testing.assert_allclose(reply.as_numpy("y"), harness.iris_answer(ROWS), rtol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_all_datatypes_and_a_choice_of_outputs(served: Served, binary: bool) -> None:
    values = {
        name: np.array([[0, 1], [1, 0]]).astype(triton_type(name)) if name == "BOOL" else extremes(name)
        for name in harness.KINDS
    }
    if not binary:  # the client has no JSON for these
        values = {name: value for name, value in values.items() if name != "FP16"}
    with triton.InferenceServerClient(address(served)) as client:
        inputs = [tensor(value, name, binary=binary) for name, value in values.items()]
        if not binary:
            inputs.append(tensor(extremes("FP16"), "FP16"))
        outputs = [
            triton.InferRequestedOutput(name, binary_data=binary) for name in ("INT64", "UINT64", "FP64", "BOOL")
        ]
        reply = client.infer("kinds", inputs, outputs=outputs)
        assert [one["name"] for one in reply.get_response()["outputs"]] == ["INT64", "UINT64", "FP64", "BOOL"]
        for name in ("INT64", "UINT64", "FP64", "BOOL"):
            np.testing.assert_array_equal(reply.as_numpy(name), values[name])


def triton_type(name: str) -> Any:
    return {"BOOL": np.bool_, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}.get(
        name, np.dtype(name.lower()) if "INT" in name else None
    )


def extremes(name: str) -> Any:
    kind = triton_type(name)
    if name.startswith("FP"):
        return np.array([[0.5, -1.25], [1 / 3, 100]]).astype(kind)
    bounds = np.iinfo(kind)
    return np.array([[bounds.min, bounds.max], [0, 1]], kind)


@pytest.mark.parametrize("binary", [True, False])
def test_text(served: Served, binary: bool) -> None:
    words = np.array(["été", "", "two words"], np.object_)
    with triton.InferenceServerClient(address(served)) as client:
        outputs = [triton.InferRequestedOutput("text", binary_data=binary)]
        reply = client.infer("strings", [tensor(words, "text", binary=binary)], outputs=outputs)
        told = [one.decode() if isinstance(one, bytes) else one for one in reply.as_numpy("text")]
        assert told == ["été", "", "two words"]


def test_requests_at_the_same_time(served: Served) -> None:
    with triton.InferenceServerClient(address(served), concurrency=4) as client:
        rows = [ROWS * number for number in range(20)]
        waiting = [client.async_infer("iris", [tensor(values)]) for values in rows]
        for values, one in zip(rows, waiting, strict=True):
            np.testing.assert_allclose(one.get_result().as_numpy("y"), harness.iris_answer(values), rtol=1e-4)


def test_what_is_wrong_is_told(served: Served) -> None:
    with triton.InferenceServerClient(address(served)) as client:
        with pytest.raises(InferenceServerException, match="not found") as missing:
            client.infer("nothing", [tensor(ROWS)])
        assert missing.value.status() == "404"
        with pytest.raises(InferenceServerException) as wrong:
            client.infer("iris", [tensor(np.zeros((1, 5), np.float32))])
        assert wrong.value.status() == "400"


async def test_asyncio(served: Served) -> None:
    async with triton_aio.InferenceServerClient(address(served)) as client:
        assert await client.is_server_ready()
        assert (await client.get_model_metadata("iris"))["platform"] == "OpenVINO"
        for binary in (True, False):
            outputs = [triton_aio.InferRequestedOutput("y", binary_data=binary)]
            reply = await client.infer("iris", [tensor(ROWS, binary=binary)], outputs=outputs)
            np.testing.assert_allclose(reply.as_numpy("y"), harness.iris_answer(ROWS), rtol=1e-5)
        with pytest.raises(InferenceServerException, match="not found"):
            await client.infer("nothing", [tensor(ROWS)])
