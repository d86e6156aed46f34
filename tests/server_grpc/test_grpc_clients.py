"""Real clients against a real server: grpcio, tritonclient in both its forms, health and reflection."""

import asyncio
import queue
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import openvino as ov
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from openvino import opset13 as ops
from tests.server import harness
from tests.server_grpc.declared import declared
from tests.server_grpc.served import Served, answer, infer, method, request, serving

ROWS = np.array([[0.1, 0.2, 0.3, 0.4], [5, 1, 2, 0]], np.float32)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def refused(call: Callable[[], object]) -> Any:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def triton_input(values: Any = ROWS, name: str = "x") -> Any:
    tensor = triton.InferInput(name, list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return tensor


# tritonclient.


def test_tritonclient(tiny: Served) -> None:
    with triton.InferenceServerClient(tiny.target) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.is_model_ready("tiny", "1")
        assert client.get_server_metadata().name == "skerry"
        metadata = client.get_model_metadata("tiny", as_json=True)
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]
        assert (metadata["platform"], metadata["versions"]) == ("OpenVINO", ["1"])
        reply = client.infer("tiny", [triton_input()], request_id="seven", parameters={"who": "me", "n": 3})
        np.testing.assert_allclose(reply.as_numpy("y"), harness.iris_answer(ROWS), rtol=1e-5)
        whole = reply.get_response()
        assert (whole.id, whole.model_name, whole.model_version) == ("seven", "tiny", "1")
        assert whole.parameters["who"].string_param == "me"
        assert whole.parameters["n"].int64_param == 3
        (entry,) = client.get_model_repository_index().models
        assert (entry.name, entry.version, entry.state) == ("tiny", "1", "READY")


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_with_compression(tiny: Served, algorithm: str) -> None:
    with triton.InferenceServerClient(tiny.target) as client:
        reply = client.infer("tiny", [triton_input()], compression_algorithm=algorithm)
        np.testing.assert_allclose(reply.as_numpy("y"), harness.iris_answer(ROWS), rtol=1e-5)


def test_tritonclient_is_told_what_is_wrong(tiny: Served) -> None:
    with triton.InferenceServerClient(tiny.target) as client:
        with pytest.raises(triton.InferenceServerException, match="Invalid number of inputs - Expected: 1; Actual: 2"):
            client.infer("tiny", [triton_input(), triton_input(name="z")])
        with pytest.raises(triton.InferenceServerException, match="not found: nobody"):
            client.load_model("nobody")
        with pytest.raises(triton.InferenceServerException, match="the model has no output z"):
            client.infer("tiny", [triton_input()], outputs=[triton.InferRequestedOutput("z")])


def test_tritonclient_in_a_stream(tiny: Served) -> None:
    replies: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    with triton.InferenceServerClient(tiny.target) as client:
        client.start_stream(lambda result, error: replies.put((result, error)))
        for number in range(50):
            client.async_stream_infer("tiny", [triton_input(ROWS + number)], request_id=str(number))
        client.async_stream_infer("nobody", [triton_input()], request_id="lost")
        client.async_stream_infer("tiny", [triton_input()], request_id="last")
        for number in range(50):
            result, error = replies.get(timeout=10)
            assert error is None
            assert result.get_response().id == str(number)
            np.testing.assert_allclose(result.as_numpy("y"), harness.iris_answer(ROWS + number), rtol=1e-4, atol=1e-7)
        _, error = replies.get(timeout=10)
        assert "not found: nobody" in str(error)
        result, error = replies.get(timeout=10)
        assert result.get_response().id == "last"
        client.stop_stream()


async def test_tritonclient_with_asyncio(tiny: Served) -> None:
    async with triton_aio.InferenceServerClient(tiny.target) as client:
        assert await client.is_server_ready()
        calls = [client.infer("tiny", [triton_input(ROWS + number)]) for number in range(100)]
        for number, reply in enumerate(await asyncio.gather(*calls)):
            np.testing.assert_allclose(reply.as_numpy("y"), harness.iris_answer(ROWS + number), rtol=1e-4, atol=1e-7)

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for number in range(20):
                yield {"model_name": "tiny", "inputs": [triton_input()], "request_id": str(number)}

        seen = [result.get_response().id async for result, error in client.stream_infer(requests()) if error is None]
        assert seen == [str(number) for number in range(20)]


# grpcio.


def test_typed_contents_and_all_codes(tiny: Served) -> None:
    with tiny.channel() as channel:
        call = infer(channel)
        typed = declared("inference.ModelInferRequest")(
            model_name="tiny",
            inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": ROWS[0]}}],
            outputs=[{"name": "y"}],
        )
        np.testing.assert_allclose(answer(call(typed)), harness.iris_answer(ROWS[:1]), rtol=1e-5)
        errors = {
            "unknown model": (refused(lambda: call(request(ROWS, name="nobody"))), grpc.StatusCode.NOT_FOUND),
            "unknown version": (refused(lambda: call(request(ROWS, model_version="9"))), grpc.StatusCode.NOT_FOUND),
            "wrong shape": (refused(lambda: call(request(ROWS[:, :3]))), grpc.StatusCode.INVALID_ARGUMENT),
            "too large": (refused(lambda: call(request(np.zeros((1 << 17, 4))))), grpc.StatusCode.RESOURCE_EXHAUSTED),
            "no method": (
                refused(lambda: method(channel, "Nothing", *["inference.ServerLiveRequest"] * 2)(typed.__class__())),
                grpc.StatusCode.UNIMPLEMENTED,
            ),
        }
        assert {name: error.code() for name, (error, _) in errors.items()} == {
            name: code for name, (_, code) in errors.items()
        }
        expected = "Invalid input shape - Expected: (-1,4); Actual: (2,3); input name: x"
        assert errors["wrong shape"][0].details() == expected


def test_answers_belong_to_their_requests(tiny: Served) -> None:
    """32 threads over one connection, each with its own numbers."""
    with tiny.channel() as channel:
        call = infer(channel)

        def ask(number: int) -> None:
            rows = np.full((1 + number % 3, 4), number, np.float32) + ROWS[:1]
            response = call(request(rows, id=str(number)), timeout=20)
            assert response.id == str(number)
            np.testing.assert_allclose(answer(response), harness.iris_answer(rows), rtol=1e-4, atol=1e-7)

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(ask, range(1000)))


def test_metrics_are_counted_for_this_interface(tiny: Served) -> None:
    def counted(family: str, name: str, *labels: str) -> int:
        method = f'method="{name}",name="tiny"' + "".join(f",{label}" for label in labels)
        return tiny.process.counted(f'{family}{{api="KServe",interface="gRPC",{method}}}')

    version = 'version="1"'
    before = [
        counted("ovms_requests_success", "ModelInfer", version),
        counted("ovms_requests_fail", "ModelInfer", version),
        counted("ovms_requests_success", "ModelReady"),
    ]
    with tiny.channel() as channel:
        infer(channel)(request(ROWS))
        refused(lambda: infer(channel)(request(ROWS[:, :2])))
        broken = declared("inference.ModelInferRequest")(model_name="tiny", inputs=[{"name": "x", "datatype": "FP99"}])
        refused(lambda: infer(channel)(broken))
        ready = method(channel, "ModelReady", "inference.ModelReadyRequest", "inference.ModelReadyResponse")
        assert ready(declared("inference.ModelReadyRequest")(name="tiny")).ready
        ask = declared("inference.ModelReadyRequest")(name="nobody")
        assert refused(lambda: ready(ask)).code() == grpc.StatusCode.NOT_FOUND
    after = [
        counted("ovms_requests_success", "ModelInfer", version),
        counted("ovms_requests_fail", "ModelInfer", version),
        counted("ovms_requests_success", "ModelReady"),
    ]
    assert [now - then for then, now in zip(before, after, strict=True)] == [1, 2, 1]


def test_pictures(room: Path) -> None:
    x = harness.parameter("x", (1, 4, 6, 3), harness.KINDS["FP32"])
    doubled = harness.named("y", ops.add(x, x))
    model = harness.save(ov.Model([ops.result(doubled)], [x], "double"), room / "pictures")
    cv2 = pytest.importorskip("cv2")
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    png = cv2.imencode(".png", pixels)[1].tobytes()
    described = {"name": "x", "datatype": "BYTES", "shape": [1]}
    kind = declared("inference.ModelInferRequest")
    with serving(room, model, "--layout=NHWC") as server, server.channel() as channel:
        raw = kind(model_name="tiny", inputs=[described], raw_input_contents=[len(png).to_bytes(4, "little") + png])
        typed = kind(model_name="tiny", inputs=[described | {"contents": {"bytes_contents": [png]}}])
        for asked in (raw, typed):
            np.testing.assert_array_equal(answer(infer(channel)(asked))[0], 2.0 * pixels)
        bad = kind(model_name="tiny", inputs=[described | {"contents": {"bytes_contents": [b"no picture"]}}])
        error = refused(lambda: infer(channel)(bad))
        assert (error.code(), error.details()[:20]) == (grpc.StatusCode.INVALID_ARGUMENT, "Image parsing failed")


def test_strings(room: Path) -> None:
    model = harness.save(harness.strings(), room / "strings")
    with serving(room, model) as server, triton.InferenceServerClient(server.target) as client:
        words = np.array([b"a", b"", "ä".encode(), b"\xff"], np.object_)
        text = triton.InferInput("text", [4], "BYTES")
        text.set_data_from_numpy(words)
        name = client.get_model_metadata("tiny").outputs[0].name
        assert client.infer("tiny", [text]).as_numpy(name).tolist() == words.tolist()


# Deadlines and cancellation.


def test_a_deadline_is_kept_and_the_queue_forgets_the_call(slow: Served) -> None:
    asked = request(np.ones((1, 900)))
    with slow.channel() as channel:
        call = infer(channel)
        call(asked)
        busy = [call.future(asked) for _ in range(6)]
        start = time.monotonic()
        error = refused(lambda: call(asked, timeout=0.02))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - start < 1
        for future in busy:
            future.cancel()
        until(lambda: slow.process.counted('ovms_current_requests{name="tiny",version="1"}') == 0)
        assert answer(call(asked)).shape == ()


def test_a_full_queue_says_when_to_come_back(slow: Served) -> None:
    asked = request(np.ones((1, 900)))
    with slow.channel() as channel:
        calls = [infer(channel).future(asked) for _ in range(30)]
        errors = [call.exception() for call in calls]
        full = [error for error in errors if error is not None]
        assert 0 < len(full) < 30
        assert {error.code() for error in full} == {grpc.StatusCode.UNAVAILABLE}
        assert int(dict(full[0].trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000


def test_a_stream_answers_in_order_while_others_wait(slow: Served) -> None:
    with slow.channel() as channel:
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=declared("inference.ModelInferRequest").SerializeToString,
            response_deserializer=declared("inference.ModelStreamInferResponse").FromString,
        )
        asked = [request(np.ones((1, 900)), id=str(number)) for number in range(6)]
        asked.insert(3, request(np.ones((1, 3)), id="bad"))
        replies = list(stream(iter(asked)))
        assert [reply.infer_response.id for reply in replies] == ["0", "1", "2", "bad", "3", "4", "5"]
        assert [bool(reply.error_message) for reply in replies] == [False] * 3 + [True] + [False] * 3


# Health and reflection.


def test_health(tiny: Served) -> None:
    with tiny.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)

        def check(name: str) -> int:
            return int(health.Check(health_pb2.HealthCheckRequest(service=name)).status)

        assert [check(name) for name in ("", "inference.GRPCInferenceService", "tiny")] == [1, 1, 1]
        assert refused(lambda: check("nobody")).code() == grpc.StatusCode.NOT_FOUND
        listed = method(channel, "List", *[f"grpc.health.v1.HealthList{each}" for each in ("Request", "Response")],
                        service="grpc.health.v1.Health")  # fmt: skip
        states = {
            name: each.status for name, each in listed(declared("grpc.health.v1.HealthListRequest")()).statuses.items()
        }
        assert states == dict.fromkeys(["", "grpc.health.v1.Health", "inference.GRPCInferenceService", "tiny"], 1)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="nobody"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


def test_reflection(tiny: Served) -> None:
    with tiny.channel() as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert sorted(database.get_services()) == [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "inference.GRPCInferenceService",
        ]
        file = database.FindFileContainingSymbol("inference.ModelInferRequest.InferInputTensor")
        assert file.name == "inference.proto"
        assert [each.name for each in file.service] == ["GRPCInferenceService"]
        assert database.FindFileByName("grpc/health/v1/health.proto").package == "grpc.health.v1"
        assert database.FindFileContainingSymbol("inference.GRPCInferenceService.ModelInfer").name == "inference.proto"
        with pytest.raises(KeyError):
            database.FindFileContainingSymbol("no.such.Symbol")


def test_reflection_in_its_first_version(tiny: Served) -> None:
    kind = declared("grpc.reflection.v1.ServerReflectionRequest")
    asked = [
        kind(host="here", list_services="*"),
        kind(file_containing_symbol="inference.InferParameter"),
        kind(all_extension_numbers_of_type="inference.InferParameter"),
        kind(file_containing_extension={"containing_type": "inference.InferParameter", "extension_number": 1}),
        kind(file_by_filename="nothing.proto"),
        kind(),
    ]
    with tiny.channel() as channel:
        stream = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=kind.SerializeToString,
            response_deserializer=declared("grpc.reflection.v1.ServerReflectionResponse").FromString,
        )
        replies = list(stream(iter(asked)))
    assert [reply.original_request for reply in replies] == asked
    assert replies[0].valid_host == "here"
    assert len(replies[0].list_services_response.service) == 4
    assert len(replies[1].file_descriptor_response.file_descriptor_proto) == 1
    assert replies[2].all_extension_numbers_response.base_type_name == "inference.InferParameter"
    assert [reply.error_response.error_code for reply in replies[3:]] == [5, 5, 3]


# Starting and stopping.


def test_the_port_answers_before_there_is_a_model_and_watchers_learn_of_it(room: Path) -> None:
    model = room / "late"
    with serving(room, model, "--drain_seconds=1.5", ready=False) as server, server.channel() as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
        until(lambda: server.process.get("/v2/health/live").status == 200)
        live = method(channel, "ServerLive", "inference.ServerLiveRequest", "inference.ServerLiveResponse")
        assert live(declared("inference.ServerLiveRequest")()).live
        ready = method(channel, "ServerReady", "inference.ServerReadyRequest", "inference.ServerReadyResponse")
        assert not ready(declared("inference.ServerReadyRequest")()).ready
        assert refused(lambda: infer(channel)(request(ROWS))).code() == grpc.StatusCode.UNAVAILABLE
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        states = [next(watch).status]
        harness.save(harness.iris((-1, 4)), room / "made")
        (room / "made").rename(model)
        states.append(next(watch).status)
        assert answer(infer(channel)(request(ROWS))).shape == (2, 3)
        server.process.process.send_signal(signal.SIGTERM)
        states.append(next(watch).status)
        assert states == [2, 1, 2]
        assert refused(lambda: next(watch)).code() == grpc.StatusCode.UNAVAILABLE
        assert server.process.process.wait(timeout=10) == 0


def test_a_call_that_runs_is_answered_before_the_server_ends(room: Path) -> None:
    model = harness.save(harness.slow(), room / "slow-to-stop")
    asked = request(np.ones((1, 900)))
    with serving(room, model) as server, server.channel() as channel:
        infer(channel)(asked)
        running = [infer(channel).future(asked) for _ in range(4)]
        server.process.process.send_signal(signal.SIGTERM)
        outcomes = [call.exception(timeout=20) for call in running]
        assert server.process.process.wait(timeout=20) == 0
    assert [error for error in outcomes if error is not None and error.code() != grpc.StatusCode.UNAVAILABLE] == []


def test_grpc_alone_without_rest(room: Path) -> None:
    model = harness.save(harness.iris((-1, 4)), room / "alone")
    address, port = harness.free_place()
    words = [f"--model_path={model}", "--model_name=tiny", f"--port={port}", f"--grpc_bind_address={address}"]
    process = subprocess.Popen([sys.executable, "-m", "skerry.server", *words, "--drain_seconds=0"])
    try:
        with grpc.insecure_channel(f"{address}:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
            health = health_pb2_grpc.HealthStub(channel)
            until(lambda: health.Check(health_pb2.HealthCheckRequest()).status == 1)
            assert answer(infer(channel)(request(ROWS))).shape == (2, 3)
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait(timeout=10)


def test_a_port_that_is_taken(tiny: Served, room: Path) -> None:
    address, port = tiny.target.split(":")
    words = harness.command(room / "iris", f"--port={port}", f"--grpc_bind_address={address}")
    done = harness.run_to_end(*words)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"Failed to start gRPC server - at {address}:{port} - port is busy; another process listens there\n"
    )


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of its own for localhost, and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = builder.sign(key, hashes.SHA256())
    directory = tmp_path_factory.mktemp("tls")
    (directory / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory / "tls.crt", directory / "tls.key"


def test_tls(room: Path, certificate: tuple[Path, Path]) -> None:
    model = harness.save(harness.iris((-1, 4)), room / "tls")
    options = (f"--grpc_certificate={certificate[0]}", f"--grpc_key={certificate[1]}")
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    name = [("grpc.ssl_target_name_override", "localhost")]
    with serving(room, model, *options) as server, grpc.secure_channel(server.target, credentials, name) as channel:
        rows = np.tile(ROWS, (5000, 1))
        np.testing.assert_allclose(answer(infer(channel)(request(rows))), harness.iris_answer(rows), rtol=1e-5)
        assert server.process.stop() == 0


def test_tls_files_that_are_none(room: Path, certificate: tuple[Path, Path]) -> None:
    options = [f"--grpc_certificate={certificate[0]}", f"--grpc_key={room / 'missing'}", "--port=1"]
    done = harness.run_to_end(*harness.command(room / "iris", *options))
    assert done.returncode == 1
    assert done.stderr.startswith("cannot use --grpc_certificate=")
    done = harness.run_to_end(*harness.command(room / "iris", options[0], "--port=1"))
    assert (done.returncode, done.stderr) == (64, "grpc_certificate and grpc_key need each other\n")


# The repository.


def test_models_come_and_go(room: Path) -> None:
    model = harness.save(harness.iris((-1, 4)), room / "comes-and-goes")
    with serving(room, model) as server, triton.InferenceServerClient(server.target) as client:

        def index() -> list[tuple[str, str, str]]:
            return [(each.name, each.version, each.state) for each in client.get_model_repository_index().models]

        assert index() == [("tiny", "1", "READY")]
        client.unload_model("tiny")
        assert not client.is_model_ready("tiny")
        until(lambda: index() == [("tiny", "1", "UNAVAILABLE")])
        with pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"):
            client.infer("tiny", [triton_input()])
        client.load_model("tiny")
        assert client.is_model_ready("tiny")
        assert client.infer("tiny", [triton_input()]).as_numpy("y").shape == (2, 3)
        with server.channel() as channel:
            # KServe's own file has the name in another field.
            load = method(channel, "RepositoryModelLoad", *KSERVE_LOAD)
            loaded = load(declared("inference.RepositoryModelLoadRequest")(repository_name="tiny"))
            assert (loaded.model_name, loaded.isLoaded) == ("tiny", True)


KSERVE_LOAD = ("inference.RepositoryModelLoadRequest", "inference.RepositoryModelLoadResponse")
