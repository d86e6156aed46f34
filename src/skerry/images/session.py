"""HTTP to one registry: log-in, redirects, time-outs, attempts.

A request is sent as it is first; the registry's 401 says which proof it wants (Basic, or a Bearer token from a realm),
and the known log-ins are tried one after the other, at last none (public images need a token but no log-in). Redirects
are followed by hand: credentials stay with the host they were meant for, and never go from HTTPS to HTTP.

Every wait has an end: connecting, silence in a transfer, and the whole (the caller's `asyncio.timeout`). Failures that
may pass (no connection, 429, 5xx) are tried again with growing pauses, a fixed number of times without progress.
"""

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx2
from msgspec import Struct

from skerry.images.credentials import Credential, LogIns
from skerry.images.errors import AccessDenied, ImageError, RegistryRefused, RegistryUnreachable
from skerry.kit.clock import Clock
from skerry.kit.log import logger

log = logger(__name__)

_MOST_REDIRECTS: Final = 5
_LARGEST_TOKEN: Final = 1024 * 1024
_PARAMETER: Final = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_SCHEME: Final = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?=\s|$)", re.IGNORECASE)

Content = Callable[[], AsyncIterable[bytes]]
"""Makes the body of a request, again for every attempt."""


class Limits(Struct, frozen=True):
    """How long to wait and how often to try."""

    connect_seconds: float = 10.0
    idle_seconds: float = 30.0
    total_seconds: float = 4 * 3600.0
    attempts: int = 5
    """Attempts in a row without a byte of progress."""
    first_pause: float = 0.5
    longest_pause: float = 30.0


class Attempts:
    """Counts failures and waits between them."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._failures = 0

    def progressed(self) -> None:
        """Begin to count anew."""
        self._failures = 0

    async def failed(self, error: ImageError, wish: float = 0.0) -> None:
        """Wait before the next attempt, at least as long as the registry wishes, within reason.

        Raises `error` when there were enough.
        """
        self._failures += 1
        if self._failures >= self._limits.attempts:
            raise error
        pause = min(max(self._limits.first_pause * 2 ** (self._failures - 1), wish), self._limits.longest_pause)
        log.info("registry request failed; trying again", error=error.message, pause=pause)
        await self._clock.sleep(pause)


class Temporary(RegistryUnreachable):
    """The registry wants us to come back later."""

    def __init__(self, message: str, wish: float) -> None:
        super().__init__(message)
        self.wish = wish


class Challenge(Struct, frozen=True):
    """What a registry wants to see."""

    scheme: str
    parameters: dict[str, str]


def challenges(header: str) -> list[Challenge]:
    """Read `WWW-Authenticate`, Bearer before Basic."""
    starts = list(_SCHEME.finditer(header))
    found = []
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        text = header[start.end() : following.start() if following else None]
        parameters = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(text)}
        found.append(Challenge(start.group(1).lower(), parameters))
    return sorted(found, key=lambda challenge: challenge.scheme != "bearer")


class Session:
    """One repository of one registry."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        base: str,
        repository: str,
        logins: LogIns,
        attempts: Callable[[], Attempts],
    ) -> None:
        self.attempts = attempts
        self.host = urlsplit(base).netloc
        self._client = client
        self._base = base
        self._repository = repository
        self._logins: list[Credential | None] = [*logins.known, None]
        self._problems = logins.problems
        self._authorization = ""

    def url(self, path: str) -> str:
        """The address of something in the repository, such as `blobs/sha256:…`."""
        return f"{self._base}/v2/{self._repository}/{path}"

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
        *,
        accept: Sequence[int] = (200,),
    ) -> AsyncIterator[httpx2.Response]:
        """Send one request, once, and give its answer, the body unread.

        Raises `RegistryUnreachable` (also while the body is read inside the block), `Temporary`, `AccessDenied` or
        `RegistryRefused`; of the statuses only those in `accept` are given back.
        """
        try:
            response = await self._logged_in(method, url, headers or {}, content)
            try:
                self._require(response, accept)
                yield response
            finally:
                await response.aclose()
        except httpx2.TimeoutException as error:
            raise RegistryUnreachable(f"no answer from {self.host} ({_words(error)}); check the network") from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise RegistryUnreachable(f"no connection to {self.host}: {_words(error)}{_hint(error)}") from error

    async def read(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        most: int,
        accept: Sequence[int] = (200,),
    ) -> tuple[httpx2.Response, bytes]:
        """Send a request, as often as needed, and give its answer with the body, which may have `most` bytes.

        Raises what `open` raises, after all attempts.
        """
        attempts = self.attempts()
        while True:
            try:
                async with self.open(method, url, headers, accept=accept) as response:
                    return response, await _bounded(response, most)
            except RegistryUnreachable as error:
                await attempts.failed(error, getattr(error, "wish", 0.0))

    # Log-in

    async def _logged_in(
        self, method: str, url: str, headers: Mapping[str, str], content: Content | None
    ) -> httpx2.Response:
        response = await self._redirected(method, url, headers, content)
        # A 401 of a host that we were redirected to is not the registry's question, and must not get its log-in.
        if response.status_code != 401 or not self._mine(str(response.request.url)):
            return response
        wanted = challenges(", ".join(response.headers.get_list("www-authenticate")))
        await response.aclose()
        for login in list(self._logins):
            authorization = await self._prove(wanted, login)
            if not authorization:
                continue
            self._authorization = authorization
            response = await self._redirected(method, url, headers, content)
            if response.status_code != 401:
                # The next token is asked for with what worked.
                self._logins.sort(key=lambda known: known != login)
                return response
            await response.aclose()
        raise self._denied()

    def _denied(self) -> AccessDenied:
        known = len(self._logins) - 1
        why = f"it refuses the {known} known log-in{'s' if known > 1 else ''}" if known else "it wants a log-in"
        advice = f"run podman login {self.host}, or name a Secret in imagePullSecrets"
        return AccessDenied(
            f"{self.host} gives no access to {self._repository}: {why}; {'; '.join(self._problems) or advice}"
        )

    async def _prove(self, wanted: Sequence[Challenge], login: Credential | None) -> str:
        """Make an `Authorization` header out of a log-in; empty when that is impossible."""
        for challenge in wanted:
            if challenge.scheme == "basic" and login and login.username:
                return login.basic
            if challenge.scheme == "bearer":
                if login and login.registry_token:
                    return f"Bearer {login.registry_token}"
                if token := await self._token(challenge.parameters, login):
                    return f"Bearer {token}"
        return ""

    async def _token(self, parameters: Mapping[str, str], login: Credential | None) -> str:
        realm = parameters.get("realm", "")
        if urlsplit(realm).scheme != "https" and urlsplit(self._base).scheme == "https":
            raise AccessDenied(f"cannot log in to {self.host}: it sends log-ins to {realm!r}, which is not safe")
        query = {
            "service": parameters.get("service", ""),
            "scope": parameters.get("scope") or f"repository:{self._repository}:pull",
        }
        if login and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.identity_token,
                "client_id": "skerry",
                **query,
            }
            request = self._client.build_request("POST", realm, data=form)
        else:
            headers = {"authorization": login.basic} if login else {}
            request = self._client.build_request("GET", realm, params=query, headers=headers)
        answer = await self._client.send(request, stream=True)
        try:
            if answer.status_code in {400, 401, 403, 404}:
                return ""
            self._require(answer, (200,))
            return _token_in(await _bounded(answer, _LARGEST_TOKEN))
        finally:
            await answer.aclose()

    # Redirects and statuses

    async def _redirected(
        self, method: str, url: str, headers: Mapping[str, str], content: Content | None
    ) -> httpx2.Response:
        address = url
        for _ in range(_MOST_REDIRECTS):
            request = self._client.build_request(
                method, address, headers={**headers, **self._proof(address)}, content=content() if content else None
            )
            response = await self._client.send(request, stream=True)
            if not response.has_redirect_location or method not in {"GET", "HEAD"}:
                return response
            address = urljoin(address, response.headers["location"])
            await response.aclose()
            if urlsplit(address).scheme != "https" and urlsplit(self._base).scheme == "https":
                raise RegistryRefused(f"{self.host} redirects to {urlsplit(address).scheme}://, which is not safe")
        raise RegistryRefused(f"{self.host} redirects more than {_MOST_REDIRECTS} times; check the registry")

    def _proof(self, address: str) -> dict[str, str]:
        return {"authorization": self._authorization} if self._authorization and self._mine(address) else {}

    def _mine(self, address: str) -> bool:
        return urlsplit(address)[:2] == urlsplit(self._base)[:2]

    def _require(self, response: httpx2.Response, accept: Sequence[int]) -> None:
        status = response.status_code
        if status in accept:
            return
        if status == 429 or status >= 500:
            raise Temporary(f"{self.host} answers {status}; try again later", _seconds(response))
        if status in {401, 403}:
            raise AccessDenied(
                f"{self.host} gives no access to {self._repository} ({status}); check the name, run podman login "
                f"{self.host}, or name a Secret in imagePullSecrets"
            )
        raise RegistryRefused(f"{self.host} answers {status} to {response.request.method} {response.request.url.path}")


async def _bounded(response: httpx2.Response, most: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > most:
            raise RegistryRefused(
                f"{response.request.url.host} answers with more than {most} bytes; it is not a registry"
            )
    return bytes(body)


def _token_in(body: bytes) -> str:
    try:
        found: Any = json.loads(body)
        return str(found.get("token") or found.get("access_token") or "")
    except (ValueError, AttributeError):
        return ""


def _seconds(response: httpx2.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0


def _words(error: Exception) -> str:
    names = {"ConnectTimeout": "connecting took too long", "ReadTimeout": "the transfer stalled"}
    return names.get(type(error).__name__) or str(error) or type(error).__name__


def _hint(error: Exception) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "; put the registry's CA certificate into /etc/containers/certs.d/HOST/ca.crt"
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return "; it seems to speak plain HTTP: list it as an insecure registry if you trust the network"
    return "; check the name and the network"
