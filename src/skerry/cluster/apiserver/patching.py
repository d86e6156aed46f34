"""The patch types of the API that change what is there: JSON patch, JSON merge patch, strategic merge patch.

Server-side apply comes as a patch too, but creates what is missing: it goes its own way in `writing`.
"""

from typing import Any, Final

from skerry.api.merge_keys import MERGE_RULES
from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.requests import APPLY_PATCH, Request, decode_json
from skerry.machinery import jsonpatch, status, strategic
from skerry.machinery.merge import merge_patch
from skerry.machinery.patcherror import PatchError

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"


def patched(kind: Kind, old: Object, request: Request) -> Object:
    """Apply the request's patch to the object.

    Raises 415 for a patch type that the kind does not take, 400 or 422 for a patch that cannot be applied.
    """
    media_type = request.content_type
    offered = [JSON_PATCH, MERGE_PATCH, *([STRATEGIC_PATCH] if kind.built_in else []), APPLY_PATCH]
    if media_type not in offered:
        # So is a strategic patch of a custom resource answered; kubectl then sends a merge patch.
        raise status.unsupported_media_type(offered)
    patch = decode_json(request.body)
    if media_type == JSON_PATCH:
        return _json_patched(old, patch)
    if not isinstance(patch, dict):
        raise status.bad_request("the patch is unrecognized: want a map")
    if media_type == MERGE_PATCH:
        return _as_object(merge_patch(old, patch))
    try:
        return _as_object(strategic.strategic_merge(old, patch, kind.model, MERGE_RULES))
    except PatchError as error:
        raise status.bad_request(str(error)) from None


def _json_patched(old: Object, patch: Any) -> Object:
    try:
        return _as_object(jsonpatch.apply_json_patch(old, patch))
    except PatchError as error:
        # No details: kubectl would print those in place of the message.
        message = f"the server rejected our request due to an error in our request: {error}"
        raise status.StatusError(422, "Invalid", message) from None


def _as_object(value: Any) -> Object:
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        raise status.bad_request("the patch does not leave an object with metadata")
    return value
