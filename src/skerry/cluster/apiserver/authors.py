"""The name under which a request writes, and the options of server-side apply.

Facts: k8s.io/apiserver `pkg/endpoints/handlers/create.go`, k8s.io/apimachinery `pkg/apis/meta/v1/validation`.
"""

from collections.abc import Mapping
from typing import Final

from skerry.api.checks import too_long
from skerry.machinery.fielderrors import FieldError, forbidden, invalid, required

# Whoever writes inside this process and does not say which part of it.
INSIDE: Final = "skerry"
_LIMIT: Final = 128


def author_of(query: Mapping[str, str], headers: Mapping[str, str], *, inside: bool) -> str:
    """Return the `fieldManager` of a request, or the first word of its User-Agent."""
    named = query.get("fieldManager")
    if named or inside:
        return named or INSIDE
    word = headers.get("user-agent", "").partition("/")[0]
    return "".join(char for char in word if char.isprintable()).encode()[:_LIMIT].decode(errors="ignore")


def author_errors(query: Mapping[str, str], *, applies: bool, patches: bool) -> list[FieldError]:
    """Check `fieldManager` and `force`."""
    name = query.get("fieldManager", "")
    errors: list[FieldError] = []
    if applies and not name:
        errors.append(required("fieldManager", "is required for apply patch"))
    if patches and not applies and "force" in query:
        errors.append(forbidden("force", "may not be specified for non-apply patch"))
    if len(name.encode()) > _LIMIT:
        errors.append(too_long("fieldManager", _LIMIT))
    errors += [
        invalid("fieldManager", name, f"invalid character U+{ord(char):04X} (at position {place})")
        for place, char in enumerate(name)
        if not char.isprintable()
    ]
    return errors
