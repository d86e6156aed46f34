"""The release file: `{"release": {"base": …}, "images": {key: full reference}}`, the one place of image references.

Manifests say `image: ovms-image`; the key is replaced when they are rendered. Every reference is checked when the file
is read, because a tool that once joined a tag with a tag by an `@` has shipped runtimes that no engine could pull.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from skerry.manifests.errors import ReleaseError

# The grammar of distribution's reference package: [host[:port]/]path[:tag][@digest].
_PART: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]+)?"
_NAME: Final = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[\w][\w.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE: Final = re.compile(rf"({_NAME.pattern})(?::({_TAG.pattern}))?(?:@({_DIGEST.pattern}))?")


def load_release(path: Path) -> Mapping[str, str]:
    """Read the images of a release file; raises `ReleaseError`."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ReleaseError(f"cannot read release file {path}: {error}") from error
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, dict):
        raise ReleaseError(f"cannot read release file {path}: it has no map called images")
    for key, reference in images.items():
        check_reference(reference, f"image {key} of release file {path}")
    return images


def check_reference(reference: Any, what: str) -> None:
    """Raise `ReleaseError` unless the text names an image."""
    if isinstance(reference, str) and _REFERENCE.fullmatch(reference):
        return
    why = "want [HOST/]NAME[:TAG][@sha256:DIGEST]"
    if isinstance(reference, str) and "@" in reference and not _DIGEST.fullmatch(reference.rpartition("@")[2]):
        why = "what follows the @ must be sha256: and 64 hexadecimal digits"
    raise ReleaseError(f"cannot use {what}: {reference!r} is not an image reference; {why}")


def split_reference(reference: str) -> tuple[str, str]:
    """Split a reference into the name and the rest (`:tag`, `@digest`, both, or nothing)."""
    match = _REFERENCE.fullmatch(reference)
    return (match[1], reference[len(match[1]) :]) if match else (reference, "")


def check_tag(tag: Any, what: str) -> None:
    """Raise `ReleaseError` unless the text is a tag."""
    if not (isinstance(tag, str) and _TAG.fullmatch(tag)):
        raise ReleaseError(f"cannot use {what}: {tag!r} is not a tag")


def check_digest(digest: Any, what: str) -> None:
    """Raise `ReleaseError` unless the text is a digest."""
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise ReleaseError(f"cannot use {what}: {digest!r} is not a digest; want sha256: and 64 hexadecimal digits")


def check_name(name: Any, what: str) -> None:
    """Raise `ReleaseError` unless the text is an image name without tag and digest."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ReleaseError(f"cannot use {what}: {name!r} is not an image name without tag and digest")
