"""Clients that are not the administrator: what the network would see, without the network."""

from collections.abc import MutableMapping, Sequence
from typing import Any

import httpx2

from skerry.cluster.apiserver.access.credentials import CERTIFICATE, Certificate
from skerry.cluster.apiserver.app import ApiServer
from skerry.cluster.apiserver.transport import InProcessTransport

RBAC = "/apis/rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"

Json = dict[str, Any]


class Outside(InProcessTransport):
    """Sends requests as the network does: who asks is for the server to find out."""

    def __init__(self, app: ApiServer, certificate: Certificate | None = None) -> None:
        super().__init__(app, "")
        self._extensions = {CERTIFICATE: certificate} if certificate else {}

    def _scope(self, request: httpx2.Request) -> MutableMapping[str, Any]:
        return {**super()._scope(request), "extensions": self._extensions}


def with_token(app: ApiServer, token: str | None) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return httpx2.AsyncClient(transport=Outside(app), base_url="http://api", timeout=10, headers=headers)


def person(app: ApiServer, name: str, *groups: str) -> httpx2.AsyncClient:
    """Return a client with a certificate."""
    transport = Outside(app, Certificate(name, groups, "00", 0, 2**40))
    return httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=10)


async def posted(http: httpx2.AsyncClient, path: str, **item: Any) -> Json:
    answer = await http.post(path, json=item)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


async def account(http: httpx2.AsyncClient, namespace: str, name: str) -> Json:
    return await posted(http, f"/api/v1/namespaces/{namespace}/serviceaccounts", metadata={"name": name})


async def token_of(http: httpx2.AsyncClient, namespace: str, name: str, **spec: Any) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    token: str = (await posted(http, path, spec=spec))["status"]["token"]
    return token


def rule(verbs: str, resources: str, groups: Sequence[str] = ("",), **more: Any) -> Json:
    return {"verbs": verbs.split(), "apiGroups": list(groups), "resources": resources.split(), **more}


def subject(name: str, kind: str = "User", namespace: str = "") -> Json:
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"kind": kind, "name": name, "apiGroup": GROUP}


async def role(http: httpx2.AsyncClient, name: str, *rules: Json, namespace: str = "") -> None:
    if namespace:
        await posted(http, f"{RBAC}/namespaces/{namespace}/roles", metadata={"name": name}, rules=rules)
    else:
        await posted(http, f"{RBAC}/clusterroles", metadata={"name": name}, rules=rules)


async def bind(
    http: httpx2.AsyncClient, name: str, role_name: str, *subjects: Json, namespace: str = "", kind: str = "ClusterRole"
) -> None:
    path = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    reference = {"apiGroup": GROUP, "kind": kind, "name": role_name}
    await posted(http, path, metadata={"name": name}, roleRef=reference, subjects=subjects)


async def allow(http: httpx2.AsyncClient, user: str, *rules: Json, namespace: str = "", name: str = "test") -> None:
    """Give a user these rules."""
    await role(http, name, *rules, namespace=namespace)
    kind = "Role" if namespace else "ClusterRole"
    await bind(http, name, name, subject(user), namespace=namespace, kind=kind)
