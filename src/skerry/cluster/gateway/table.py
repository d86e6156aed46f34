"""The routing table: what the daemon writes and the gateway process reads, as one JSON file.

Everything that needs Kubernetes' knowledge (which pods are ready, cookie names and values, annotations) is decided
before the table is written, so that the process only compares and forwards. Unknown fields are ignored and missing
ones have defaults: a gateway keeps serving while the daemon beside it is replaced by a newer one.
"""

import zlib
from typing import Final, Literal

import msgspec

Balance = Literal["random", "roundrobin", "leastconn", "source"]
Forwarded = Literal["append", "replace", "if-none", "never"]
Termination = Literal["", "edge", "reencrypt", "passthrough"]
Insecure = Literal["None", "Allow", "Redirect"]

# Defaults of the OpenShift router.
SERVER_TIMEOUT: Final = 30.0
TUNNEL_TIMEOUT: Final = 3600.0


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port of a ready pod; `cookie` is the value that pins a client to it."""

    address: str
    port: int
    cookie: str = ""


class Share(msgspec.Struct, frozen=True, omit_defaults=True):
    """One Service behind a Route; the weight is shared by its endpoints."""

    endpoints: tuple[Endpoint, ...] = ()
    weight: int = 100


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """One admitted Route; `name` is NAMESPACE/NAME, an empty `cookie` means that clients are not pinned."""

    name: str
    host: str
    path: str = ""
    subdomains: bool = False
    services: tuple[Share, ...] = ()
    balance: Balance = "random"
    cookie: str = ""
    timeout: float = SERVER_TIMEOUT
    tunnel_timeout: float = TUNNEL_TIMEOUT
    forwarded: Forwarded = "append"
    termination: Termination = ""
    insecure: Insecure = "None"


class ServicePort(msgspec.Struct, frozen=True, omit_defaults=True):
    """One port of a Service with the endpoints behind it."""

    port: int
    endpoints: tuple[Endpoint, ...] = ()


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Service that local clients may call as NAME.NAMESPACE.svc."""

    namespace: str
    name: str
    ports: tuple[ServicePort, ...] = ()


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that the gateway process knows of the cluster."""

    routes: tuple[Route, ...] = ()
    services: tuple[Service, ...] = ()


_decoder: Final = msgspec.json.Decoder(Table)


def encode(table: Table) -> bytes:
    """Write the table as the bytes of its file."""
    return msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n"


def decode(data: bytes) -> Table:
    """Read the bytes of a table file; raises `msgspec.MsgspecError` where they are not one."""
    return _decoder.decode(data)


def digest(data: bytes) -> str:
    """Name a state of the file, so that both halves can say which one they have."""
    return f"{zlib.crc32(data):08x}"
