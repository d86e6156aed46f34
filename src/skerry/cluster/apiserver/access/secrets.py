"""Secrets of the type kubernetes.io/service-account-token: a token that stays.

Kubernetes fills them a moment after they were made, by a controller that holds the key. Here the key does not leave
this server: the Secret is filled while it is written, when its ServiceAccount is there, and a controller writes again
those that could not be filled at once or were signed with an older key.
"""

import base64
from typing import Any, Final

import msgspec

from skerry.api.configuration import SECRET
from skerry.api.core import SERVICE_ACCOUNT
from skerry.api.filling import branch
from skerry.api.registry import Kind, Object
from skerry.api.wellknown import SERVICE_ACCOUNT_NAME_ANNOTATION, SERVICE_ACCOUNT_TOKEN, SERVICE_ACCOUNT_UID_ANNOTATION
from skerry.cluster.apiserver.access.accounts import Accounts
from skerry.cluster.store import Key, Store

_ROOT_CA: Final = "kube-root-ca.crt"


class AccountSecrets:
    """A hook of admission."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts

    def __call__(self, kind: Kind, new: Object, old: Object | None) -> None:
        """Fill in what is missing or out of date."""
        if kind is not SECRET or new.get("type") != SERVICE_ACCOUNT_TOKEN:
            return
        annotations = new["metadata"].get("annotations") or {}
        namespace = new["metadata"].get("namespace") or ""
        account = self._find(SERVICE_ACCOUNT.storage_key, namespace, annotations.get(SERVICE_ACCOUNT_NAME_ANNOTATION))
        if account is None:
            return
        uid = account["metadata"]["uid"]
        if annotations.get(SERVICE_ACCOUNT_UID_ANNOTATION, uid) != uid:
            return  # it belongs to a ServiceAccount that is gone, and the controller deletes it
        branch(new["metadata"], "annotations")[SERVICE_ACCOUNT_UID_ANNOTATION] = uid
        data = branch(new, "data")
        if not self._accounts.is_current(_decoded(data.get("token"))):
            data["token"] = _encoded(self._accounts.issue_for_secret(account, new["metadata"]["name"]))
        data["namespace"] = _encoded(namespace)
        certificate = ((self._find("/configmaps", namespace, _ROOT_CA) or {}).get("data") or {}).get("ca.crt")
        if certificate:
            data["ca.crt"] = _encoded(certificate)

    def _find(self, resource: str, namespace: str, name: Any) -> dict[str, Any] | None:
        if not isinstance(name, str) or not name:
            return None
        data = self._store.get(Key(resource, namespace, name))
        return None if data is None else msgspec.json.decode(data)


def _decoded(value: Any) -> str:
    try:
        return base64.b64decode(value or "").decode()
    except ValueError:
        return ""


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
