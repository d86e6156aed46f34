"""Leases: one that an operator elects its leader with is stored; that of a node says when the node was last alive."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import Kubectl, kubectls, make_certificates, serving

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.kit.clock import SystemClock

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
OLD = "2026-03-01T12:00:00.000000Z"
BEGAN = datetime(2026, 3, 1, 13, 0, 0, 250_000, tzinfo=UTC)


class Node:
    """A node that beats when it is asked."""

    def __init__(self) -> None:
        self.beats = 0

    def alive(self, name: str) -> datetime | None:
        if name != "skerry":
            return None
        self.beats += 1
        return BEGAN + timedelta(seconds=10 * self.beats)


@pytest.fixture
def app(store: Store) -> ApiServer:
    users = Tokens({token_hash("secret"): "admin"})
    return ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), users, no_logs, heartbeat=Node().alive))


def lease(name: str, holder: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": OLD, **spec},
    }


async def made(http: httpx2.AsyncClient, namespace: str, *items: dict[str, Any]) -> None:
    await http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}})
    for item in items:
        reply = await http.post(LEASES.format(namespace), json=item)
        assert reply.status_code == 201, reply.text


async def test_the_lease_of_a_node_is_renewed_where_it_is_read(http: httpx2.AsyncClient) -> None:
    await made(http, "kube-node-lease", lease("skerry", "skerry"), lease("gone", "gone"), lease("odd", "skerry"))
    one = f"{LEASES.format('kube-node-lease')}/skerry"
    first, second = (await http.get(one)).json(), (await http.get(one)).json()
    assert second["spec"]["renewTime"] > first["spec"]["renewTime"] > "2026-03-01T13:00:00.250000Z"
    assert second["metadata"] == first["metadata"], "nothing was written"
    listed = (await http.get(LEASES.format("kube-node-lease"))).json()["items"]
    assert {item["metadata"]["name"]: item["spec"]["renewTime"] > OLD for item in listed} == {
        "gone": False,
        "odd": False,
        "skerry": True,
    }


async def test_leases_of_others_are_as_they_were_written(http: httpx2.AsyncClient) -> None:
    await made(http, "a", lease("skerry", "skerry"))
    one = f"{LEASES.format('a')}/skerry"
    found = (await http.get(one)).json()
    assert found["spec"]["renewTime"] == OLD
    taken = {**found, "spec": {**found["spec"], "holderIdentity": "other", "leaseTransitions": 1}}
    assert (await http.put(one, json=taken)).status_code == 200
    assert (await http.put(one, json=taken)).status_code == 409, "who comes second has lost the election"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"leaseDurationSeconds": 0}, "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
        (
            {"leaseTransitions": -1},
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            {"preferredHolder": "b"},
            "spec.preferredHolder: Forbidden: may only be specified when strategy is defined",
        ),
    ],
)
async def test_what_is_refused(http: httpx2.AsyncClient, spec: dict[str, Any], complaint: str) -> None:
    reply = await http.post(LEASES.format("a"), json=lease("x", "x", **spec))
    assert (reply.status_code, complaint in reply.json()["message"]) == (422, True), reply.text


@pytest.mark.skipif(not kubectls(), reason="kubectl is not installed")
@pytest.mark.parametrize("program", sorted(kubectls()))
async def test_kubectl_describes_a_node_with_its_lease(app: ApiServer, tmp_path: Path, program: str) -> None:
    pki = make_certificates(tmp_path / "pki")
    transport = InProcessTransport(app, "system:admin")
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as http:
        await made(http, "kube-node-lease", lease("skerry", "skerry"))
        assert (await http.post("/api/v1/nodes", json={"metadata": {"name": "skerry"}})).status_code == 201
    await transport.aclose()
    async with serving(app, pki, tmp_path / "kubeconfig"):
        kubectl = Kubectl(kubectls()[program], tmp_path, tmp_path / "kubeconfig")
        token = ("--token", "secret")
        lines = (await kubectl("describe", "node", "skerry", *token)).splitlines()
        begin = lines.index("Lease:")
        assert lines[begin + 1].split() == ["HolderIdentity:", "skerry"]
        assert lines[begin + 2].split() == ["AcquireTime:", "<unset>"]
        assert " 2026 " in lines[begin + 3]
        assert (await kubectl("get", "lease", "-A", *token)).split()[:4] == ["NAMESPACE", "NAME", "HOLDER", "AGE"]
