"""HTTP/1.1 as far as measuring needs it: requests are bytes made once, answers are counted, not kept."""

import httptools

from skerry.cli.bench.client import Client, Sink, one_answer
from skerry.cli.bench.target import Target

_KEPT_BYTES = 64 << 20


def request(target: Target, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A whole request."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {target.authority}", "user-agent: skerry-bench", "accept: */*"]
    if target.token:
        lines.append(f"authorization: Bearer {target.token}")
    if method == "POST":
        lines.append(f"content-length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class RestClient(Client):
    """One kept connection."""

    def __init__(self, sink: Sink, request: bytes, *, keep: bool = False) -> None:
        super().__init__(sink)
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._keep = keep
        self.status = 0
        self.body = b""

    def send(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.give_up("no HTTP answer")

    def on_body(self, chunk: bytes) -> None:
        if self._keep and len(self.body) < _KEPT_BYTES:
            self.body += chunk

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:  # an interim answer
            return
        kept = self._parser.should_keep_alive()
        if not kept and self.transport is not None:
            self.transport.close()
            self.transport = None  # nothing more is sent here
        self.finish("" if self.status == 200 else f"HTTP {self.status}")


async def ask(target: Target, raw: bytes) -> tuple[int, bytes]:
    """One answer: its status and body. Status 0 is a connection that was closed without one."""
    client, _ = await one_answer(target, lambda sink: RestClient(sink, raw, keep=True))
    assert isinstance(client, RestClient)
    return client.status, client.body
