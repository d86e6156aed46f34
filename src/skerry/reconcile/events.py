"""Events about objects, as `kubectl describe` shows them; a repeated event is counted, not repeated."""

import hashlib
from typing import Any, Final, Literal

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event

from skerry.kit.clock import Clock, timestamp
from skerry.kit.log import logger

log = logger(__name__)

_MESSAGE_LIMIT: Final = 1024  # Kubernetes refuses longer notes


class Recorder:
    """Writes events for one component (`kubelet`, `deployment-controller`, …)."""

    def __init__(self, client: AsyncClient, clock: Clock, component: str, host: str | None = None) -> None:
        self._client = client
        self._clock = clock
        self._component = component
        self._host = host

    async def normal(self, about: Any, reason: str, message: str) -> None:
        await self._record(about, "Normal", reason, message)

    async def warning(self, about: Any, reason: str, message: str) -> None:
        await self._record(about, "Warning", reason, message)

    async def _record(self, about: Any, severity: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Write the event; a failure is logged only, since an event never stops the work that it tells of."""
        message = message[:_MESSAGE_LIMIT]
        try:
            await self._count_or_create(about, severity, reason, message)
        except (httpx2.HTTPError, OSError) as error:
            log.warning("event not written", reason=reason, error=f"{type(error).__name__}: {error}")

    async def _count_or_create(self, about: Any, severity: str, reason: str, message: str) -> None:
        reference = _reference(about)
        namespace = reference.namespace or "default"
        identity = "\0".join((self._component, reference.uid or "", severity, reason, message))
        name = f"{reference.name}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        now = timestamp(self._clock.now())
        try:
            seen = await self._client.get(Event, name, namespace=namespace)
        except ApiError as error:
            if error.status.code != 404:
                raise
        else:
            again: dict[str, Any] = {"count": (seen.count or 1) + 1, "lastTimestamp": now}
            await self._client.patch(Event, name, again, namespace=namespace)
            return
        source = EventSource(component=self._component, host=self._host)
        event = Event(
            metadata=ObjectMeta(name=name, namespace=namespace),
            involvedObject=reference,
            reason=reason,
            message=message,
            type=severity,
            source=source,
            reportingComponent=self._component,
            reportingInstance=self._host or "",
            count=1,
            firstTimestamp=self._clock.now().replace(microsecond=0),
            lastTimestamp=self._clock.now().replace(microsecond=0),
        )
        await self._client.create(event)


def _reference(about: Any) -> ObjectReference:
    kind = type(about)
    definition = kind._api_info.resource  # noqa: SLF001 - lightkube's own name for the public fact
    return ObjectReference(
        apiVersion=definition.api_version,
        kind=definition.kind,
        name=about.metadata.name,
        namespace=about.metadata.namespace,
        uid=about.metadata.uid,
        resourceVersion=about.metadata.resourceVersion,
    )
