"""Image references: `[DOMAIN[:PORT]/]PATH[:TAG][@DIGEST]`, normalised by the rules that every container tool shares.

A first component with a dot or a port, or `localhost`, is a domain; anything else is short for `docker.io/`, and a
single component there for `library/`. A reference with neither tag nor digest means the tag `latest`. Where both are
written, the digest decides.

`localhost/NAME` is not an address: it is the name that podman and this program give to images built on the machine.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from skerry.images.errors import InvalidReference

DOCKER_HUB: Final = "docker.io"
LOCAL: Final = "localhost"

_DOMAIN: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
)
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://")
_LOOPBACK: Final = re.compile(r"127(?:\.[0-9]{1,3}){3}")
_LONGEST_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """One image's name, normalised; `str()` writes it in full."""

    domain: str
    path: str
    tag: str
    """Empty when a digest was written."""
    digest: str
    short: bool = field(default=False, compare=False)
    """The domain was not written but assumed."""

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return f"{self.domain}/{self.path}"

    @property
    def local(self) -> bool:
        """Whether only this machine's store can hold it."""
        return self.domain == LOCAL

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


def parse(text: str) -> Reference:
    """Read a reference as a container tool does.

    Raises `InvalidReference` with the part that is wrong and how it should look.
    """
    _refuse_common_mistakes(text)
    name, tag, digest = _split(text)
    domain, path = _domain_and_path(name)
    short = domain == ""
    domain = DOCKER_HUB if domain in {"", "index.docker.io"} else domain.lower()
    if domain == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    _check(text, domain, path, tag, digest)
    return Reference(domain, path, "" if digest else tag or "latest", digest, short)


def parse_new_name(text: str) -> Reference:
    """Read the name for an image made here: a short name gets `localhost/`, as `podman build -t` does.

    Raises `InvalidReference`, also for a digest, which nobody can choose.
    """
    reference = parse(text)
    if reference.digest:
        raise InvalidReference(f"cannot name an image {text!r}: a digest follows from the content; write NAME:TAG")
    if not reference.short:
        return reference
    return Reference(LOCAL, _split(text)[0], reference.tag, "")


def loopback(host: str) -> bool:
    """Tell whether a host name or address (without a port) can only be this machine."""
    return host in {LOCAL, "::1", "[::1]"} or host.endswith(f".{LOCAL}") or _LOOPBACK.fullmatch(host) is not None


def _refuse_common_mistakes(text: str) -> None:
    if not text:
        raise InvalidReference('cannot read image reference "": it is empty; write for example localhost/model:v1')
    if scheme := _SCHEME.match(text):
        rest = text[scheme.end() :]
        raise InvalidReference(f"cannot read image reference {text!r}: leave out {scheme.group()!r} and write {rest!r}")
    if text.count("@") > 1 or ("@" in text and not text.rpartition("@")[2].startswith("sha")):
        raise InvalidReference(
            f'cannot read image reference {text!r}: only a digest may follow "@", as in NAME@sha256:…; '
            "write NAME:TAG once"
        )


def _split(text: str) -> tuple[str, str, str]:
    """Split into name, tag and digest, each possibly empty."""
    rest, _, digest = text.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon of a port
        return rest, "", digest
    if not tag:
        raise InvalidReference(
            f'cannot read image reference {text!r}: nothing follows ":"; write a tag, as in {head}:v1'
        )
    return head, tag, digest


def _domain_and_path(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == LOCAL):
        return first, rest
    return "", name


def _check(text: str, domain: str, path: str, tag: str, digest: str) -> None:
    why = ""
    if not _DOMAIN.fullmatch(domain):
        why = f"{domain!r} is not a host name with an optional port"
    elif any(not _COMPONENT.fullmatch(part) for part in path.split("/")):
        why = f"{_wrong_component(path)}"
    elif len(domain) + 1 + len(path) > _LONGEST_NAME:
        why = f"the name is longer than {_LONGEST_NAME} characters"
    elif tag and not _TAG.fullmatch(tag):
        why = f"{tag!r} is not a tag: letters, digits, '_', '.' and '-', at most 128, not starting with '.' or '-'"
    elif digest and not _DIGEST.fullmatch(digest):
        why = f"{digest!r} is not a digest: 'sha256:' and 64 lower-case hexadecimal digits"
    if why:
        raise InvalidReference(f"cannot read image reference {text!r}: {why}")


def _wrong_component(path: str) -> str:
    part = next(part for part in path.split("/") if not _COMPONENT.fullmatch(part))
    if not part:
        return "a part of the name is empty"
    if part != part.lower():
        return f"{part!r} has capital letters; write {part.lower()!r}"
    return f"{part!r} may only hold a-z, 0-9 and single '.', '_', '__' or '-' between them"
