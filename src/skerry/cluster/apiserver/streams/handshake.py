"""The end of the handshake: the answer to the request becomes a conversation, or an ordinary HTTP answer."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from skerry.cluster.apiserver.replies import Answer, Piece, Reply, Upgrade, error_reply
from skerry.kit.log import logger
from skerry.machinery import status

log = logger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiConnection:
    """A WebSocket as ASGI shows it. `more` in a message is the daemon's own: the message goes on in the next one."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._begins = True

    async def receive(self) -> Piece | None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return None
            if message["type"] != "websocket.receive":
                continue
            text = message.get("text")
            data = text.encode() if text is not None else message.get("bytes") or b""
            begins, ends = self._begins, not message.get("more", False)
            # What is not decided by its first byte has not begun.
            self._begins = ends or (begins and not data)
            if data or ends:
                return Piece(data, begins, ends)

    async def send(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})


async def conclude(answer: Answer, scope: Message, receive: Receive, send: Send) -> None:
    """Accept and talk, or refuse with the answer that a plain request would have got."""
    await receive()  # websocket.connect
    if isinstance(answer, Upgrade):
        chosen = next((each for each in scope["subprotocols"] if each in answer.protocols), None)
        if chosen is not None:
            await send({"type": "websocket.accept", "subprotocol": chosen})
            await answer.talk(AsgiConnection(receive, send), chosen)
            await send({"type": "websocket.close", "code": 1000})
            return
        offered = ", ".join(scope["subprotocols"]) or "none"
        log.info("stream refused", path=scope["path"], offered=offered)
        wanted = f"the client offers {offered}, the server speaks {', '.join(answer.protocols)}"
        answer = error_reply(status.bad_request(f"unable to upgrade: no subprotocol in common: {wanted}"))
    elif not isinstance(answer, Reply) or answer.code < 400:
        answer = error_reply(status.bad_request("unable to upgrade: there is no conversation at this path"))
    await _refuse(answer, send)


async def _refuse(reply: Reply, send: Send) -> None:
    headers = [(b"content-type", reply.media_type.encode())]
    await send({"type": "websocket.http.response.start", "status": reply.code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})
