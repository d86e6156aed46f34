"""API errors as Kubernetes' `metav1.Status`: code, reason, message and details, in the real server's words.

    StatusError                 every failed request; carries the whole Status
      made by not_found(), already_exists(), conflict(), invalid(), bad_request(), gone(), …

Facts: k8s.io/apimachinery `pkg/api/errors`.
"""

from collections.abc import Sequence
from typing import Any

from skerry.machinery.fielderrors import FieldError


class StatusError(Exception):
    """A failed API request, answered with `code` and `body()`."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata or {}

    def body(self) -> dict[str, Any]:
        """Return the Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _details(group_resource: str, name: str, **more: Any) -> dict[str, Any]:
    resource, _, group = group_resource.partition(".")
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    return {**details, "kind": resource, **more}


def not_found(group_resource: str, name: str) -> StatusError:
    """404 for an object, `group_resource` as in `pods` or `routes.route.openshift.io`."""
    return StatusError(404, "NotFound", f'{group_resource} "{name}" not found', _details(group_resource, name))


def no_such_path() -> StatusError:
    """404 for a path that is not served at all. The details are empty and there: `kubectl debug` looks into them."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group_resource: str, name: str) -> StatusError:
    """409 for a create."""
    return StatusError(
        409, "AlreadyExists", f'{group_resource} "{name}" already exists', _details(group_resource, name)
    )


def conflict(group_resource: str, name: str, why: str | None = None) -> StatusError:
    """409 for a write against an old resourceVersion."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {group_resource} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(group_resource, name))


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422 with a cause for each field."""
    texts = list(dict.fromkeys(map(str, errors)))  # Go's aggregate says nothing twice
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    causes = [{"reason": error.reason, "message": error.message, "field": error.field} for error in errors]
    details: dict[str, Any] = {"name": name, "group": group, "kind": kind, "causes": causes}
    message = f'{qualified} "{name}" is invalid: {text}'
    return StatusError(422, "Invalid", message, {key: value for key, value in details.items() if value})


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group_resource: str, name: str, why: str) -> StatusError:
    """403."""
    message = f'{group_resource} "{name}" is forbidden: {why}' if name else f"{group_resource} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(group_resource, name))


def method_not_supported(group_resource: str, verb: str) -> StatusError:
    """405."""
    message = f"{verb} is not supported on resources of kind {json_quote(group_resource)}"
    return StatusError(405, "MethodNotAllowed", message, _details(group_resource, ""))


def not_acceptable(offered: Sequence[str]) -> StatusError:
    """406."""
    message = "only the following media types are accepted: " + ", ".join(offered)
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(offered: Sequence[str]) -> StatusError:
    """415."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(offered)
    return StatusError(415, "UnsupportedMediaType", message)


def gone(message: str) -> StatusError:
    """410 for a resourceVersion that is no longer kept."""
    return StatusError(410, "Expired", message)


def resumable(message: str, token: str) -> StatusError:
    """410 for a list whose next page cannot be had as it was; `token` goes on with what is there now."""
    return StatusError(410, "Expired", message, metadata={"continue": token})


def too_many_requests(message: str, seconds: int = 1) -> StatusError:
    """429; clients try again after that many seconds."""
    return StatusError(429, "TooManyRequests", message, {"retryAfterSeconds": seconds})


def too_large(limit: int) -> StatusError:
    """413."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def too_large_to_store() -> StatusError:
    """500 without a reason: the database's own complaint, as the real server passes it on."""
    return StatusError(500, "", "etcdserver: request is too large")


def internal(message: str) -> StatusError:
    """500."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")


def unavailable(message: str) -> StatusError:
    """503."""
    return StatusError(503, "ServiceUnavailable", message)


def timeout(message: str) -> StatusError:
    """504."""
    return StatusError(504, "Timeout", message)


def insufficient_storage(message: str) -> StatusError:
    """507: there is no room on the disk."""
    return StatusError(507, "InsufficientStorage", message)


def json_quote(text: str) -> str:
    """Quote as Go's `%q` does for plain text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
