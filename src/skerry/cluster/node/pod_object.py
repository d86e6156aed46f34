"""A pod's object in the API: the newest version that is known, and the writes to it.

The cache lags behind our own writes. So the version that a write returns counts too, and an older one that the cache
delivers later is ignored; conditions would otherwise lose the times of their changes.
"""

from typing import Any

import httpx2
import msgspec
from lightkube import ApiError
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

from skerry.cluster.node import pod_status
from skerry.cluster.node.context import NodeContext
from skerry.cluster.node.runtime import PodState
from skerry.kit.log import logger

log = logger(__name__)


class PodObject:
    """One pod in the API."""

    def __init__(self, context: NodeContext, pod: Pod) -> None:
        self._context = context
        self._pod: Any = pod
        self._written: dict[str, Any] | None = None

    @property
    def pod(self) -> Any:
        return self._pod

    @property
    def name(self) -> str:
        return str(self._pod.metadata.name)

    @property
    def namespace(self) -> str:
        return str(self._pod.metadata.namespace)

    @property
    def containers(self) -> list[Any]:
        """All containers, init containers first."""
        return [*(self._pod.spec.initContainers or []), *self._pod.spec.containers]

    @property
    def asked(self) -> tuple[Any, ...]:
        """What clients want of the pod: it changes with the spec and with a deletion, and with nothing of ours."""
        meta = self._pod.metadata
        return meta.generation, meta.deletionTimestamp, meta.deletionGracePeriodSeconds

    def update(self, pod: Pod) -> bool:
        """Take a version from the cache; False when it is not newer."""
        assert pod.metadata is not None
        if _version(pod) <= _version(self._pod):
            return False
        self._pod = pod
        return True

    def refers_to(self, kind: str, name: str) -> bool:
        """Tell whether the pod uses a ConfigMap or Secret."""
        return (kind, name) in _references(self._pod.spec)

    async def publish(self, state: PodState) -> bool:
        """Write the status if it has changed; False when it has to be tried again."""
        context = self._context
        if state.gone is not None:
            return True
        now = context.clock.now()
        wanted = pod_status.pod_status(self._pod, state, context.settings, context.host_ip, now)
        if state.over or wanted == self._written:
            return True
        try:
            answer = await context.client.patch(
                Pod.Status,
                self.name,
                {"metadata": {"uid": self._pod.metadata.uid}, "status": wanted},
                namespace=self.namespace,
                patch_type=PatchType.MERGE,
            )
        except (httpx2.HTTPError, OSError) as error:
            code = error.status.code if isinstance(error, ApiError) else 0
            if code in {404, 409}:
                return True  # the object went away; the cache will say so
            log.warning("pod status not written", pod=self.name, error=f"{type(error).__name__}: {error}")
            return False
        self._written = wanted
        self._pod = Pod(metadata=answer.metadata, spec=answer.spec, status=answer.status)
        return True

    async def delete(self) -> bool:
        """Take the ended pod out of the API; False when it has to be tried again."""
        try:
            present = await self._context.client.get(Pod, self.name, namespace=self.namespace)
            if present.metadata is None or present.metadata.uid != self._pod.metadata.uid:
                return True  # another pod has the name already
            await self._context.client.delete(Pod, self.name, namespace=self.namespace, grace_period=0)
        except (httpx2.HTTPError, OSError) as error:
            if isinstance(error, ApiError) and error.status.code in {404, 409}:
                return True
            log.warning("pod not deleted", pod=self.name, error=f"{type(error).__name__}: {error}")
            return False
        return True


def _version(pod: Any) -> int:
    text = pod.metadata.resourceVersion or ""
    return int(text) if text.isdigit() else 0


def _references(spec: Any) -> set[tuple[str, str]]:
    """Find every ConfigMap and Secret that a pod spec names."""
    found: set[tuple[str, str]] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                name = item.get("name") or item.get("secretName") if isinstance(item, dict) else None
                if name and key in {"configMap", "configMapRef", "configMapKeyRef"}:
                    found.add(("ConfigMap", name))
                elif name and key in {"secret", "secretRef", "secretKeyRef"}:
                    found.add(("Secret", name))
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    look(msgspec.to_builtins(spec))
    return found
