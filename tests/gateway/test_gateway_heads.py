"""Heads: what is read out of them, and that the rest goes on unharmed."""

import random
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.cluster.gateway import forward
from skerry.cluster.gateway.answer import Answer
from skerry.cluster.gateway.balance import Target
from skerry.cluster.gateway.endpoint import Endpoint, Registry
from skerry.cluster.gateway.head import BadHead, parse_request, parse_response
from skerry.cluster.gateway.prepared import prepare
from skerry.cluster.gateway.routing import Compiler
from skerry.cluster.gateway.table import Endpoint as Place
from skerry.cluster.gateway.table import Route, Share, Table

TOKEN = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_!#$%&'*+.^`|~", min_size=1, max_size=20
)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
RESERVED = re.compile(
    "host|content-length|transfer-encoding|connection|keep-alive|proxy-connection|proxy|te|upgrade|http2-settings"
    "|expect|cookie|forwarded|x-forwarded-(for|host|port|proto|proto-version)",
    re.IGNORECASE,
)
FIELDS = st.lists(
    st.tuples(TOKEN.filter(lambda name: not RESERVED.fullmatch(name)), VALUE.map(str.strip)), min_size=0, max_size=12
)


def head(first: str, *fields: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (first, *fields, "")).encode("latin-1")


def fields_of(raw: bytes) -> list[tuple[str, str]]:
    lines = raw.decode("latin-1").split("\r\n")[1:-2]
    return [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]


@given(fields=FIELDS, length=st.none() | st.integers(0, 10**15), place=st.integers(0, 12))
def test_fields_of_a_request_go_on_as_they_are(fields: list[tuple[str, str]], length: int | None, place: int) -> None:
    lines = [f"{name}: {value}" for name, value in fields]
    lines.insert(min(place, len(lines)), "hOsT: Demo.Example:80")
    if length is not None:
        lines.insert(min(place, len(lines)), f"Content-Length: {length}")
    request = parse_request(head("POST /a?b HTTP/1.1", *lines), 100)
    assert (request.method, request.target, request.path, request.host) == (b"POST", b"/a?b", b"/a", b"demo.example:80")
    assert (request.length, request.chunked) == (length, False)
    written = forward.request_bytes(request, request.cookies, b"")
    expected = [("host", "demo.example:80"), *[(name, value.strip(" \t")) for name, value in fields]]
    assert fields_of(written) == expected + ([] if length is None else [("content-length", str(length))])
    # What we write is itself a head that reads the same.
    again = parse_request(written, 100)
    assert (again.fields, again.length, again.host) == (request.fields, request.length, request.host)


@given(fields=FIELDS, status=st.integers(200, 599))
def test_fields_of_a_response_go_on_in_lower_case(fields: list[tuple[str, str]], status: int) -> None:
    lines = [f"{name}: {value}" for name, value in fields]
    response = parse_response(head(f"HTTP/1.1 {status} Some Reason", *lines), 100)
    written = forward.response_bytes(response, b"")
    assert written.startswith(f"HTTP/1.1 {status} Some Reason\r\n".encode())
    assert fields_of(written) == [(name.lower(), value.strip(" \t")) for name, value in fields]


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parsers(raw: bytes) -> None:
    for first in (b"GET / HTTP/1.1\r\nHost: a\r\n", b"HTTP/1.1 200 OK\r\n", b""):
        data = first + raw.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
        for parse in (parse_request, parse_response):
            with suppress(BadHead):  # and nothing else
                parse(data, 100)


@pytest.mark.parametrize(
    ("connection", "version", "kept"),
    [
        ("", "1.1", True),
        ("close", "1.1", False),
        ("Close, X", "1.1", False),
        ("keep-alive", "1.1", True),
        ("", "1.0", False),
        ("Keep-Alive", "1.0", True),
        ("keep-alive, close", "1.0", False),
    ],
)
def test_whether_the_connection_is_kept(connection: str, version: str, kept: bool) -> None:
    fields = [f"Connection: {connection}"] if connection else []
    assert parse_request(head(f"GET / HTTP/{version}", "Host: a", *fields), 100).keep_alive is kept
    assert parse_response(head(f"HTTP/{version} 200 OK", "Content-Length: 0", *fields), 100).keep_alive is kept


def test_framing_is_not_removed_by_a_connection_field() -> None:
    """Or the client would count the body in another way than we do."""
    raw = head("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: content-length, x-gone", "X-Gone: 1")
    response = parse_response(raw, 100)
    assert forward.response_bytes(response, b"") == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "host", "seen"),
    [
        ("http://a.example/x?y", b"a.example", b"/x?y"),
        ("HTTP://A.example:81", b"a.example:81", b"/"),
        ("http://a.example?y", b"a.example", b"/?y"),
    ],
)
def test_a_url_as_target_is_split(target: str, host: bytes, seen: bytes) -> None:
    request = parse_request(head(f"GET {target} HTTP/1.1", "Host: b.example"), 100)
    assert (request.host, request.target) == (host, seen)


class TestCookies:
    """Ours is found and taken out; the others stay."""

    @pytest.mark.parametrize(
        ("sent", "value", "others"),
        [
            ([], b"", []),
            ([b"pin=x"], b"x", []),
            ([b"a=1; pin=x; b=2"], b"x", [b"a=1; b=2"]),
            ([b"a=1", b"pin=x"], b"x", [b"a=1"]),
            ([b"pin=x; pin=y"], b"x", []),
            ([b"mypin=x; pinny=y"], b"", [b"mypin=x; pinny=y"]),
            ([b"a=pin; b"], b"", [b"a=pin; b"]),
            ([b" ; ;pin=a=b"], b"a=b", []),
        ],
    )
    def test_taken_out(self, sent: list[bytes], value: bytes, others: list[bytes]) -> None:
        assert forward.take_cookie(sent, b"pin") == (value, others)

    @pytest.mark.parametrize(
        ("termination", "insecure", "attributes"),
        [("", "None", ""), ("edge", "Allow", ""), ("edge", "Redirect", "; Secure; SameSite=None")],
    )
    def test_written_as_the_router_does(self, termination: str, insecure: str, attributes: str) -> None:
        rule = Route("a/b", "h", cookie="pin", termination=termination, insecure=insecure)  # type: ignore[arg-type]
        assert forward.set_cookie(rule, b"v") == f"\r\nset-cookie: pin=v; path=/; HttpOnly{attributes}".encode()


@pytest.mark.parametrize(
    ("method", "status", "fields", "kept"),
    [
        (b"GET", 200, ["ETag: x"], True),
        (b"GET", 200, ["Cache-Control: max-age=60"], True),
        (b"GET", 200, ["Last-Modified: now"], True),
        (b"HEAD", 404, ["Expires: later"], True),
        (b"GET", 200, [], False),
        (b"GET", 200, ["ETag: x", "Cache-Control: no-store"], False),
        (b"GET", 200, ["ETag: x", "Pragma: no-cache"], False),
        (b"GET", 200, ["ETag: x", "Cache-Control: max-age=0"], False),
        (b"POST", 200, ["ETag: x"], False),
        (b"GET", 500, ["ETag: x"], False),
    ],
)
def test_which_answers_a_cache_may_keep(method: bytes, status: int, fields: list[str], kept: bool) -> None:
    assert forward.may_be_cached(method, parse_response(head(f"HTTP/1.1 {status} X", *fields), 100)) is kept


def test_a_node_with_colons_is_quoted_in_forwarded() -> None:
    request = parse_request(head("GET / HTTP/1.1", "Host: a"), 100)
    lines = forward.forwarded_lines("append", request, b"::1", 8080)
    assert b'\r\nforwarded: for="[::1]";host=a;proto=http' in lines
    assert b"\r\nx-forwarded-for: ::1" in lines


def test_a_head_is_worked_out_for_the_pod() -> None:
    place = Place("127.0.0.1", 1, "v")
    rule = Route("a/b", "a", services=(Share((place,)),), cookie="pin", forwarded="never")
    routes = Compiler(Registry(), random.Random(1)).compile(Table(routes=(rule,)))
    raw = head("GET /x HTTP/1.1", "Host: a", "Cookie: pin=v; b=1", "Accept: */*")
    live = routes.find(b"a", b"/x", local=False, own_port=80)
    assert live is not None
    prepared = prepare(raw, parse_request(raw, 100), routes, live, (b"127.0.0.1", 80))
    assert prepared.pinned == b"v"
    assert prepared.to_pod == b"GET /x HTTP/1.1\r\nhost: a\r\nAccept: */*\r\ncookie: b=1\r\n\r\n"


def test_the_seeds_answer_is_written_line_by_line() -> None:
    """The walkthrough's `curl -i`, lower-case names and the cookie at the end."""
    request = parse_request(head("GET / HTTP/1.1", "Host: a"), 100)
    raw = head(
        "HTTP/1.1 200 OK",
        "Content-Type: application/json",
        "Date: Wed, 12 Mar 2025 16:01:32 GMT",
        "Content-Length: 0",
    )
    rule = Route("ai-demo/ovms-resnet50-predictor", "a", cookie="56bb4b6df4f80f0b59f56aa0a5a91c1a")
    value = b"4af1408b4a1c40925456f73033d4a7d1"
    target = Target(Endpoint("10.42.0.8", 8888), 1.0, value)
    answer = Answer(raw, parse_response(raw, 100), request, rule, value, target, last=False)
    assert answer.start.decode().splitlines() == [
        "HTTP/1.1 200 OK",
        "content-type: application/json",
        "date: Wed, 12 Mar 2025 16:01:32 GMT",
        "content-length: 0",
        "set-cookie: 56bb4b6df4f80f0b59f56aa0a5a91c1a=4af1408b4a1c40925456f73033d4a7d1; path=/; HttpOnly",
        "",
    ]
