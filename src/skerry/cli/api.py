"""The command line's way to the Kubernetes API: the current context of a kubeconfig, over httpx2.

`$KUBECONFIG` wins, then Skerry's own kubeconfig, then `~/.kube/config`: so `skerry get` works after `skerry up`
without any set-up, and against any cluster when asked to.
"""

import base64
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import httpx2
import msgspec

from skerry.daemon.paths import paths

TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)


class Context(msgspec.Struct, frozen=True):
    """The current context of a kubeconfig."""

    server: str
    namespace: str
    verify: ssl.SSLContext
    headers: dict[str, str]
    file: Path


class Api:
    """Requests against one API server; errors become what kubectl would print."""

    def __init__(self, kubeconfig: Path | None = None, *, timeout: float | None = None) -> None:
        """`kubeconfig`: this file instead of what `$KUBECONFIG` says; `timeout`: seconds, for each answer."""
        self.context = current_context(kubeconfig)
        self._http = httpx2.Client(
            base_url=self.context.server,
            verify=self.context.verify,
            headers=self.context.headers,
            timeout=_TIMEOUT if timeout is None else timeout,
            trust_env=False,
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> Any:
        """Send a request and return the decoded answer.

        Raises `click.ClickException` with the server's message, or one that says what to start.
        """
        headers = {"accept": accept, **({"content-type": content_type} if body is not None else {})}
        content = msgspec.json.encode(body) if body is not None else None
        try:
            response = self._http.request(method, path, params=params, content=content, headers=headers)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        if warning := response.headers.get("warning"):
            for text in warning.split(", 299 - "):
                click.echo(f"Warning: {text.removeprefix('299 - ').strip(chr(34))}", err=True)
        if response.is_error:
            raise ApiFailure(response.status_code, _decoded(response.content))
        return _decoded(response.content)

    def stream(self, path: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """Yield the chunks of an answer as they come; no time limit between them."""
        timeout = httpx2.Timeout(connect=5.0, read=None, write=30.0, pool=5.0)
        try:
            with self._http.stream("GET", path, params=params, timeout=timeout) as response:
                if response.is_error:
                    raise ApiFailure(response.status_code, _decoded(response.read()))
                yield from response.iter_bytes()
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> click.ClickException:
        return click.ClickException(
            f"cannot reach the API server {self.context.server}: {error}\n"
            f"Start the platform with `skerry up -d`, or choose another with KUBECONFIG (now {self.context.file})."
        )


class ApiFailure(click.ClickException):
    """The server answered with an error Status."""

    def __init__(self, code: int, answer: Any) -> None:
        status = answer if isinstance(answer, dict) else {}
        self.code = code
        self.reason = str(status.get("reason", ""))
        message = status.get("message") or f"the server answered {code}"
        super().__init__(f"from server ({self.reason}): {message}" if self.reason else str(message))

    def show(self, file: Any = None) -> None:
        if self.reason == "Invalid":
            click.echo("The " + self.message.partition("): ")[2], err=True)
        else:
            click.echo(f"Error {self.message}", err=True)


def current_context(kubeconfig: Path | None = None) -> Context:
    """Read the kubeconfig; raises a `click.ClickException` that says what is missing."""
    import yaml

    file = kubeconfig or _kubeconfig_file()
    try:
        config = yaml.safe_load(file.read_bytes()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise click.ClickException(f"cannot read the kubeconfig {file}: {error}") from error
    try:
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        return Context(
            cluster["server"], context.get("namespace") or "default", _verify(cluster, user, file), _auth(user), file
        )
    except (KeyError, TypeError) as error:
        raise click.ClickException(f"cannot use the kubeconfig {file}: {error} is missing") from error


def _kubeconfig_file() -> Path:
    if given := os.environ.get("KUBECONFIG"):
        return Path(given.split(":")[0])
    own = paths().kubeconfig
    if own.exists():
        return own
    home = Path.home() / ".kube" / "config"
    if home.exists():
        return home
    raise click.ClickException("there is no kubeconfig; start the platform with `skerry up -d` or set KUBECONFIG")


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for item in config[section]:
        if item["name"] == name:
            found: dict[str, Any] = item
            return found
    raise KeyError(f"{section}[{name}]")


def _verify(cluster: dict[str, Any], user: dict[str, Any], file: Path) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    path = cluster.get("certificate-authority")
    verify = ssl.create_default_context(
        cafile=str(file.parent / path) if path else None, cadata=base64.b64decode(data).decode() if data else None
    )
    if cluster.get("insecure-skip-tls-verify"):
        verify.check_hostname = False
        verify.verify_mode = ssl.CERT_NONE
    certificate, key = user.get("client-certificate"), user.get("client-key")
    if certificate and key:
        verify.load_cert_chain(file.parent / certificate, file.parent / key)
    elif (certificate := user.get("client-certificate-data")) and (key := user.get("client-key-data")):
        with tempfile.NamedTemporaryFile(prefix="skerry-") as both:  # OpenSSL reads files only
            both.write(base64.b64decode(certificate) + b"\n" + base64.b64decode(key))
            both.flush()
            verify.load_cert_chain(both.name)
    return verify


def _auth(user: dict[str, Any]) -> dict[str, str]:
    if token := user.get("token"):
        return {"authorization": f"Bearer {token}"}
    if path := user.get("tokenFile"):
        return {"authorization": f"Bearer {Path(path).read_text().strip()}"}
    return {}


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content) if content else {}
    except msgspec.DecodeError:
        return {"message": content.decode(errors="replace")[:500]}
