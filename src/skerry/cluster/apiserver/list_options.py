"""The options that lists and watches share: versions, and pages of a list.

A page's `continue` token holds the version of the *first* page. A client that has read all pages watches from there,
and so hears again of whatever changed while it was paging; with a later version those changes would be lost.

Facts: k8s.io/apimachinery `pkg/apis/meta/internalversion/validation`.
"""

import base64
import binascii
from typing import Final

import msgspec

from skerry.cluster.apiserver.requests import Request
from skerry.cluster.store import Store
from skerry.machinery import status
from skerry.machinery.fielderrors import FieldError, forbidden, not_supported

_NOT_OLDER: Final = "NotOlderThan"
_EXACT: Final = "Exact"
_MATCH: Final = "resourceVersionMatch"


class Continue(msgspec.Struct, frozen=True):
    """Where the next page begins: after this key, as of this version."""

    rv: int
    namespace: str
    name: str

    def token(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def continued(request: Request) -> Continue | None:
    """Read the continue token; raises a 400 for one that was not given out here."""
    token = request.query.get("continue", "")
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=Continue)
    except (ValueError, binascii.Error):
        raise status.bad_request("continue key is not valid") from None


def resource_version(request: Request) -> int:
    """Read resourceVersion: 0 for none or "0", which both mean any; raises a 400 for what is no version."""
    text = request.query.get("resourceVersion", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise status.bad_request(f"invalid resource version {status.json_quote(text)}: want a number")
    return int(text or 0)


def check_watch_options(request: Request) -> None:
    """Raise a 422 for options of a watch that contradict each other."""
    match, initial = request.query.get(_MATCH, ""), "sendInitialEvents" in request.query
    errors: list[FieldError] = []
    if initial and match != _NOT_OLDER:
        errors.append(forbidden(_MATCH, f"sendInitialEvents requires setting resourceVersionMatch to {_NOT_OLDER}"))
    if match:
        if not initial:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            errors.append(forbidden(_MATCH, why))
        if match != _NOT_OLDER:
            errors.append(not_supported(_MATCH, match, [_NOT_OLDER]))
        if request.query.get("continue"):
            errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
    _refuse(errors)


def check_list_options(request: Request, store: Store) -> None:
    """Raise a 422 for options of a list that contradict each other, a 410 or 504 for a version that is not served."""
    match, wanted = request.query.get(_MATCH, ""), resource_version(request)
    errors: list[FieldError] = []
    if match:
        if not request.query.get("resourceVersion"):
            errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if request.query.get("continue"):
            errors.append(forbidden(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
        if match not in {_EXACT, _NOT_OLDER}:
            errors.append(not_supported(_MATCH, match, [_EXACT, _NOT_OLDER]))
        if match == _EXACT and wanted == 0:
            errors.append(forbidden(_MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if "sendInitialEvents" in request.query:
        errors.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    _refuse(errors)
    if request.query.get("continue"):
        if wanted:
            raise status.bad_request("specifying resource version is not allowed when using continue")
        return
    _check_version(wanted, store.committed, exact=match == _EXACT)


def _check_version(wanted: int, current: int, *, exact: bool) -> None:
    if wanted > current:
        message = f"Too large resource version: {wanted}, current: {current}"
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        raise status.StatusError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})
    if exact and wanted != current:
        raise status.gone(f"The resourceVersion for the provided list is too old: {wanted}, current: {current}")


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise status.invalid("ListOptions", "meta.k8s.io", "", errors)
