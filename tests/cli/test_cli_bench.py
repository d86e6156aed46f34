"""`skerry bench` against the real server over each protocol, against grpcio's, and against servers that misbehave."""

import asyncio
import datetime as dt
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.cli.bench_servers import Fake, fake
from tests.server import harness
from tests.server_grpc.declared import declared
from tests.server_grpc.served import Served, serving

from skerry.cli.main import cli

SERIES = 'ovms_requests_success{api="KServe",interface="REST",method="ModelInfer",name="tiny",version="1"}'
FAST = ("-d", "250ms", "--warm-up", "50ms")


def bench(*words: str) -> Result:
    return CliRunner().invoke(cli, ["bench", *words], standalone_mode=False)


def measured(*words: str) -> dict[str, Any]:
    """The document of a run that must go well."""
    result = bench(*words, *FAST, "-o", "json")
    assert result.return_value == 0, (result.stderr, result.stdout, result.exception)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    room = tmp_path_factory.mktemp("bench")
    with serving(room, harness.save(harness.iris((-1, 4)), room / "iris"), "--metrics_enable") as server:
        yield server


@pytest.mark.parametrize("encoding", ["binary", "json", "grpc"])
def test_our_server(tiny: Served, encoding: str) -> None:
    rest = f"http://{tiny.process.address}:{tiny.process.port}"
    words = [f"grpc://{tiny.target}"] if encoding == "grpc" else [rest, "--encoding", encoding]
    before = tiny.process.counted(SERIES)
    document = measured(*words, "-c", "1,4", "--batch", "3")
    assert (document["model"], document["encoding"]) == ("tiny", encoding)
    assert document["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [3, 4]}]
    assert [run["concurrency"] for run in document["runs"]] == [1, 4]
    for run in document["runs"]:
        assert run["answers"] > 20
        assert 0 < run["p50_ms"] <= run["p90_ms"] <= run["p99_ms"] <= run["max_ms"]
        assert run["failures"] == {}
    after = tiny.process.counted(SERIES)
    answers = sum(run["answers"] for run in document["runs"])
    assert after - before == 0 if encoding == "grpc" else after - before >= answers


def test_a_rate_is_kept(tiny: Served) -> None:
    for url in (f"http://{tiny.process.address}:{tiny.process.port}", f"grpc://{tiny.target}"):
        (run,) = measured(url, "--rate", "200")["runs"]
        assert (run["concurrency"], run["rate"], run["unsent"]) == (64, 200, 0)
        assert 150 < run["requests_per_s"] < 250


def test_the_table(tiny: Served) -> None:
    result = bench(f"http://{tiny.process.address}:{tiny.process.port}", "-c", "2", *FAST)
    header, line = result.stdout.splitlines()
    assert header.split() == [
        "CLIENTS",
        "REQUESTS/S",
        "P50",
        "MS",
        "P90",
        "MS",
        "P99",
        "MS",
        "MAX",
        "MS",
        "ANSWERS",
        "FAILURES",
    ]
    assert (line.split()[0], line.split()[-1]) == ("2", "0")
    assert "tiny at http://" in result.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--model", "nothing"], "404: Model with requested name is not found: nothing"),
        (["--shape", "1,5"], "tiny answered 400"),
        (["--shape", "1,x"], "is no shape"),
        (["--input", "/nothing.npy"], "cannot read /nothing.npy: No such file"),
        (["-c", "0"], "0 are no numbers of clients"),
        (["-d", "fast"], "fast is no time"),
        (["--host", "a\r\nb: c"], "no blanks and line ends"),
    ],
)
def test_what_cannot_be_measured(tiny: Served, words: list[str], text: str) -> None:
    result = bench(f"http://{tiny.process.address}:{tiny.process.port}", *words)
    assert text in getattr(result.exception, "message", ""), result.exception


def test_the_wrong_port(tiny: Served) -> None:
    wrong = bench(f"grpc://{tiny.process.address}:{tiny.process.port}")
    assert "is that port gRPC's?" in getattr(wrong.exception, "message", ""), wrong.exception
    wrong = bench(f"http://{tiny.target}")
    assert "is that port HTTP's?" in getattr(wrong.exception, "message", ""), wrong.exception
    address, port = harness.free_place()
    wrong = bench(f"http://{address}:{port}")
    assert f"cannot reach http://{address}:{port}: " in getattr(wrong.exception, "message", "")


# Another gRPC server: grpcio's own, with its own ideas of heads and windows.


@pytest.fixture(scope="module")
def foreign() -> Iterator[str]:
    def metadata(request: Any, _context: Any) -> Any:
        inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 200_000]}]
        return declared("inference.ModelMetadataResponse")(name=request.name, platform="other", inputs=inputs)

    def infer(request: Any, context: Any) -> Any:
        if request.model_name == "broken":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room (é) none")
        assert len(request.raw_input_contents[0]) == 800_000
        return declared("inference.ModelInferResponse")(raw_output_contents=[bytes(500_000)])

    handlers = {}
    for name, behavior in (("ModelMetadata", metadata), ("ModelInfer", infer)):
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            behavior,
            declared(f"inference.{name}Request").FromString,
            declared(f"inference.{name}Response").SerializeToString,
        )
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_foreign_server_with_large_messages(foreign: str) -> None:
    document = measured(foreign, "--model", "big", "-c", "1,3")
    assert document["platform"] == "other"
    assert all(run["answers"] > 5 for run in document["runs"])


def test_a_foreign_servers_refusal(foreign: str) -> None:
    result = bench(foreign, "--model", "broken")
    message = getattr(result.exception, "message", "")
    assert message == "broken answered gRPC RESOURCE_EXHAUSTED: no room (é) none"


def test_a_server_that_does_not_tell_its_models(foreign: str) -> None:
    assert "name one with --model" in getattr(bench(foreign).exception, "message", "")


# Servers that misbehave.


async def good(server: Fake, path: str, body: bytes) -> tuple[int, bytes]:
    return 200, b"{}"


async def every_third_fails(server: Fake, path: str, body: bytes) -> tuple[int, bytes] | None:
    if server.inferences < 3:
        return 200, b"{}"
    return ((503, b"{}"), (200, b"{}"), None)[server.inferences % 3]


def test_failures_are_told_by_kind() -> None:
    with fake(every_third_fails) as server:
        result = bench(f"http://127.0.0.1:{server.port}", "-c", "2", *FAST, "-o", "json")
    (run,) = json.loads(result.stdout)["runs"]
    assert result.return_value == 1
    assert set(run["failures"]) == {"HTTP 503", "connection lost"}
    assert run["answers"] > 0


def test_a_server_that_stops_answering() -> None:
    async def answer(server: Fake, path: str, body: bytes) -> tuple[int, bytes] | None:
        if server.inferences > 5:
            await asyncio.sleep(60)
        return 200, b"{}"

    start = time.monotonic()
    with fake(answer) as server:
        result = bench(
            f"http://127.0.0.1:{server.port}", "-c", "2", "-d", "1s", "--warm-up", "0s", "--timeout", "300ms"
        )
    assert result.return_value == 1
    assert "time-out" in result.stdout
    assert time.monotonic() - start < 10


def test_a_stall_is_not_hidden_when_there_is_a_rate() -> None:
    """One second of two without answers: half of what was due then waited, though only one request was slow."""

    async def answer(server: Fake, path: str, body: bytes) -> tuple[int, bytes]:
        if server.inferences == 60:
            await asyncio.sleep(0.6)
        return 200, b"{}"

    with fake(answer) as server:
        words = ("--rate", "200", "-c", "1", "-d", "1200ms", "--warm-up", "0s", "-o", "json")
        (run,) = json.loads(bench(f"http://127.0.0.1:{server.port}", *words).stdout)["runs"]
    assert run["max_ms"] > 500
    assert run["p90_ms"] > 200
    assert run["requests_per_s"] > 150


def test_a_server_that_cannot_keep_up_is_told() -> None:
    async def answer(server: Fake, path: str, body: bytes) -> tuple[int, bytes]:
        await asyncio.sleep(0.05)
        return 200, b"{}"

    with fake(answer) as server:
        result = bench(f"http://127.0.0.1:{server.port}", "--rate", "500", "-c", "1", *FAST)
    assert "the server cannot keep up" in result.stderr


def test_the_gateways_host_and_a_token() -> None:
    with fake(good) as server:
        measured(f"http://127.0.0.1:{server.port}", "-c", "1", "--host", "bee.apps.localhost", "--token", "secret")
    for head in server.heads:
        assert {"host: bee.apps.localhost", "authorization: Bearer secret"} <= set(head.splitlines())


def test_a_name_below_localhost_needs_no_resolver() -> None:
    with fake(good) as server:
        measured(f"http://bee-demo.apps.localhost:{server.port}", "-c", "1")
    assert f"\r\nhost: bee-demo.apps.localhost:{server.port}\r\n" in server.heads[-1]


def test_tls(tmp_path: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "model.test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + dt.timedelta(hours=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("model.test")]), critical=False)
    certificate = tmp_path / "ca.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = tmp_path / "key.pem"
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*formats))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    with fake(good, context) as server:
        url = f"https://127.0.0.1:{server.port}"
        measured(url, "-c", "1", "--host", "model.test", "--cacert", str(certificate))
        measured(url, "-c", "1", "--insecure")
        message = getattr(bench(url).exception, "message", "")
    assert "cannot reach" in message
    assert "certificate" in message.lower()


def test_an_interrupt_prints_what_was_measured(tiny: Served) -> None:
    url = f"http://{tiny.process.address}:{tiny.process.port}"
    words = [sys.executable, "-m", "skerry", "bench", url, "-c", "1,2", "-d", "60s", "--warm-up", "0s", "-o", "json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stderr is not None
    assert "tiny at" in process.stderr.readline()
    before, deadline = tiny.process.counted(SERIES), time.monotonic() + 20
    while tiny.process.counted(SERIES) < before + 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    (run,) = json.loads(out)["runs"]
    assert (process.returncode, run["interrupted"]) == (130, True)
    assert run["answers"] > 100
