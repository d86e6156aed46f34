"""exec and attach: the first byte of each message says which stream it belongs to.

    0 stdin   1 stdout   2 stderr   3 how it ended, a Status   4 the size of the terminal, JSON
    255, N    stream N ends (v5 only: v4 cannot tell the program that its input is over)

The order of events at the end matters to clients: all output, then the Status, then the WebSocket closes. A client that
leaves ends the command: there is nobody to whom it could say anything.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from skerry.cluster.apiserver.podstreams import Session, Wanted
from skerry.cluster.apiserver.replies import Connection
from skerry.machinery.status import StatusError

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2
_ENDED: Final = 3
_SIZE: Final = 4
_CLOSE: Final = 255
_SIZE_LIMIT: Final = 1024
_LARGEST: Final = (1 << 16) - 1


class _Size(msgspec.Struct, frozen=True, rename="pascal"):
    width: int
    height: int


async def talk(connection: Connection, start: Callable[[], Awaitable[Session]], wanted: Wanted) -> None:
    """Run the conversation to its end."""
    try:
        session = await start()
    except StatusError as error:
        await _say(connection, error.body())
        return
    try:
        await _converse(connection, session, wanted)
    finally:
        await session.aclose()


async def _converse(connection: Connection, session: Session, wanted: Wanted) -> None:
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(_listen(connection, session, wanted))
        speaking = group.create_task(_speak(connection, session, wanted))
        await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        speaking.cancel()


async def _listen(connection: Connection, session: Session, wanted: Wanted) -> None:
    """Take what the client says, until it leaves."""
    channel, size = -1, b""
    while (piece := await connection.receive()) is not None:
        data = piece.data
        if piece.begins:
            channel, data, size = (data[0] if data else -1), data[1:], b""
        if channel == _STDIN and wanted.stdin and data:
            await session.input(data)
        elif channel == _CLOSE and data[:1] == bytes((_STDIN,)):
            session.end_input()
        elif channel == _SIZE:
            size = (size + data)[:_SIZE_LIMIT]
            if piece.ends:
                _resize(session, size)


def _resize(session: Session, text: bytes) -> None:
    with contextlib.suppress(msgspec.MsgspecError):  # a size that is none changes nothing
        size = msgspec.json.decode(text, type=_Size)
        if 0 < size.width <= _LARGEST and 0 < size.height <= _LARGEST:
            session.resize(size.width, size.height)


async def _speak(connection: Connection, session: Session, wanted: Wanted) -> None:
    """Pass on all output, then how it ended."""
    async with asyncio.TaskGroup() as group:
        for channel, asked in ((_STDOUT, wanted.stdout), (_STDERR, wanted.stderr)):
            group.create_task(_pass_on(connection if asked else None, session, channel))
    code, words = await session.outcome()
    if words and (wanted.stderr or wanted.tty):
        await connection.send(bytes((_STDOUT if wanted.tty else _STDERR,)) + f"{words}\r\n".encode())
    await _say(connection, ended(code))


async def _pass_on(connection: Connection | None, session: Session, channel: int) -> None:
    prefix = bytes((channel,))
    while data := await session.output(channel):
        if connection is not None:
            await connection.send(prefix + data)


async def _say(connection: Connection, outcome: dict[str, Any]) -> None:
    await connection.send(bytes((_ENDED,)) + msgspec.json.encode(outcome))


def ended(code: int) -> dict[str, Any]:
    """Return the Status for an exit code, in which clients look for the number."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    error = StatusError(
        500,
        "NonZeroExitCode",
        f"command terminated with non-zero exit code: exit status {code}",
        {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    )
    body = error.body()
    del body["code"]
    return body
