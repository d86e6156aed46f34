"""A registry over real sockets that can be made to misbehave.

It speaks enough of the distribution API for pulls and pushes. `faults` maps a path's ending to what goes wrong there; a
fault is used up after `times` requests.
"""

import base64
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.images.handmade import Image

from skerry.images.manifest import OCI_MANIFEST

MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")
BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)")
UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/(.*)")


@dataclass
class Fault:
    """What goes wrong with a body: cut after so many bytes, one byte damaged, silence after so many bytes."""

    times: int = 1
    cut: int | None = None
    damage: int | None = None
    stall: int | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    ignore_range: bool = False


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]


class StubRegistry:
    """What the registry holds, wants and has seen."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.requests: list[Request] = []
        self.faults: dict[str, Fault] = {}
        self.auth = ""
        """Empty, `basic` or `bearer`."""
        self.users = {"bee": "s3cret"}
        self.anonymous = False
        """Give tokens to everybody."""
        self.tokens = 0
        self.valid_tokens: set[str] = set()
        self.realm = ""
        self.digest_header = True
        self.released = threading.Event()
        self.address = ""

    def add(self, image: Image, repository: str, *targets: str) -> None:
        self.blobs |= image.blobs
        for target in (*targets, image.digest):
            self.manifests[repository, target] = (OCI_MANIFEST, image.manifest)

    def seen(self, method: str, ending: str = "") -> list[Request]:
        return [request for request in self.requests if request.method == method and request.path.endswith(ending)]

    def fault(self, path: str) -> Fault | None:
        for ending, fault in self.faults.items():
            if path.endswith(ending) and fault.times > 0:
                fault.times -= 1
                return fault
        return None


@contextmanager
def serving(
    registry: StubRegistry, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[StubRegistry]:
    """Serve a registry on a free port of this machine."""

    class Bound(_Handler):
        stub = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    registry.address = f"{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        registry.released.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: StubRegistry

    def handle(self) -> None:
        with suppress(ssl.SSLError, ConnectionError):  # a client that does not trust us hangs up
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _serve(self) -> None:
        self.stub.requests.append(
            Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        )
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = urlsplit(self.path).path
        if path == "/token":
            return self._token()
        fault = self.stub.fault(path)
        if fault and fault.status:
            return self._answer(fault.status, b"", fault.headers)
        if not self._welcome():
            return None
        if match := UPLOAD.fullmatch(path):
            return self._upload(match, body)
        if match := MANIFEST.fullmatch(path):
            return self._put_manifest(match, body) if self.command == "PUT" else self._manifest(match, fault)
        if match := BLOB.fullmatch(path):
            return self._blob(match[2], fault)
        return self._answer(404, b"")

    # Log-in

    def _welcome(self) -> bool:
        stub = self.stub
        given = self.headers.get("authorization", "")
        if not stub.auth or (stub.auth == "basic" and self._known(given)):
            return True
        if stub.auth == "bearer" and given.removeprefix("Bearer ") in stub.valid_tokens:
            return True
        realm = stub.realm or f"http://{stub.address}/token"
        challenge = (
            'Basic realm="stub"'
            if stub.auth == "basic"
            else f'Bearer realm="{realm}",service="stub",scope="repository:x:pull"'
        )
        self._answer(401, b"{}", {"WWW-Authenticate": challenge})
        return False

    def _known(self, given: str) -> bool:
        try:
            user, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        except ValueError:
            return False
        return given.startswith("Basic ") and self.stub.users.get(user) == password

    def _token(self) -> None:
        given = self.headers.get("authorization", "")
        if not (self._known(given) or (self.stub.anonymous and not given)):
            return self._answer(401, b"{}")
        self.stub.tokens += 1
        token = f"token-{self.stub.tokens}"
        self.stub.valid_tokens.add(token)
        return self._answer(200, json.dumps({"token": token}).encode())

    # Content

    def _manifest(self, match: re.Match[str], fault: Fault | None) -> None:
        found = self.stub.manifests.get((match[1], match[2]))
        if found is None:
            return self._answer(404, b"{}")
        media_type, data = found
        headers = {"Content-Type": media_type}
        if self.stub.digest_header:
            headers["Docker-Content-Digest"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return self._answer(200, data, headers, fault)

    def _blob(self, digest: str, fault: Fault | None) -> None:
        data = self.stub.blobs.get(digest)
        if data is None:
            return self._answer(404, b"{}")
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if start and not (fault and fault.ignore_range):
            first = int(start[1])
            headers = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
            return self._answer(206, data[first:], headers, fault)
        return self._answer(200, data, None, fault)

    def _upload(self, match: re.Match[str], body: bytes) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            if query.get("mount", [""])[0] in self.stub.blobs:
                return self._answer(201, b"", {"Location": "/done"})
            return self._answer(202, b"", {"Location": f"/v2/{match[1]}/blobs/uploads/one?state=x"})
        digest = query["digest"][0]
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            return self._answer(400, b"{}")
        self.stub.blobs[digest] = body
        return self._answer(201, b"")

    def _put_manifest(self, match: re.Match[str], body: bytes) -> None:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        for target in (match[2], digest):
            self.stub.manifests[match[1], target] = (self.headers["content-type"], body)
        self._answer(201, b"", {"Docker-Content-Digest": digest})

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, fault: Fault | None = None
    ) -> None:
        if fault and fault.damage is not None:
            body = body[: fault.damage] + bytes([body[fault.damage] ^ 0xFF]) + body[fault.damage + 1 :]
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.cut is not None:
            self.wfile.write(body[: fault.cut])
            self.close_connection = True
        elif fault and fault.stall is not None:
            self.wfile.write(body[: fault.stall])
            self.wfile.flush()
            self.stub.released.wait(30)
            self.close_connection = True
        else:
            self.wfile.write(body)
