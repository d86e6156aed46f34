"""Secrets that hold the token of a ServiceAccount live as long as it does.

The API server signs and fills them when they are written (only it has the key). So a Secret that is not filled yet, or
whose token an older key signed, needs nothing but a write; one whose ServiceAccount is gone goes too.
"""

from typing import Any, Literal

from lightkube import ApiError, AsyncClient
from lightkube.resources.core_v1 import Secret, ServiceAccount

from skerry.api.wellknown import SERVICE_ACCOUNT_NAME_ANNOTATION, SERVICE_ACCOUNT_TOKEN, SERVICE_ACCOUNT_UID_ANNOTATION
from skerry.cluster.controllers.ownership import meta, name_of
from skerry.cluster.controllers.writes import delete, patch
from skerry.reconcile import Again, Cache, Controller, Key, Manager

_WAIT_SECONDS = 5.0
_FIELDS = ("token", "ca.crt", "namespace")


def account_name(secret: Any) -> str | None:
    """Return whose token the Secret is for, None for other Secrets."""
    if secret.type != SERVICE_ACCOUNT_TOKEN:
        return None
    return (meta(secret).annotations or {}).get(SERVICE_ACCOUNT_NAME_ANNOTATION)


def plan(secret: Any, account: Any | None, *, seen: bool) -> Literal["keep", "write", "delete"]:
    """Say what to do with the Secret; `seen`: since the start it was written once, with the newest key."""
    uid = (meta(secret).annotations or {}).get(SERVICE_ACCOUNT_UID_ANNOTATION)
    if account is None or (uid and uid != meta(account).uid):
        return "delete"
    filled = all((secret.data or {}).get(field) for field in _FIELDS)
    return "keep" if seen and filled else "write"


class AccountTokenController:
    """Fills and removes Secrets with tokens."""

    def __init__(self, manager: Manager, client: AsyncClient) -> None:
        self._client = client
        self._secrets: Cache[Secret] = manager.caches.of(Secret)
        self._accounts: Cache[ServiceAccount] = manager.caches.of(ServiceAccount)
        self._seen: set[str] = set()
        controller = Controller("account-token", self.reconcile, workers=1)
        controller.watch(self._secrets, lambda item: [Key(meta(item).namespace or "", name_of(item))])
        manager.add(controller.watch(self._accounts, self._secrets_of))

    async def reconcile(self, key: Key) -> Again | None:
        """Do what the plan says; a ServiceAccount counts as gone when the API itself says so."""
        secret = self._secrets.get(*key)
        if secret is None or (name := account_name(secret)) is None:
            return None
        uid = meta(secret).uid or ""
        match plan(secret, await self._account(key.namespace, name), seen=uid in self._seen):
            case "delete":
                self._seen.discard(uid)
                await delete(self._client, secret)
            case "write":
                # Nothing is changed here; what the server fills in is the change.
                await patch(self._client, secret, {})
                self._seen.add(uid)
                return Again(_WAIT_SECONDS)  # the certificate of the namespace may come later
            case _:
                pass
        return None

    async def _account(self, namespace: str, name: str) -> ServiceAccount | None:
        if (known := self._accounts.get(namespace, name)) is not None:
            return known
        try:
            return await self._client.get(ServiceAccount, name, namespace=namespace)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def _secrets_of(self, account: ServiceAccount) -> list[Key]:
        namespace = meta(account).namespace or ""
        mine = [secret for secret in self._secrets.in_namespace(namespace) if account_name(secret) == name_of(account)]
        return [Key(namespace, name_of(secret)) for secret in mine]
