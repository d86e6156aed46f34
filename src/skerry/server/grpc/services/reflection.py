"""Server reflection, `grpc.reflection.v1` and `v1alpha` (the same on the wire): which services there are.

Tools such as grpcurl ask for descriptors of the files that the services were declared in. `protos/generate.py` compiled
them; they are read when somebody asks for the first time.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from skerry.server.grpc import wire
from skerry.server.grpc.calls import StreamingCall
from skerry.server.grpc.h2.outbound import Buffer
from skerry.server.grpc.services import path
from skerry.server.grpc.status import Status

if TYPE_CHECKING:
    from skerry.server.grpc.methods import Streaming

SERVICES: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
DESCRIPTORS: Final = Path(__file__).parent.parent / "protos" / "services.binpb"


class _Files(msgspec.Struct):
    """Descriptors of files, and where each symbol is declared."""

    by_name: dict[str, bytes]
    by_symbol: dict[str, str]
    services: list[str]


def streaming() -> "Mapping[bytes, Streaming]":
    """The one method of either version."""
    return {path(service, "ServerReflectionInfo"): _Reflection for service in SERVICES}


class _Reflection(StreamingCall):
    """Questions and answers, one for one."""

    __slots__ = ()

    def on_message(self, message: Buffer) -> None:
        host = ""
        answer = _error(Status.INVALID_ARGUMENT, "the question is empty or of an unknown kind")
        for number, kind, value in wire.fields(message):
            if kind != wire.BYTES:
                continue
            assert not isinstance(value, int)
            if number == 1:
                host = wire.text(value)
            elif number in _ANSWERS or number == 5:
                answer = _answer(number, value)
        self.write([wire.put_text(1, host) + wire.put_bytes(2, message) + answer])

    def on_half_close(self) -> None:
        self.succeed()


def _answer(number: int, value: Buffer) -> bytes:
    if number == 5:
        return _error(Status.NOT_FOUND, "nothing here is extended")
    return _ANSWERS[number](wire.text(value))


def _file(name: str) -> bytes:
    data = _files().by_name.get(name)
    return _error(Status.NOT_FOUND, f"there is no file {name}") if data is None else _descriptor(data)


def _symbol(name: str) -> bytes:
    files = _files()
    file = files.by_symbol.get(name)
    return _error(Status.NOT_FOUND, f"there is no symbol {name}") if file is None else _descriptor(files.by_name[file])


def _extensions(name: str) -> bytes:
    if name not in _files().by_symbol:
        return _error(Status.NOT_FOUND, f"there is no message {name}")
    return wire.put_bytes(5, wire.put_text(1, name))


def _services(_: str) -> bytes:
    return wire.put_bytes(6, b"".join(wire.put_bytes(1, wire.put_text(1, name)) for name in _files().services))


_ANSWERS: Final = {3: _file, 4: _symbol, 6: _extensions, 7: _services}


def _descriptor(data: bytes) -> bytes:
    return wire.put_bytes(4, wire.put_bytes(1, data))


def _error(status: Status, text: str) -> bytes:
    return wire.put_bytes(7, wire.put_number(1, status) + wire.put_text(2, text))


@cache
def _files() -> _Files:
    """Read the compiled descriptors: a FileDescriptorSet."""
    files = _Files({}, {}, [])
    for _, _, data in wire.fields(DESCRIPTORS.read_bytes()):
        assert isinstance(data, bytes)
        name = _text(data, 1)
        files.by_name[name] = data
        package = _text(data, 2)
        for symbol in _symbols(data, package, {4: (3, 4, 2, 8), 5: (2,), 6: (2,)}):
            files.by_symbol[symbol] = name
        files.services += [f"{package}.{_text(each, 1)}" for each in _inner(data, 6)]
    return files


def _symbols(data: bytes, scope: str, kinds: Mapping[int, tuple[int, ...]]) -> Iterator[str]:
    """The full names of what a descriptor declares: `kinds` are its fields, and the fields of those in turn."""
    for number, deeper in kinds.items():
        for each in _inner(data, number):
            name = f"{scope}.{_text(each, 1)}"
            yield name
            # Messages nest: field 3 of a message is what field 4 of a file is.
            yield from _symbols(each, name, {inner: deeper if inner == 3 else () for inner in deeper})


def _inner(data: bytes, number: int) -> list[bytes]:
    return [value for each, _, value in wire.fields(data) if each == number and isinstance(value, bytes)]


def _text(data: bytes, number: int) -> str:
    return next((value.decode() for value in _inner(data, number)), "")
