"""What a pod gets of its ServiceAccount: a token where programs look for it, and the secrets to pull images with.

The volume is Kubernetes' own: `kube-api-access-…` with `token`, `ca.crt` and `namespace`, mounted in each container
that has nothing at that path. `automountServiceAccountToken: false` on the pod, or else on the ServiceAccount, leaves
it out. A pod that is made before its ServiceAccount goes without; Kubernetes would refuse it.

Facts: kubernetes `plugin/pkg/admission/serviceaccount`.
"""

import random
from typing import Any, Final

import msgspec

from skerry.api.core import POD, SERVICE_ACCOUNT
from skerry.api.registry import Kind, Object
from skerry.api.wellknown import MIRROR_POD_ANNOTATION
from skerry.cluster.store import Key, Store
from skerry.machinery.names import generate_name

MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME: Final = "kube-api-access-"
_SECONDS: Final = 3607
_MODE: Final = 0o644


class PodAccounts:
    """A hook of admission."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, kind: Kind, new: Object, old: Object | None) -> None:
        """Add to a new pod what its ServiceAccount says."""
        if kind is not POD or old is not None or MIRROR_POD_ANNOTATION in (new["metadata"].get("annotations") or {}):
            return
        spec = new.get("spec") or {}
        account = self._account(new["metadata"].get("namespace") or "", spec.get("serviceAccountName"))
        if account is None:
            return
        if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
            spec["imagePullSecrets"] = account["imagePullSecrets"]
        wanted = spec.get("automountServiceAccountToken")
        if wanted is None:
            wanted = account.get("automountServiceAccountToken")
        if wanted is not False:
            _mount(spec)

    def _account(self, namespace: str, name: Any) -> dict[str, Any] | None:
        if not isinstance(name, str):
            return None
        data = self._store.get(Key(SERVICE_ACCOUNT.storage_key, namespace, name))
        return None if data is None else msgspec.json.decode(data)


def _mount(spec: dict[str, Any]) -> None:
    containers = [one for field in ("initContainers", "containers") for one in spec.get(field) or []]
    free = [one for one in containers if all(m.get("mountPath") != MOUNT_PATH for m in one.get("volumeMounts") or [])]
    if not free:
        return
    volume = generate_name(_VOLUME, random.SystemRandom())
    for container in free:
        mounts = container["volumeMounts"] = container.get("volumeMounts") or []
        mounts.append({"name": volume, "mountPath": MOUNT_PATH, "readOnly": True})
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    volumes = spec["volumes"] = spec.get("volumes") or []
    volumes.append({"name": volume, "projected": {"defaultMode": _MODE, "sources": sources}})
