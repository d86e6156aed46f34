"""The heads that the gateway writes: towards the pod, and back to the client.

Towards the pod: the client's own fields, Host in lower case, the forwarded fields by the route's policy (`append` is
the router's default: ours after what the client sent), and without the cookie that pins the client, which is ours
(HAProxy calls it `indirect`). Back: the pod's fields, our cookie where the client has none that fits, and
`Cache-Control: private` beside it where a cache might keep the answer and with it the cookie (`nocache`).
"""

import re
from collections.abc import Sequence
from typing import Final

from skerry.cluster.gateway.head import RequestHead, ResponseHead
from skerry.cluster.gateway.table import Forwarded, Route

_FORWARDED: Final = (b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"forwarded", b"x-forwarded-for")
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[^\r]*")
_CACHEABLE: Final = frozenset({200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501})
_CACHE_FIELDS: Final = re.compile(rb"\r\n(etag|last-modified|expires|cache-control|pragma):([^\r]*)")
_UNCACHED: Final = (b"private", b"no-cache", b"no-store", b"max-age=0", b"s-maxage=0")


def request_bytes(head: RequestHead, cookies: Sequence[bytes], forwarded: bytes) -> bytes:
    """Write the head that the pod gets; `forwarded` are lines that begin with CRLF."""
    framing = b""
    if head.chunked:
        framing = b"\r\ntransfer-encoding: chunked"
    elif head.length is not None:
        framing = b"\r\ncontent-length: %d" % head.length
    if head.expects_continue:
        framing += b"\r\nexpect: 100-continue"
    if head.upgrade:
        framing += b"\r\nconnection: upgrade\r\nupgrade: " + head.upgrade
    for cookie in cookies:
        framing += b"\r\ncookie: " + cookie
    return b"%b %b HTTP/1.1\r\nhost: %b%b%b%b\r\n\r\n" % (
        head.method,
        head.target,
        head.host,
        head.fields,
        framing,
        forwarded,
    )


def forwarded_lines(policy: Forwarded, head: RequestHead, peer: bytes, own_port: int) -> bytes:
    """Write the forwarded fields of the client and ours, by policy."""
    sent = head.forwarded
    if policy == "replace":
        sent = [(name, value) for name, value in sent if name not in _FORWARDED]
    lines = b"".join(b"\r\n%b: %b" % field for field in sent) if sent else b""
    if policy == "never":
        return lines
    if policy == "if-none" and sent:
        return lines + _missing(head, peer, own_port)
    return lines + _ours(head.host, peer, own_port)


def _ours(host: bytes, peer: bytes, own_port: int) -> bytes:
    node = b'"[%b]"' % peer if b":" in peer else peer
    return (
        b"\r\nx-forwarded-host: %b\r\nx-forwarded-port: %d\r\nx-forwarded-proto: http"
        b"\r\nforwarded: for=%b;host=%b;proto=http\r\nx-forwarded-for: %b" % (host, own_port, node, host, peer)
    )


def _missing(head: RequestHead, peer: bytes, own_port: int) -> bytes:
    """Write those of ours that the client has not sent."""
    sent = {name for name, _ in head.forwarded}
    ours = _ours(head.host, peer, own_port).split(b"\r\n")[1:]
    return b"".join(b"\r\n" + line for line in ours if line.partition(b":")[0] not in sent)


def take_cookie(cookies: Sequence[bytes], name: bytes) -> tuple[bytes, Sequence[bytes]]:
    """Return the value of the cookie of that name, b"" for none, and the Cookie fields without it."""
    value = b""
    others: list[bytes] = []
    for cookie in cookies:
        kept: list[bytes] = []
        for pair in cookie.split(b";"):
            key, _, content = pair.strip().partition(b"=")
            if key == name:
                value = value or content
            elif key:
                kept.append(pair.strip())
        if kept:
            others.append(b"; ".join(kept))
    return value, others


def set_cookie(rule: Route, value: bytes) -> bytes:
    """Write the field that pins the client to a pod."""
    secure = b"; Secure; SameSite=None" if rule.termination and rule.insecure != "Allow" else b""
    return b"\r\nset-cookie: %b=%b; path=/; HttpOnly%b" % (rule.cookie.encode(), value, secure)


def response_bytes(head: ResponseHead, added: bytes, *, chunked: bool = True) -> bytes:
    """Write the head that the client gets; without `chunked` it is one that does not know that coding."""
    fields = head.fields if chunked else _CHUNKED.sub(b"", head.fields)
    return b"%b%b%b\r\n\r\n" % (head.status_line, fields, added)


def may_be_cached(method: bytes, head: ResponseHead) -> bool:
    """Tell whether HAProxy would think that a cache may keep this answer."""
    if head.status not in _CACHEABLE or method not in {b"GET", b"HEAD"}:
        return False
    fresh = False
    for name, value in _CACHE_FIELDS.findall(head.fields):
        if name in {b"cache-control", b"pragma"}:
            words = value.lower()
            if any(word in words for word in _UNCACHED):
                return False
            fresh = fresh or b"max-age" in words or b"s-maxage" in words
        else:
            fresh = True
    return fresh
