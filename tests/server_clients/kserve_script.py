"""What KServe's own clients get from the server; runs in the environment of the benchmarks' peer."""

# mypy: ignore-errors
import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

ROWS = np.array([[0.1, 0.2, 0.3, 0.4], [5, 1, 2, 0]], np.float32)


def request(*, binary: bool) -> InferRequest:
    tensor = InferInput("x", list(ROWS.shape), "FP32")
    tensor.set_data_from_numpy(ROWS, binary_data=binary)
    return InferRequest(model_name="iris", infer_inputs=[tensor], request_id="seven")


def check(response: object) -> None:
    values = response.outputs[0].as_numpy().reshape(2, 3)
    np.testing.assert_allclose(values.sum(axis=1), [1, 1], rtol=1e-5)
    assert (response.id, response.model_name) == ("seven", "iris"), response


async def rest(url: str) -> None:
    client = InferenceRESTClient(config=RESTConfig(protocol="v2", timeout=30))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "iris")
    for binary in (True, False):
        check(await client.infer(url, request(binary=binary), model_name="iris"))
    first = InferenceRESTClient(config=RESTConfig(protocol="v1", timeout=30))
    answer = await first.infer(url, {"instances": ROWS.tolist()}, model_name="iris")
    assert len(answer["predictions"]) == 2, answer
    await client.close()
    await first.close()


async def grpc(target: str) -> None:
    client = InferenceGRPCClient(url=target, timeout=30)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("iris")
    for binary in (True, False):
        check(await client.infer(request(binary=binary)))
    await client.close()


async def main(url: str, target: str) -> None:
    await rest(url)
    await grpc(target)
    sys.stdout.write("all is well\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
