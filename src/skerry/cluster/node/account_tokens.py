"""Tokens of the pod's ServiceAccount, for its projected volumes.

A token is asked for when the volume is made, and again at four fifths of its life; a clock that was put back counts as
old age too, for the API refuses tokens from the future. While a new one cannot be had, the old one stays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.models.authentication_v1 import BoundObjectReference, TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ServiceAccount

from skerry.cluster.node.volumes import TokenKey, VolumeError, account_token_key
from skerry.kit.clock import Clock
from skerry.kit.log import logger

log = logger(__name__)

_LEEWAY: Final = timedelta(minutes=1)
_SHARE: Final = 0.8


class Asked(NamedTuple):
    """One token that a volume wants."""

    volume: str
    key: TokenKey


@dataclass(frozen=True)
class Token:
    """A token and its time."""

    text: bytes
    issued: datetime
    ends: datetime

    def due(self, now: datetime) -> bool:
        """Say whether it should be replaced."""
        return not self.issued - _LEEWAY <= now < self.issued + (self.ends - self.issued) * _SHARE


def asked_for(pod: Any) -> Iterator[Asked]:
    """Yield the tokens that the volumes of a pod want."""
    for volume in pod.spec.volumes or []:
        for source in (volume.projected.sources if volume.projected else None) or []:
            if source.serviceAccountToken is not None:
                yield Asked(volume.name, account_token_key(source.serviceAccountToken))


class AccountTokens:
    """The tokens of one pod."""

    def __init__(self, client: AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[TokenKey, Token] = {}

    def due(self) -> bool:
        """Say whether `gather` would ask for new ones."""
        now = self._clock.now()
        return any(token.due(now) for token in self._held.values())

    async def gather(self, pod: Any) -> Mapping[TokenKey, bytes]:
        """Return the tokens for all volumes of the pod; raises `VolumeError` when there is none."""
        for volume, key in asked_for(pod):
            held = self._held.get(key)
            if held is not None and not held.due(self._clock.now()):
                continue
            try:
                self._held[key] = await self._fetch(pod, key)
            except (ApiError, httpx2.HTTPError, OSError) as error:
                if held is None:
                    raise VolumeError(volume, f"failed to fetch token: {error}") from error
                log.warning("token not renewed", pod=pod.metadata.name, error=str(error))
        return {key: token.text for key, token in self._held.items()}

    async def _fetch(self, pod: Any, key: TokenKey) -> Token:
        audience, seconds = key
        reference = BoundObjectReference(apiVersion="v1", kind="Pod", name=pod.metadata.name, uid=pod.metadata.uid)
        spec = TokenRequestSpec(
            audiences=[audience] if audience else [], expirationSeconds=seconds, boundObjectRef=reference
        )
        account, namespace = pod.spec.serviceAccountName or "default", pod.metadata.namespace
        issued = self._clock.now()
        request = ServiceAccount.Token(metadata=ObjectMeta(), spec=spec)
        answer = await self._client.create(request, account, namespace=namespace)
        given = answer.status
        if given is None or not given.token or given.expirationTimestamp is None:
            raise OSError("the API server gave none")
        return Token(given.token.encode(), issued, given.expirationTimestamp)
