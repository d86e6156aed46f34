"""Who we are to a registry: log-ins from image pull Secrets and from the files that container tools write.

    Secret kubernetes.io/dockerconfigjson (and the older dockercfg)
    $REGISTRY_AUTH_FILE, podman's auth.json, ~/.docker/config.json

All hold `auths`: a registry, or a repository prefix in it, and a log-in; the longest prefix wins within one source, and
the sources are tried in order until the registry accepts one. `credHelpers` and `credsStore` name programs to ask.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from skerry.images.reference import DOCKER_HUB, Reference
from skerry.kit.log import logger

log = logger(__name__)

_HELPER_SECONDS: Final = 10.0
_MEANS_IDENTITY: Final = "<token>"
_HUB_NAMES: Final = frozenset({"index.docker.io", "registry-1.docker.io", "docker.io"})


class Credential(Struct, frozen=True):
    """One log-in."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class _Auth(Struct, frozen=True):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


class _Source(Struct, frozen=True, rename={"cred_helpers": "credHelpers", "creds_store": "credsStore"}):
    auths: dict[str, _Auth] | None = None
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


class LogIns(Struct, frozen=True):
    """The log-ins that may open a repository, the most likely first, and why there are not more."""

    known: list[Credential]
    problems: list[str]


def log_ins(reference: Reference, secrets: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> LogIns:
    """Find log-ins for a repository. May ask helper programs: blocks.

    `secrets` are Secret objects as the API gives them. What cannot be read is logged and skipped. A helper that is
    missing is a problem only if the registry asks for a log-in and accepts no other.
    """
    found = LogIns([], [])
    for source in (*_from_secrets(secrets), *_from_files(files)):
        try:
            if login := _matching(reference, source):
                found.known.append(login)
        except _HelperFailed as error:
            found.problems.append(str(error))
    return found


class _HelperFailed(Exception):
    pass


def auth_files(environ: Mapping[str, str]) -> list[Path]:
    """List the files in which container tools keep log-ins, in the order in which they are asked."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    home = Path(environ.get("HOME", "/root"))
    runtime = environ.get("XDG_RUNTIME_DIR")
    return [
        *([Path(runtime) / "containers/auth.json"] if runtime else []),
        Path(f"/run/containers/{os.getuid()}/auth.json"),
        Path(environ.get("XDG_CONFIG_HOME", home / ".config")) / "containers/auth.json",
        Path(environ.get("DOCKER_CONFIG", home / ".docker")) / "config.json",
    ]


def _from_secrets(secrets: Sequence[Mapping[str, Any]]) -> Iterator[_Source]:
    for secret in secrets:
        name = secret.get("metadata", {}).get("name", "")
        data = secret.get("data") or {}
        try:
            if text := data.get(".dockerconfigjson"):
                yield msgspec.json.decode(base64.b64decode(text), type=_Source)
            elif text := data.get(".dockercfg"):
                yield _Source(msgspec.json.decode(base64.b64decode(text), type=dict[str, _Auth]))
            else:
                log.warning("image pull secret has no .dockerconfigjson", secret=name)
        except (ValueError, msgspec.MsgspecError) as error:
            log.warning("image pull secret is unreadable", secret=name, error=str(error))


def _from_files(files: Sequence[Path]) -> Iterator[_Source]:
    for path in files:
        try:
            yield msgspec.json.decode(path.read_bytes(), type=_Source)
        except FileNotFoundError:
            continue
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("registry log-ins are unreadable", file=str(path), error=str(error))


def _matching(reference: Reference, source: _Source) -> Credential | None:
    if helper := (source.cred_helpers or {}).get(reference.domain):
        return _ask(helper, reference.domain)
    best: tuple[int, _Auth] | None = None
    for key, auth in (source.auths or {}).items():
        prefix = _normal(key)
        if _covers(prefix, reference) and (best is None or len(prefix) > best[0]):
            best = (len(prefix), auth)
    if best and (found := _read(best[1])):
        return found
    if source.creds_store:
        return _ask(source.creds_store, reference.domain)
    return None


def _normal(key: str) -> str:
    """Write a key of `auths` as a repository prefix; Docker's own is https://index.docker.io/v1/."""
    bare = key.partition("://")[2] or key
    host, _, path = bare.strip("/").partition("/")
    path = "" if path in {"v1", "v2"} else path
    host = DOCKER_HUB if host in _HUB_NAMES else host
    return f"{host}/{path}" if path else host


def _covers(prefix: str, reference: Reference) -> bool:
    host, _, path = prefix.partition("/")
    if not fnmatchcase(reference.domain, host):  # the kubelet allows *.example.com
        return False
    return not path or reference.path == path or reference.path.startswith(f"{path}/")


def _read(auth: _Auth) -> Credential | None:
    username, password = auth.username or "", auth.password or ""
    if auth.auth and not username:
        try:
            username, _, password = base64.b64decode(auth.auth).decode().partition(":")
        except ValueError:
            log.warning("registry log-in is not base64 of USER:PASSWORD")
    found = Credential(username, password.rstrip("\0"), auth.identitytoken or "", auth.registrytoken or "")
    return found if found != Credential() else None


def _ask(helper: str, server: str) -> Credential | None:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise _HelperFailed(
            f"the log-in to {server} is kept by docker-credential-{helper}, which is not installed; "
            f"install it, or run podman login {server}"
        )
    asked = "https://index.docker.io/v1/" if server == DOCKER_HUB else server
    try:
        answer = subprocess.run(
            [program, "get"], input=asked.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=True
        )
        found = json.loads(answer.stdout)
        username, secret = str(found["Username"]), str(found["Secret"])
    except subprocess.CalledProcessError:
        return None  # "credentials not found in native keychain"
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        raise _HelperFailed(
            f"docker-credential-{helper} gives no usable answer for {server}; "
            f"run it by hand, or run podman login {server}"
        ) from error
    return Credential(identity_token=secret) if username == _MEANS_IDENTITY else Credential(username, secret)
