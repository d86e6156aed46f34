"""Events about objects, as `kubectl describe` shows them; a repeated event is counted, not repeated."""

import hashlib
from typing import Any, Final, Literal

import httpx2
import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event
from lightkube.types import PatchType

from skerry.kit.clock import Clock, timestamp
from skerry.kit.log import logger

log = logger(__name__)

Severity = Literal["Normal", "Warning"]

_MESSAGE_LIMIT: Final = 1024  # bytes; Kubernetes refuses longer notes
_NAME_LIMIT: Final = 253
_ATTEMPTS: Final = 10


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

    async def _record(self, about: Any, severity: Severity, reason: str, message: str) -> None:
        """Write the event; a failure is logged only, since an event never stops the work that it tells of."""
        try:
            await self._count_or_create(self._event(about, severity, reason, _shortened(message)))
        except (httpx2.HTTPError, OSError, msgspec.MsgspecError) as error:
            log.warning("event not written", reason=reason, error=f"{type(error).__name__}: {error}")
        except Exception:  # lightkube trips over answers that are no Kubernetes API's
            log.exception("event not written", reason=reason)

    async def _count_or_create(self, event: Event) -> None:
        """Write the event; whoever writes the same one in between is counted too."""
        assert event.metadata is not None
        name, namespace = str(event.metadata.name), str(event.metadata.namespace)
        for attempt in range(1, _ATTEMPTS + 1):
            seen = await self._seen(name, namespace)
            try:
                if seen is None:
                    await self._client.create(event)
                else:
                    again = {**_version_of(seen), "count": (seen.count or 1) + 1, "lastTimestamp": self._now()}
                    await self._client.patch(Event, name, again, namespace=namespace, patch_type=PatchType.MERGE)
            except ApiError as error:
                lost_race = error.status.code == (409 if seen is None else 404) or error.status.reason == "Conflict"
                if not lost_race or attempt == _ATTEMPTS:
                    raise
            else:
                return

    async def _seen(self, name: str, namespace: str) -> Event | None:
        try:
            return await self._client.get(Event, name, namespace=namespace)
        except ApiError as error:
            if error.status.code != 404:
                raise
            return None

    def _event(self, about: Any, severity: Severity, reason: str, message: str) -> Event:
        reference = _reference(about)
        identity = "\0".join((self._component, reference.uid or "", severity, reason, message))
        now = self._clock.now().replace(microsecond=0)
        return Event(
            metadata=ObjectMeta(name=_name(reference.name or "", identity), namespace=reference.namespace or "default"),
            involvedObject=reference,
            reason=reason,
            message=message,
            type=severity,
            source=EventSource(component=self._component, host=self._host),
            reportingComponent=self._component,
            reportingInstance=self._host or "",
            count=1,
            firstTimestamp=now,
            lastTimestamp=now,
        )

    def _now(self) -> str:
        return timestamp(self._clock.now())


def _name(about: str, identity: str) -> str:
    """Name an event after its object: the same for the same words, and a valid name however long the object's is."""
    words = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return f"{about[: _NAME_LIMIT - len(words) - 1].rstrip('-.')}.{words}"


def _version_of(event: Event) -> dict[str, Any]:
    assert event.metadata is not None
    return {"metadata": {"resourceVersion": event.metadata.resourceVersion}}


def _shortened(message: str) -> str:
    return message.encode()[:_MESSAGE_LIMIT].decode(errors="ignore")


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
