"""Where the measured server is: `http://`, `https://`, `grpc://`, `grpcs://`, and how to be let in."""

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import click

_PORTS: Final = {"http": 80, "https": 443, "grpc": 8001, "grpcs": 443}


@dataclass(frozen=True)
class Target:
    """A server; `authority` is the name by which it is addressed, which a gateway routes by."""

    scheme: str
    host: str
    port: int
    authority: str
    prefix: str
    token: str
    tls: ssl.SSLContext | None
    timeout: float

    @property
    def grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    @property
    def address(self) -> str:
        """Where to connect. Names below .localhost are this machine, whatever the resolver thinks (RFC 6761)."""
        return "127.0.0.1" if self.host.endswith(".localhost") else self.host

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"

    @property
    def server_name(self) -> str | None:
        """What the certificate must say."""
        return (urlsplit(f"//{self.authority}").hostname or self.host) if self.tls else None

    def model_path(self, model: str, version: str) -> str:
        middle = f"/versions/{quote(version, safe='')}" if version else ""
        return f"{self.prefix}/v2/models/{quote(model, safe='')}{middle}"


def target_of(
    url: str, *, host: str | None, token: str | None, cacert: str | None, insecure: bool, timeout: float
) -> Target:
    """Read what was given; raises `click.UsageError`."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise click.UsageError(_EXPECTED.format(url=url)) from None
    if not parts.hostname:
        raise click.UsageError(_EXPECTED.format(url=url))
    context = _tls(cacert, insecure, grpc=parts.scheme == "grpcs") if parts.scheme.endswith("s") else None
    prefix = parts.path.rstrip("/").partition("/v2")[0]  # a pasted URL of an endpoint will do
    authority = host or parts.netloc.rpartition("@")[2]
    if any(sign <= " " for sign in authority + (token or "") + prefix):
        raise click.UsageError("the URL, --host and --token may have no blanks and line ends")
    return Target(parts.scheme, parts.hostname, port, authority, prefix, token or "", context, timeout)


_EXPECTED: Final = "cannot use {url}: want http://HOST:PORT, https://…, grpc://HOST:PORT or grpcs://…"


def _tls(cacert: str | None, insecure: bool, *, grpc: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cacert)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2" if grpc else "http/1.1"])
    return context
