"""Real kubectls with tokens, with certificates and in other people's names, over TLS."""

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from tests.apiserver.kubectl import Kubectl, kubectls, make_certificates, serving

from skerry.cli.api import current_context
from skerry.cluster.apiserver.access import bootstrap
from skerry.cluster.apiserver.app import ApiServer
from skerry.daemon import certificates
from skerry.daemon.certificates import Pki

PROGRAMS = kubectls()
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_certificates(tmp_path_factory.mktemp("access") / "pki")


@asynccontextmanager
async def boss(
    program: str, app: ApiServer, http: httpx2.AsyncClient, pki: Pki, tmp_path: Path
) -> AsyncIterator[Kubectl]:
    """Run a server with the default roles, and give the kubectl of a member of system:masters."""
    await bootstrap.ensure(http)
    async with serving(app, pki, tmp_path / "kubeconfig"):
        yield certified(Kubectl(program, tmp_path, tmp_path / "kubeconfig"), pki, "boss", ["system:masters"])


@pytest.fixture
async def kubectl(app: ApiServer, http: httpx2.AsyncClient, pki: Pki, tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with boss(PROGRAMS[min(PROGRAMS)], app, http, pki, tmp_path) as run:
        yield run


@pytest.fixture(params=sorted(PROGRAMS))
async def each_kubectl(
    request: pytest.FixtureRequest, app: ApiServer, http: httpx2.AsyncClient, pki: Pki, tmp_path: Path
) -> AsyncIterator[Kubectl]:
    async with boss(PROGRAMS[request.param], app, http, pki, tmp_path) as run:
        yield run


def server_of(kubectl: Kubectl) -> str:
    import yaml

    server: str = yaml.safe_load(kubectl.kubeconfig.read_bytes())["clusters"][0]["cluster"]["server"]
    return server


def certified(
    kubectl: Kubectl, pki: Pki, name: str, groups: Sequence[str] = (), *, now: datetime | None = None
) -> Kubectl:
    """Return a kubectl with a certificate."""
    import base64

    pair = certificates.issue_client(pki, name, groups, 1, now or datetime.now(UTC))
    fields = ("client-certificate-data", "client-key-data")
    return known(
        kubectl, pki, name, {key: base64.b64encode(pem).decode() for key, pem in zip(fields, pair, strict=True)}
    )


def known(kubectl: Kubectl, pki: Pki, name: str, credentials: dict[str, str]) -> Kubectl:
    file = kubectl.home / f"{name}.kubeconfig"
    authority = pki.ca_certificate.read_bytes()
    file.write_bytes(certificates.user_kubeconfig(authority, server_of(kubectl), name, credentials, "a"))
    return replace(kubectl, kubeconfig=file)


async def test_a_service_account_has_what_is_bound(each_kubectl: Kubectl, pki: Pki) -> None:
    kubectl = each_kubectl
    await kubectl("create", "serviceaccount", "robot", "-n", "a")
    token = (await kubectl("create", "token", "robot", "-n", "a", "--duration", "20m")).strip()
    robot = known(kubectl, pki, "robot", {"token": token})
    assert "system:serviceaccount:a:robot" in await robot("auth", "whoami")
    assert await robot.refused("get", "pods", "-n", "b") == (
        'Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:a:robot" cannot list resource '
        '"pods" in API group "" in the namespace "b"\n'
    )
    assert await robot.refused("get", "nodes") == (
        'Error from server (Forbidden): nodes is forbidden: User "system:serviceaccount:a:robot" cannot list resource '
        '"nodes" in API group "" at the cluster scope\n'
    )
    assert "Forbidden" in await robot.refused("get", "pods")
    made = await kubectl(
        "create",
        "rolebinding",
        "robots",
        "--clusterrole=system:aggregate-to-view",
        "-n",
        "a",
        "--serviceaccount=a:robot",
    )
    assert made == "rolebinding.rbac.authorization.k8s.io/robots created\n"
    assert (await robot.run("get", "pods")).err == "No resources found in a namespace.\n"
    assert (await robot("auth", "can-i", "get", "pods/log")).strip() == "yes"
    denied = await robot.run("auth", "can-i", "delete", "pods")
    assert (denied.out, denied.code) == ("no\n", 1)
    assert (await robot.run("auth", "can-i", "get", "pods", "-n", "default")).out == "no\n"
    listed = await robot("auth", "can-i", "--list")
    assert "selfsubjectreviews.authentication.k8s.io" in listed
    assert "endpointslices.discovery.k8s.io" in listed
    await kubectl("delete", "serviceaccount", "robot", "-n", "a")
    assert "You must be logged in" in await robot.refused("get", "pods")


async def test_roles_of_all_sorts(kubectl: Kubectl, pki: Pki) -> None:
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps,pods/log", "-n", "a")
    await kubectl("create", "clusterrole", "probe", "--verb=get", "--non-resource-url=/metrics")
    await kubectl("create", "clusterrolebinding", "probes", "--clusterrole=probe", "--group=people")
    await kubectl("create", "rolebinding", "readers", "--role=reader", "--user=ann", "--group=people", "-n", "a")
    table = (await kubectl("get", "rolebindings", "-n", "a", "-o", "wide")).splitlines()
    assert table[0].split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert table[1].split()[:2] == ["readers", "Role/reader"]
    assert table[1].split()[3:] == ["ann", "people"]
    assert (await kubectl("get", "roles", "-n", "a")).splitlines()[0].split() == ["NAME", "CREATED", "AT"]
    described = await kubectl("describe", "role", "reader", "-n", "a")
    assert "pods/log    []                 []              [get list]" in described
    for form in (["--as", "ann"], ["--as", "x", "--as-group", "people"]):
        assert (await kubectl.run("get", "configmaps", "-n", "a", *form)).code == 0
    assert 'User "x" cannot list resource "configmaps"' in await kubectl.refused(
        "get", "configmaps", "-n", "a", "--as", "x"
    )
    newer = "--as-user-extra" in await kubectl("options")
    words = ["--as", "eve", "--as-uid", "7", "--as-group", "g", *(["--as-user-extra", "scopes=some"] if newer else [])]
    said = json.loads(await kubectl("auth", "whoami", "-o", "json", *words))
    assert said["status"]["userInfo"] == {
        "username": "eve",
        "uid": "7",
        "groups": ["g", "system:authenticated"],
        **({"extra": {"scopes": ["some"]}} if newer else {}),
    }
    ann = certified(kubectl, pki, "ann")
    assert 'users "eve" is forbidden: User "ann" cannot impersonate' in await ann.refused("get", "pods", "--as", "eve")


RECONCILED = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: keeper, namespace: a}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: keepers, namespace: a}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: keeper}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]
"""


async def test_reconcile_and_escalation(kubectl: Kubectl, pki: Pki) -> None:
    said = await kubectl.run("auth", "reconcile", "-f", "-", stdin=RECONCILED)
    assert "role.rbac.authorization.k8s.io/keeper reconciled" in said.out
    assert "reconciliation required create" in said.err
    more = RECONCILED.replace("[get]", "[get, list]").replace("name: ann", "name: bob")
    said = await kubectl.run("auth", "reconcile", "-f", "-", stdin=more)
    assert "{Verbs:[list] APIGroups:[] Resources:[secrets]" in said.err
    bound = json.loads(await kubectl("get", "rolebinding", "keepers", "-n", "a", "-o", "json"))
    assert [one["name"] for one in bound["subjects"]] == ["ann", "bob"]
    await kubectl(
        "create", "role", "roles", "--verb=create,get", "--resource=roles.rbac.authorization.k8s.io", "-n", "a"
    )
    await kubectl("create", "rolebinding", "roles", "--role=roles", "--user=ann", "-n", "a")
    ann = certified(kubectl, pki, "ann")
    refused = await ann.refused("create", "role", "all", "--verb=*", "--resource=secrets")
    assert refused.partition(": ")[2].removeprefix("failed to create role: ") == (
        'roles.rbac.authorization.k8s.io "all" is forbidden: user "ann" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["*"]}\n'
    )


async def test_certificates(kubectl: Kubectl, pki: Pki, tmp_path: Path) -> None:
    await kubectl("create", "rolebinding", "devs", "--clusterrole=system:aggregate-to-view", "--group=devs", "-n", "a")
    dev = certified(kubectl, pki, "dev", ["devs", "others"])
    said = json.loads(await dev("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert (said["username"], said["groups"]) == ("dev", ["devs", "others", "system:authenticated"])
    assert said["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    assert (await dev.run("get", "pods")).code == 0
    # Of another time, of another authority, or for another purpose: no request gets through.
    late = certified(kubectl, pki, "late", ["system:masters"], now=datetime.now(UTC) - timedelta(days=9))
    assert "You must be logged in to the server" in await late.refused("get", "pods")
    other = make_certificates(tmp_path / "other")
    eve = certified(kubectl, other, "eve", ["system:masters"])
    eve.kubeconfig.write_text(
        eve.kubeconfig.read_text().replace(_data(other.ca_certificate), _data(pki.ca_certificate))
    )
    assert await answers(eve) is None
    served = {"client-certificate": str(pki.server_certificate), "client-key": str(pki.server_key)}
    assert await answers(known(kubectl, pki, "served", served)) is None
    assert await answers(dev) == 200
    # And without any credentials only what is open to everybody.
    context = ssl.create_default_context(cafile=str(pki.ca_certificate))
    async with httpx2.AsyncClient(base_url=server_of(kubectl), verify=context, trust_env=False) as nobody:
        codes = [(await nobody.get(path)).status_code for path in ("/version", "/healthz", "/api", "/api/v1/pods")]
    assert codes == [200, 200, 401, 401]


async def answers(kubectl: Kubectl) -> int | None:
    """Ask once with the credentials of a kubectl, which would ask for ten seconds; None when nobody answers."""
    context = current_context(kubectl.kubeconfig)
    async with httpx2.AsyncClient(base_url=context.server, verify=context.verify, trust_env=False) as http:
        try:
            return (await http.get("/api")).status_code
        except httpx2.TransportError:
            return None


def _data(file: Path) -> str:
    import base64

    return base64.b64encode(file.read_bytes()).decode()
