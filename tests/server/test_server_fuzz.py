"""Bytes that are nearly HTTP: whatever comes, the server answers in its own form or closes, and goes on."""

import json
import re
import socket

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.harness import Server

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
HEAD = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
CHUNKED = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]+\r\n(.*?)\r\n\r\n", re.DOTALL)
TOKENS = (
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b": ",
    b"content-length: 5\r\n",
    b"-1",
    b"99999999999999999999",
    b"chunked",
    b"HTTP/1.1",
)

good = st.sampled_from([HEAD % len(BODY) + BODY, CHUNKED % (len(BODY), BODY), b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n"])
noise = st.binary(max_size=20) | st.sampled_from(TOKENS)


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """A request, or two, with pieces cut out, put in and put twice."""
    data = draw(good) + (draw(good) if draw(st.booleans()) else b"")
    for _ in range(draw(st.integers(0, 3))):
        position, cut = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        data = data[:position] + draw(noise) + data[position + cut :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nearly(), st.lists(st.integers(1, 200), max_size=4))
def test_nearly_http(tiny: Server, data: bytes, pieces: list[int]) -> None:
    with tiny.connect() as connection:
        connection.settimeout(5)
        try:
            for size in pieces:
                connection.sendall(data[:size])
                data = data[size:]
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # it was refused before its end
            pass
        check(received(connection))


def received(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def check(answers: bytes) -> None:
    """Whole answers one after the other, none of them an error of the server."""
    while answers:
        if answers.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            answers = answers[len(b"HTTP/1.1 100 Continue\r\n\r\n") :]
            continue
        head = ANSWER.match(answers)
        assert head is not None, answers[:200]
        assert int(head[1]) < 500, answers[:500]
        length = re.search(rb"content-length: (\d+)", head[2])
        assert length is not None
        body = answers[head.end() : head.end() + int(length[1])]
        if int(head[1]) >= 400 and body:
            assert list(json.loads(body)) == ["error"]
        answers = answers[head.end() + int(length[1]) :]


def test_slow_clients_hold_nobody_up(tiny: Server) -> None:
    """A hundred clients stop in the middle of a request; others are answered meanwhile."""
    slow = [tiny.connect() for _ in range(100)]
    try:
        for index, connection in enumerate(slow):
            connection.sendall((HEAD % len(BODY) + BODY)[: 10 + 2 * index])
        for _ in range(20):
            assert tiny.infer(BODY).status == 200
        slow[-1].sendall((HEAD % len(BODY) + BODY)[10 + 2 * 99 :])
        assert slow[-1].recv(1 << 16).startswith(b"HTTP/1.1 200")
    finally:
        for connection in slow:
            connection.close()
    assert tiny.infer(BODY).status == 200
    assert "request broke" not in tiny.errors.with_suffix(".log").read_text()
