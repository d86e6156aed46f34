"""Files for a build fetched over HTTPS.

Certificates are always checked. Plain HTTP is for this machine only, also after a redirect: what is packaged is served
later, and nobody on the way may choose it.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from skerry.images.blobs import CHUNK
from skerry.images.errors import BuildError
from skerry.images.reference import loopback

if TYPE_CHECKING:
    import httpx2

_MOST_REDIRECTS: Final = 10
_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30.0

Fetched = Callable[[int, int], None]
"""Told the bytes so far and in all (0 where the server does not say)."""


def fetch(url: str, path: Path, fetched: Fetched) -> str:
    """Store what an address gives as a file; return its digest.

    Raises `BuildError`; a part of the file may be left then.
    """
    import httpx2

    timeout = httpx2.Timeout(_IDLE_SECONDS, connect=_CONNECT_SECONDS)
    try:
        with httpx2.Client(timeout=timeout, headers={"accept-encoding": "identity"}) as client:
            return _follow(client, url, path, fetched)
    except httpx2.TimeoutException as error:
        raise BuildError(f"cannot fetch {url}: the server stopped answering; try again") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise BuildError(f"cannot fetch {url}: {error}; check the address and the network") from error


def _follow(client: "httpx2.Client", url: str, path: Path, fetched: Fetched) -> str:
    address = url
    for _ in range(_MOST_REDIRECTS):
        _require_safe(address)
        with client.stream("GET", address) as answer:
            if answer.has_redirect_location:
                address = urljoin(address, answer.headers["location"])
                continue
            if answer.status_code != 200:
                raise BuildError(f"cannot fetch {url}: the server answers {answer.status_code}; check the address")
            return _store(answer, url, path, fetched)
    raise BuildError(f"cannot fetch {url}: more than {_MOST_REDIRECTS} redirects; check the address")


def _store(answer: "httpx2.Response", url: str, path: Path, fetched: Fetched) -> str:
    announced = int(answer.headers.get("content-length", 0))
    hashed = hashlib.sha256()
    done = 0
    with path.open("xb") as file:
        for piece in answer.iter_raw(CHUNK):
            file.write(piece)
            hashed.update(piece)
            done += len(piece)
            fetched(done, announced)
    if announced and done != announced:
        raise BuildError(f"cannot fetch {url}: {done} of {announced} bytes came; try again")
    return f"sha256:{hashed.hexdigest()}"


def _require_safe(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and loopback(parts.hostname or "")):
        return
    raise BuildError(
        f"cannot fetch {address}: only https:// is safe to package from (http:// for this machine); "
        "use https, or fetch it yourself, check it, and COPY it"
    )
