"""Heads of requests and responses: checked strictly once, then kept as the block of fields that goes on.

httptools (llhttp, strict by default) refuses what parsers disagree about: bare LF, folded lines, spaces before a
colon, control characters, Content-Length twice or beside Transfer-Encoding. After that a head is regular enough for
regular expressions, which pick out the few fields that concern a proxy; one call for all costs less than one for
each. The rest of the rules is here: one valid Host, `chunked` alone as a transfer coding, HTTP/1.0 and 1.1 only.

Hop-by-hop fields end here: Connection and what it names, Keep-Alive, Proxy-Connection, TE, Upgrade (but for the
switch of protocols that `upgrade` holds). `Proxy` ends here too: CGI would read it as HTTP_PROXY. Names of response
fields are written in lower case, as HAProxy does.

    BadHead           cannot be read; `status` is the answer for a request, 502 is it for a response
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import httptools

_HOST: Final = re.compile(rb"(?:[a-z0-9._~%!$&'()*+,;=-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)

_REQUEST_SPECIAL: Final = re.compile(
    rb"\r\n(host|content-length|transfer-encoding|connection|keep-alive|proxy-connection|proxy|te|upgrade"
    rb"|http2-settings|expect|cookie|forwarded|x-forwarded-(?:for|host|port|proto(?:-version)?)):[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_RESPONSE_SPECIAL: Final = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|keep-alive|proxy-connection|upgrade):[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_RESPONSE_DROPPED: Final = re.compile(rb"\r\n(?:connection|keep-alive|proxy-connection|upgrade):[^\r]*", re.IGNORECASE)
_UPPER_NAME: Final = re.compile(rb"\r\n[^:A-Z]*[A-Z][^:]*(?=:)")
_LONGEST_LENGTH: Final = 18  # digits
# Never removed because a Connection field names them: ours already, or they frame the message.
_NOT_REMOVED: Final = frozenset(
    {b"keep-alive", b"close", b"upgrade", b"te", b"http2-settings", b"content-length", b"transfer-encoding"}
)
_SHORT: Final = 1024
_NOBODY: Final = object()  # llhttp only checks; nothing is called back


class BadHead(ValueError):
    """A head that is not forwarded."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class RequestHead:
    """What the gateway needs of a request's head. `fields` go on as they are: lines that begin with CRLF."""

    __slots__ = (
        "chunked",
        "cookies",
        "expects_continue",
        "fields",
        "forwarded",
        "host",
        "keep_alive",
        "length",
        "method",
        "modern",
        "path",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, *, modern: bool) -> None:
        self.method = method
        self.target = target
        self.modern = modern  # HTTP/1.1
        self.path = b""
        self.host = b""
        self.fields = b""
        self.length: int | None = None
        self.chunked = False
        self.keep_alive = modern
        self.expects_continue = False
        self.upgrade = b""
        self.cookies: list[bytes] = []
        self.forwarded: list[tuple[bytes, bytes]] = []

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)


class ResponseHead:
    """What the gateway needs of a response's head. `fields` go on as they are: lines that begin with CRLF."""

    __slots__ = ("chunked", "fields", "keep_alive", "length", "status", "status_line", "upgrade")

    def __init__(self, status: int, status_line: bytes, fields: bytes, *, modern: bool) -> None:
        self.status = status
        self.status_line = status_line
        self.fields = fields
        self.length: int | None = None
        self.chunked = False
        self.keep_alive = modern
        self.upgrade = b""


def parse_request(data: bytes, max_fields: int) -> RequestHead:
    """Read a whole request head, from the request line to the empty line; raises `BadHead`."""
    try:
        httptools.HttpRequestParser(_NOBODY).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # `Connection: upgrade` or CONNECT: the head itself is complete
    except httptools.HttpParserInvalidMethodError:
        raise BadHead(501, "the request method is not known") from None
    except httptools.HttpParserError as error:
        raise BadHead(400, _text(error)) from None
    line_end = data.index(b"\r\n")
    method, _, target = data[: line_end - 9].partition(b" ")
    head = RequestHead(method, target.strip(b" "), modern=_modern(data[line_end - 8 : line_end], 505))
    fields = data[line_end:-4]
    if fields.count(b"\r\n") > max_fields:
        raise BadHead(431, f"the request has more than {max_fields} header fields")
    parts = _REQUEST_SPECIAL.split(fields)  # text, name, value, text, name, value, …, text
    tokens = _read_request(head, zip(parts[1::3], parts[2::3], strict=True))
    fields = b"".join(parts[::3])
    head.fields = _without_named(fields, tokens) if tokens else fields
    _read_target(head)
    return head


def parse_response(data: bytes, max_fields: int) -> ResponseHead:
    """Read a whole response head, from the status line to the empty line; raises `BadHead`.

    Nobody may change a head that was read: pods say the same to many clients, so short ones are kept and found again.
    """
    return _known_response(data, max_fields) if len(data) <= _SHORT else _parse_response(data, max_fields)


def _parse_response(data: bytes, max_fields: int) -> ResponseHead:
    parser = httptools.HttpResponseParser(_NOBODY)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadHead(502, _text(error)) from None
    line_end = data.index(b"\r\n")
    modern = _modern(data[:8], 502)
    status = parser.get_status_code()
    if not 100 <= status <= 999:
        raise BadHead(502, "the status code is not one of HTTP")
    fields = data[line_end:-4]
    if fields.count(b"\r\n") > max_fields:
        raise BadHead(502, f"the response has more than {max_fields} header fields")
    if _UPPER_NAME.search(fields) is not None:
        fields = _UPPER_NAME.sub(_lower, fields)
    head = ResponseHead(status, b"HTTP/1.1" + data[8:line_end], fields, modern=modern)
    _read_response(head)
    return head


_known_response = lru_cache(maxsize=128)(_parse_response)


def _lower(match: re.Match[bytes]) -> bytes:
    return match[0].lower()


def _modern(version: bytes, status: int) -> bool:
    if version == b"HTTP/1.1":
        return True
    if version == b"HTTP/1.0":
        return False
    raise BadHead(status, "the HTTP version is neither 1.0 nor 1.1")


def _read_request(head: RequestHead, special: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Fill the head from its special fields; return the tokens of Connection."""
    tokens: list[bytes] = []
    upgrades: list[bytes] = []
    for field, padded in special:
        name, value = field.lower(), padded.rstrip(b" \t")
        match name:
            case b"host":
                _set_host(head, value)
            case b"content-length":
                head.length = _length(value, 400)
            case b"transfer-encoding":
                _set_chunked(head, value)
            case b"connection":
                tokens += _tokens(value)
            case b"cookie":
                head.cookies.append(value)
            case b"expect":
                _set_expect(head, value)
            case b"upgrade":
                upgrades += [token for token in _tokens(value) if token != b"h2c"]
            case b"keep-alive" | b"proxy-connection" | b"proxy" | b"te" | b"http2-settings":
                pass
            case _:
                head.forwarded.append((name, value))
    if head.modern and not head.host:
        raise BadHead(400, "the request has no Host")
    if tokens:
        head.keep_alive = b"close" not in tokens and (head.modern or b"keep-alive" in tokens)
        if upgrades and b"upgrade" in tokens and head.modern and not head.has_body:
            head.upgrade = b", ".join(upgrades)
    return tokens


def _set_host(head: RequestHead, value: bytes) -> None:
    if head.host:
        raise BadHead(400, "the request has more than one Host")
    head.host = _valid_host(value)


def _valid_host(value: bytes) -> bytes:
    host = value.lower()
    if _HOST.fullmatch(host) is None:
        raise BadHead(400, "the request's Host is not a host name")
    return host


def _set_chunked(head: RequestHead, value: bytes) -> None:
    if head.chunked or not head.modern:
        raise BadHead(400, "the request has Transfer-Encoding twice or in HTTP/1.0")
    if value.lower() != b"chunked":
        raise BadHead(501, "the request has a transfer coding other than chunked")
    head.chunked = True


def _set_expect(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise BadHead(417, "the request expects something other than 100-continue")
    head.expects_continue = head.modern


def _read_target(head: RequestHead) -> None:
    target = head.target
    if target[:1] != b"/":
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            # The target's authority wins over Host (RFC 9112, 3.2.2); both the routing and the pod see this one.
            head.host = _valid_host(absolute[1])
            target = absolute[2] if absolute[2][:1] == b"/" else b"/" + absolute[2]
            head.target = target
        elif head.method == b"CONNECT":
            raise BadHead(405, "the gateway opens no tunnels for CONNECT")
        elif target != b"*" or head.method != b"OPTIONS":
            raise BadHead(400, "the request target is neither a path nor a URL")
    head.path = target.partition(b"?")[0]


def _read_response(head: ResponseHead) -> None:
    tokens: list[bytes] = []
    dropped = False
    for name, padded in _RESPONSE_SPECIAL.findall(head.fields):
        value = padded.rstrip(b" \t")
        match name:
            case b"content-length":
                head.length = _length(value, 502)
            case b"transfer-encoding":
                if head.chunked or value.lower() != b"chunked":
                    raise BadHead(502, "the response has a transfer coding other than chunked")
                head.chunked = True
            case b"connection":
                tokens += _tokens(value)
                dropped = True
            case _:
                if name == b"upgrade":
                    head.upgrade = value
                dropped = True
    if tokens:
        head.keep_alive = b"close" not in tokens and (head.keep_alive or b"keep-alive" in tokens)
    if dropped:
        head.fields = _without_named(_RESPONSE_DROPPED.sub(b"", head.fields), tokens)


def _length(value: bytes, status: int) -> int:
    if not value.isdigit() or len(value) > _LONGEST_LENGTH:
        raise BadHead(status, "the Content-Length is not a number")
    return int(value)


def _tokens(value: bytes) -> list[bytes]:
    return [token for part in value.lower().split(b",") if (token := part.strip())]


def _without_named(fields: bytes, tokens: Iterable[bytes]) -> bytes:
    """Leave out the fields that a Connection field names as meant for us."""
    named = [re.escape(token) for token in tokens if token not in _NOT_REMOVED]
    if not named:
        return fields
    return re.sub(rb"(?i)\r\n(?:%b):[^\r]*" % b"|".join(named), b"", fields)


def _text(error: Exception) -> str:
    return str(error) or "the head is malformed"
