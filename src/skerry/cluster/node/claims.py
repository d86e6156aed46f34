"""The data of volume claims goes when the claim does.

A claim has a finalizer of ours from its binding on. When nothing else holds a claim that was deleted, no pod uses it
any more: then its directory is removed, and the finalizer after it. A crash in between leaves the finalizer, so the
next start goes on; a claim that is made again under the same name never finds old data.
"""

import asyncio
import shutil
from typing import Final

from lightkube import ApiError, AsyncClient
from lightkube.resources.core_v1 import PersistentVolumeClaim
from lightkube.types import PatchType

from skerry.api.wellknown import LOCAL_DATA_FINALIZER
from skerry.cluster.node.layout import Directories
from skerry.kit.log import logger
from skerry.reconcile import Cache, Change

log = logger(__name__)

_RETRY_SECONDS: Final = 10.0


class ClaimData:
    """Removes directories."""

    def __init__(self, client: AsyncClient, claims: Cache[PersistentVolumeClaim], directories: Directories) -> None:
        self._client = client
        self._claims = claims
        self._directories = directories
        self._ended: asyncio.Queue[PersistentVolumeClaim] = asyncio.Queue()
        claims.listen(self._changed)

    async def run(self) -> None:
        """Remove what is to go, one after the other, until cancelled."""
        while True:
            claim = await self._ended.get()
            try:
                await self._remove(claim)
            except (ApiError, OSError) as error:
                if isinstance(error, ApiError) and error.status.code in {404, 409}:
                    continue  # the object has changed: its next version comes here by itself
                log.warning("claim not removed", claim=_name(claim), error=f"{type(error).__name__}: {error}")
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._ended.put_nowait, claim)

    async def _remove(self, claim: PersistentVolumeClaim) -> None:
        assert claim.metadata is not None
        namespace, name = str(claim.metadata.namespace), str(claim.metadata.name)
        directory = self._directories.claim(namespace, name)
        if directory.exists():
            await asyncio.to_thread(shutil.rmtree, directory)
            log.info("claim removed", claim=_name(claim))
        identity = {"uid": claim.metadata.uid, "resourceVersion": claim.metadata.resourceVersion}
        body = {"metadata": {**identity, "finalizers": None}}
        await self._client.patch(PersistentVolumeClaim, name, body, namespace=namespace, patch_type=PatchType.MERGE)

    def _changed(self, change: Change[PersistentVolumeClaim]) -> None:
        claim = change.new
        if claim is None or claim.metadata is None or claim.metadata.deletionTimestamp is None:
            return
        if claim.metadata.finalizers == [LOCAL_DATA_FINALIZER]:
            self._ended.put_nowait(claim)


def _name(claim: PersistentVolumeClaim) -> str:
    assert claim.metadata is not None
    return f"{claim.metadata.namespace}/{claim.metadata.name}"
