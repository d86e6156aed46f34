"""HTTP itself, by raw sockets: what a client may do, what it must not, and what it may not cost."""

import json
import socket
import time

import pytest
from tests.server.harness import Server

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
INFER = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: h\r\n"
WHOLE = INFER + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
READY = b"GET /v2/health/ready HTTP/1.1\r\nhost: h\r\n\r\n"
METADATA = b"GET /v2/models/tiny HTTP/1.1\r\nhost: h\r\n\r\n"


def receive(connection: socket.socket) -> tuple[int, dict[bytes, bytes], bytes]:
    """Read one response."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(1)
        if not piece:
            raise EOFError(data)
        data += piece
    lines = data[:-4].split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:])
    body = b""
    missing = int(headers.get(b"content-length", b"0"))
    while missing > len(body):
        body += connection.recv(missing - len(body))
    return int(lines[0].split()[1]), headers, body


def at_end(connection: socket.socket) -> bool:
    """Whether the server has closed its side."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_one_connection_many_requests(tiny: Server) -> None:
    with tiny.connect() as connection:
        for _ in range(20):
            connection.sendall(WHOLE)
            status, headers, body = receive(connection)
            assert status == 200
            assert b"connection" not in headers
            assert json.loads(body)["model_name"] == "tiny"


def test_a_pipeline_is_answered_in_order(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall((READY + METADATA + WHOLE) * 50)
        for _ in range(50):
            assert receive(connection)[2] == b'{"ready":true}'
            assert receive(connection)[2].startswith(b'{"name":"tiny"')
            assert receive(connection)[2].startswith(b'{"model_name":"tiny"')


def test_a_request_may_arrive_byte_by_byte(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in WHOLE:
            connection.sendall(bytes([byte]))
        assert receive(connection)[0] == 200


def test_chunked_bodies(tiny: Server) -> None:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:5], BODY[5:40], BODY[40:]))
    with tiny.connect() as connection:
        connection.sendall(INFER + b"transfer-encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n" + READY)
        assert receive(connection)[0] == 200
        assert receive(connection)[0] == 200


def test_the_client_waits_for_100_continue(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall(INFER + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert receive(connection)[0] == 200


def test_no_100_continue_for_a_body_that_is_too_large(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall(INFER + b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n")
        assert receive(connection)[0] == 413
        assert at_end(connection)


def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall(INFER + b"content-length: 2000000\r\n\r\n")
        connection.sendall(bytes(500_000))  # a client that does not look before it has sent a lot
        status, headers, body = receive(connection)
        assert (status, headers[b"connection"]) == (413, b"close")
        assert json.loads(body)["error"].startswith("the request's body is larger than 1048576 bytes")


def test_a_chunked_body_cannot_hide_its_size(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall(INFER + b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        for _ in range(17):
            connection.sendall(chunk)
        assert receive(connection)[0] == 413


def test_head_is_get_without_a_body(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall(b"HEAD" + METADATA[3:] + READY)
        data = b""
        while data.count(b"\r\n\r\n") < 2:
            data += connection.recv(65536)
        head, rest = data.split(b"\r\n\r\n", 1)
        assert b"content-length: 1" in head  # the length that GET has, three digits
        assert rest.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("last", [b"connection: close\r\n", b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"])
def test_the_last_response_says_so(tiny: Server, last: bytes) -> None:
    with tiny.connect() as connection:
        connection.sendall(METADATA[:-2] + last + b"\r\n")
        status, headers, _ = receive(connection)
        assert (status, headers[b"connection"]) == (200, b"close")
        assert at_end(connection)


def test_http_1_0(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall(b"GET /v2/health/ready HTTP/1.0\r\n\r\n")
        assert receive(connection)[0] == 200
        assert at_end(connection)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\nno colon\r\n\r\n",
        INFER + b"content-length: x\r\n\r\n",
        INFER + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        INFER + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        INFER + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_refused(tiny: Server, request_: bytes) -> None:
    with tiny.connect() as connection:
        connection.sendall(request_)
        status, headers, body = receive(connection)
        assert (status, headers[b"connection"]) == (400, b"close")
        assert json.loads(body)["error"].startswith("the request is not valid HTTP")
        assert at_end(connection)


def test_an_error_comes_after_the_answers_before_it(tiny: Server) -> None:
    with tiny.connect() as connection:
        connection.sendall(READY + METADATA + b"rubbish\r\n\r\n")
        assert [receive(connection)[0] for _ in range(3)] == [200, 200, 400]


@pytest.mark.parametrize("size", [70_000, 400_000])
def test_headers_have_an_end(tiny: Server, size: int) -> None:
    with tiny.connect() as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nx: " + b"a" * size)
        assert receive(connection)[0] == 431


def test_other_compressions_are_refused_by_name(tiny: Server) -> None:
    reply = tiny.infer(BODY, headers={"content-encoding": "br"})
    assert (reply.status, "Content-Encoding br" in reply.json["error"]) == (415, True)


def test_a_client_that_leaves_in_the_middle_costs_nothing(tiny: Server) -> None:
    for cut in (10, len(INFER) + 5, len(WHOLE) - 3):
        for _ in range(20):
            with tiny.connect() as connection:
                connection.sendall(WHOLE[:cut])
    assert tiny.infer(BODY).status == 200


def test_a_client_that_does_not_read_is_not_waited_for(tiny: Server) -> None:
    with tiny.connect() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.settimeout(0.2)
        with pytest.raises(TimeoutError):
            stalled.sendall(METADATA * 200_000)  # far more than all buffers on the way: the server stops reading
        start = time.monotonic()
        assert tiny.infer(BODY).status == 200
        assert time.monotonic() - start < 2


def test_large_requests_together_have_a_bound(tiny: Server) -> None:
    """The limit is twice --max_body_mib, which is 1 here."""
    connections = [tiny.connect() for _ in range(3)]
    try:
        for connection in connections[:2]:
            connection.sendall(INFER + b"content-length: 1000000\r\n\r\n" + bytes(990_000))
        deadline = time.monotonic() + 10
        while True:  # the first two have to have arrived
            connections[2].sendall(INFER + b"content-length: 1000000\r\n\r\n")
            connections[2].settimeout(0.1)
            try:
                status, headers, _ = receive(connections[2])
                break
            except TimeoutError:
                assert time.monotonic() < deadline
                connections[2].close()
                connections[2] = tiny.connect()
        assert (status, headers[b"retry-after"]) == (503, b"1")
    finally:
        for connection in connections:
            connection.close()
    assert tiny.infer(BODY).status == 200
