"""Writing claims down: an orphan gets its owner, a stray loses it.

Both are written with the uid and the resourceVersion that were seen, so of two controllers that reach for one orphan
only one gets it.
"""

from typing import Any

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.models.meta_v1 import OwnerReference

from skerry.cluster.controllers.ownership import Claim, controller_reference, deleting, meta, name_of
from skerry.cluster.controllers.writes import patch


async def settle(client: AsyncClient, owner: Any, claimed: Claim[Any]) -> None:
    """Write adoptions and releases.

    The owner is read live before anything is adopted: a cached one may be gone, and its name taken by another.
    """
    if claimed.adopt and await _still_there(client, owner):
        for item in claimed.adopt:
            others = meta(item).ownerReferences or []
            await set_owners(client, item, [*others, controller_reference(owner)])
    for item in claimed.release:
        kept = [other for other in meta(item).ownerReferences or [] if other.uid != meta(owner).uid]
        await set_owners(client, item, kept)


async def set_owners(client: AsyncClient, item: Any, owners: list[OwnerReference]) -> None:
    """Replace the owners of the object, unless it has changed since it was read."""
    references = [msgspec.to_builtins(owner) for owner in owners] or None
    await patch(client, item, {"metadata": {"ownerReferences": references}}, only_if_unchanged=True)


async def _still_there(client: AsyncClient, owner: Any) -> bool:
    try:
        live = await client.get(type(owner), name_of(owner), namespace=meta(owner).namespace)
    except ApiError as error:
        if error.status.code == 404:
            return False
        raise
    return meta(live).uid == meta(owner).uid and not deleting(live)
