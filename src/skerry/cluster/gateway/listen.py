"""Listening sockets.

CannotListen      an address is malformed, busy, foreign or forbidden; its text says which and what to do
"""

import errno
import os
import socket
from pathlib import Path
from typing import Final, NamedTuple

_BACKLOG: Final = 1024


class CannotListen(Exception):
    """The gateway cannot be reached at an address that it was told to use."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ADDR:PORT, [ADDR6]:PORT or :PORT (every IPv4 address)."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise CannotListen(f"cannot listen on {text!r}: it is not ADDRESS:PORT; write for example 127.0.0.1:8080")
    return Address(host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port))  # noqa: S104 - what ":8080" says


def bind(address: Address) -> socket.socket:
    """Return a listening socket; raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address.host, address.port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {address}: {_why(error, address)}") from error
    return sock


def bind_unix(path: Path) -> socket.socket:
    """Return a listening socket at a path, for the owner alone; what an earlier process left there gives way."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(os.fspath(path))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {path}: {error.strerror or error}; choose a shorter path") from error
    finally:
        os.umask(before)
    return sock


def bound(sock: socket.socket) -> Address:
    """Return the address that a socket got (port 0 asks for any)."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def _why(error: OSError, address: Address) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"another program uses the port; stop it (`ss -ltnp sport = :{address.port}` names it) "
                "or choose another port"
            )
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; choose one that `ip address` lists"
        case errno.EACCES:
            return "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher port"
        case _:
            return f"{error.strerror or error}; choose another address"
