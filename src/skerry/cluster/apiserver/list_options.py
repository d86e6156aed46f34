"""The options that lists and watches share: versions, and pages of a list.

A page's `continue` token holds the version of the *first* page, and every later page shows the objects as they were
then. When that is no longer known, the answer is a 410 whose token has version -1: it goes on with what is there now.

Facts: k8s.io/apimachinery `pkg/apis/meta/internalversion/validation`, k8s.io/apiserver `pkg/storage/etcd3`.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import msgspec

from skerry.cluster.apiserver.requests import Request
from skerry.machinery import status
from skerry.machinery.fielderrors import FieldError, forbidden, not_supported

_NOT_OLDER: Final = "NotOlderThan"
_EXACT: Final = "Exact"
_MATCH: Final = "resourceVersionMatch"


_TOO_OLD: Final = "The resourceVersion for the provided list is too old."
_GO_ON: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Continue(msgspec.Struct, frozen=True):
    """Where the next page begins: after this key, as of this version (-1: of the latest)."""

    rv: int
    namespace: str
    name: str

    def token(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


@dataclass(frozen=True)
class ListOptions:
    """The query of one list. `at`: the version to show, None for the latest; `limit` 0: everything."""

    limit: int = 0
    at: int | None = None
    after: tuple[str, str] | None = None

    def too_old(self) -> status.StatusError:
        """Return the 410 for a version that is no longer kept; a list that was begun can go on."""
        if self.after is None:
            return status.gone(_TOO_OLD)
        return status.resumable(_GO_ON, Continue(-1, *self.after).token())


def _continued(token: str) -> Continue:
    try:
        begun = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=Continue)
    except (ValueError, binascii.Error):
        raise status.bad_request("continue key is not valid") from None
    if begun.rv == 0 or begun.rv < -1:
        raise status.bad_request("continue key is not valid: incorrect encoded start resourceVersion")
    return begun


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


def list_options(request: Request, committed: int) -> ListOptions:
    """Read the options of a list.

    Raises a 400 or 422 for what Kubernetes refuses, a 410 or 504 for a version that was never given out.
    """
    match, wanted = request.query.get(_MATCH, ""), resource_version(request)
    _check_match(request, match, wanted)
    limit = max(request.number("limit") or 0, 0)
    if token := request.query.get("continue"):
        if wanted:
            raise status.bad_request("specifying resource version is not allowed when using continue")
        begun = _continued(token)
        options = ListOptions(limit, begun.rv if begun.rv > 0 else None, (begun.namespace, begun.name))
        if begun.rv > committed:  # its client knew another state of this database
            raise options.too_old()
        return options
    if wanted > committed:
        message = f"Too large resource version: {wanted}, current: {committed}"
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        raise status.StatusError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})
    # A limit without resourceVersionMatch means exactly that version too.
    exact = match == _EXACT or (not match and limit > 0 and wanted > 0)
    return ListOptions(limit, wanted if exact else None)


def _check_match(request: Request, match: str, wanted: int) -> None:
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


def _refuse(errors: list[FieldError]) -> None:
    if errors:
        raise status.invalid("ListOptions", "meta.k8s.io", "", errors)
