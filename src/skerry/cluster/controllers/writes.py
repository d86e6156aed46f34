"""Writes to exactly the object that was read, and their errors.

A name is not an object: between the read and the write it may have been deleted and made again. So every patch carries
the uid, and every delete has it as a precondition; the API answers 409 when the name means something else now.
"""

from typing import Any

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.types import CascadeType, PatchType

from skerry.cluster.controllers.ownership import meta, name_of


def status_changes(old: msgspec.Struct | None, new: msgspec.Struct) -> dict[str, Any]:
    """Return the merge patch from the old status to the new one: {} when they are equal, null for what goes away."""
    before = msgspec.to_builtins(old) if old is not None else {}
    after = msgspec.to_builtins(new)
    changed = {field: value for field, value in after.items() if before.get(field) != value}
    return changed | dict.fromkeys(before.keys() - after.keys())


async def patch(
    client: AsyncClient,
    item: Any,
    body: dict[str, Any],
    *,
    kind: type[Any] | None = None,
    only_if_unchanged: bool = False,
    patch_type: PatchType = PatchType.MERGE,
) -> None:
    """Patch the object (or its sub-resource `kind`); `only_if_unchanged` refuses one that was written since."""
    metadata = meta(item)
    identity = {"uid": metadata.uid}
    if only_if_unchanged:
        identity["resourceVersion"] = metadata.resourceVersion
    body = {**body, "metadata": {**identity, **body.get("metadata", {})}}
    requests: Any = client  # lightkube's overloads cannot follow a class in a variable
    await requests.patch(kind or type(item), name_of(item), body, namespace=metadata.namespace, patch_type=patch_type)


async def patch_status(client: AsyncClient, item: Any, new: msgspec.Struct) -> None:
    """Write the item's status where it differs from the one that was read; nothing is sent otherwise."""
    changes = status_changes(item.status, new)
    if changes:
        await patch(client, item, {"status": changes}, kind=type(item).Status)


async def delete(client: AsyncClient, item: Any, *, cascade: CascadeType | None = None) -> bool:
    """Delete exactly this object and tell whether it was there; a new object of the same name is left alone."""
    metadata = meta(item)
    options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": metadata.uid}}
    if cascade is not None:
        options["propagationPolicy"] = cascade.value
    # lightkube's own delete() sends no body, and a precondition can stand nowhere else.
    requests: Any = client._client  # noqa: SLF001
    request = requests.prepare_request("delete", type(item), name=metadata.name, namespace=metadata.namespace)
    request.data = options
    try:
        requests.raise_for_status(await requests.send(requests.build_adapter_request(request)))
    except ApiError as error:
        # 409: the name belongs to another object now, so the one that was meant is gone.
        if error.status.code in {404, 409}:
            return False
        raise
    return True


async def create_if_open(client: AsyncClient, item: Any) -> None:
    """Create the object, unless its namespace is being emptied: then it is not wanted any more."""
    try:
        await client.create(item)
    except ApiError as error:
        if not namespace_ends(error):
            raise


def message_of(error: ApiError) -> str:
    """Return what the API server said."""
    return error.status.message or str(error)


def namespace_ends(error: ApiError) -> bool:
    """Tell whether nothing can be created because the namespace is being emptied; there is no use in trying again."""
    details = error.status.details
    if any(cause.reason == "NamespaceTerminating" for cause in (details.causes if details else None) or []):
        return True
    return error.status.code == 403 and "because it is being terminated" in message_of(error)
