"""The answers that the gateway gives itself. All of them close the connection."""

from typing import Final

_REASONS: Final = {
    400: b"Bad Request",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}

_UNAVAILABLE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Application is not available</title>
<style>
body { font: 16px/1.6 sans-serif; color: #222; background: #fff; margin: 4em auto; max-width: 42em; padding: 0 1em; }
h1 { font-weight: 400; font-size: 1.75em; }
code { background: #f0f0f0; padding: 0.1em 0.3em; }
li { margin-bottom: 0.8em; }
</style>
</head>
<body>
<h1>Application is not available</h1>
<p>Nothing answers at this address right now: it may be starting, stopped, or somewhere else.</p>
<ul>
<li><strong>No Route has this host name.</strong> Compare it with <code>kubectl get routes -A</code>.</li>
<li><strong>A Route has this host name, but another path.</strong> See <code>kubectl get routes -A -o wide</code>.</li>
<li><strong>The Route is right, but no pod behind its Service is ready.</strong>
Look at <code>kubectl get pods -A</code>, and at the events of the pod with <code>kubectl describe</code>.</li>
</ul>
</body>
</html>
"""


def unavailable(*, body: bool) -> bytes:
    """The router's 503: HTTP/1.0 on purpose, so that everybody on the way treats it as the end of the connection."""
    return (
        b"HTTP/1.0 503 Service Unavailable\r\n"
        b"pragma: no-cache\r\n"
        b"cache-control: private, max-age=0, no-cache, no-store\r\n"
        b"connection: close\r\n"
        b"content-type: text/html\r\n"
        b"\r\n"
    ) + (_UNAVAILABLE if body else b"")


def refusal(status: int, why: str, *, body: bool) -> bytes:
    """A short answer in plain text that says why."""
    text = f"{status} {_REASONS[status].decode()}: {why}\n".encode()
    return (
        b"HTTP/1.1 %d %b\r\n"
        b"cache-control: no-cache\r\n"
        b"connection: close\r\n"
        b"content-type: text/plain; charset=utf-8\r\n"
        b"content-length: %d\r\n"
        b"\r\n" % (status, _REASONS[status], len(text))
    ) + (text if body else b"")


def to_https(host: bytes, target: bytes) -> bytes:
    """Send the client to the same place over TLS."""
    return (
        b"HTTP/1.1 302 Found\r\n"
        b"location: https://%b%b\r\n"
        b"cache-control: no-cache\r\n"
        b"connection: close\r\n"
        b"content-length: 0\r\n"
        b"\r\n" % (host, target)
    )
