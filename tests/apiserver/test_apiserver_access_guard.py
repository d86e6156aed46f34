"""Nobody gives away more than he holds; who may impersonate whom; the defaults and how they are mended."""

from typing import Any

import httpx2
import pytest
from tests.apiserver.people import GROUP, RBAC, Outside, allow, bind, person, posted, role, rule, subject

from skerry.api.rbac_rules import Asked
from skerry.cluster.apiserver.access import bootstrap
from skerry.cluster.apiserver.access.authorizer import Authorizer
from skerry.cluster.apiserver.access.credentials import Certificate
from skerry.cluster.apiserver.access.roles import Roles
from skerry.cluster.apiserver.access.users import User
from skerry.cluster.apiserver.app import ApiServer
from skerry.cluster.store import Store

MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}
ROLES = f"{RBAC}/namespaces/a/roles"
BINDINGS = f"{RBAC}/namespaces/a/rolebindings"
ON_ROLES = rule("*", "roles rolebindings", [GROUP])


def reference(name: str, kind: str = "Role") -> dict[str, str]:
    return {"apiGroup": GROUP, "kind": kind, "name": name}


@pytest.fixture
async def ann(app: ApiServer, http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Somebody who may write roles in namespace a, and otherwise read configmaps there."""
    on_roles = rule("create update patch get", "roles rolebindings", [GROUP])
    await allow(http, "ann", on_roles, rule("get list", "configmaps"), namespace="a")
    return person(app, "ann", "people")


async def test_a_role_gives_no_more_than_its_writer_has(ann: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    await posted(ann, ROLES, metadata={"name": "r"}, rules=[rule("get", "configmaps")])
    wanted = [rule("get delete", "configmaps secrets"), rule("get", "pods", resourceNames=["p"])]
    message = (
        'roles.rbac.authorization.k8s.io "r" is forbidden: user "ann" (groups=["people" "system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["configmaps"], Verbs:["delete"]}\n'
        '{APIGroups:[""], Resources:["pods"], ResourceNames:["p"], Verbs:["get"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}'
    )
    item = {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": wanted}
    answers = [
        await ann.put(f"{ROLES}/r", json=item),
        await ann.patch(f"{ROLES}/r", json={"rules": wanted}, headers=MERGE),
        await ann.patch(f"{ROLES}/r", json=item, headers=APPLY, params={"fieldManager": "ann", "force": "true"}),
        await ann.post(ROLES, json={**item, "metadata": {"name": "r"}}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["message"]) == (403, message)
    assert (await http.get(f"{ROLES}/r")).json()["rules"] == [rule("get", "configmaps")]
    marked = await ann.patch(f"{ROLES}/r", json={"metadata": {"finalizers": ["x.y/z"]}}, headers=MERGE)
    assert marked.status_code == 200


async def test_escalate_and_bind_are_verbs(app: ApiServer, ann: httpx2.AsyncClient, http: httpx2.AsyncClient) -> None:
    await allow(http, "ann", rule("escalate", "roles", [GROUP]), namespace="a", name="more")
    await posted(ann, ROLES, metadata={"name": "strong"}, rules=[rule("*", "*", ["*"])])
    binding = {"metadata": {"name": "b"}, "roleRef": reference("strong"), "subjects": [subject("ann")]}
    answer = await ann.post(BINDINGS, json=binding)
    assert answer.status_code == 403
    assert "is attempting to grant RBAC permissions not currently held" in answer.json()["message"]
    bind_one = rule("bind", "roles", [GROUP], resourceNames=["strong"])
    await allow(http, "ann", bind_one, namespace="a", name="binder")
    await posted(ann, BINDINGS, **binding)
    assert (await ann.get("/api/v1/namespaces/a/secrets")).status_code == 200


async def test_bindings_to_what_is_held_elsewhere_or_not_there(
    ann: httpx2.AsyncClient, http: httpx2.AsyncClient
) -> None:
    await role(http, "view-config", rule("get", "configmaps"))
    binding = {"metadata": {"name": "b"}, "roleRef": reference("view-config", "ClusterRole")}
    await posted(ann, BINDINGS, **binding, subjects=[subject("bob")])
    answer = await ann.post(BINDINGS, json={"metadata": {"name": "c"}, "roleRef": reference("none")})
    assert answer.status_code == 404
    assert answer.json()["message"] == 'roles.rbac.authorization.k8s.io "none" not found'
    # What ann has in a namespace she cannot give everywhere.
    await allow(http, "ann", rule("create", "clusterrolebindings clusterroles", [GROUP]), name="everywhere")
    wide = {"metadata": {"name": "w"}, "roleRef": reference("view-config", "ClusterRole")}
    assert (await ann.post(f"{RBAC}/clusterrolebindings", json=wide)).status_code == 403
    selector = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
    answer = await ann.post(f"{RBAC}/clusterroles", json={"metadata": {"name": "agg"}, "aggregationRule": selector})
    assert answer.json()["message"] == (
        'clusterroles.rbac.authorization.k8s.io "agg" is forbidden: must have cluster-admin privileges to use the '
        "aggregationRule"
    )


async def test_what_is_no_role(http: httpx2.AsyncClient) -> None:
    await role(http, "r", rule("get", "pods"), namespace="a")
    await bind(http, "b", "r", subject("ann"), namespace="a", kind="Role")
    answer = await http.patch(f"{BINDINGS}/b", json={"roleRef": reference("other")}, headers=MERGE)
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        (
            'RoleBinding.rbac.authorization.k8s.io "b" is invalid: roleRef: Invalid value: '
            '{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"other"}: cannot change roleRef'
        ),
    )
    wrong: list[tuple[str, dict[str, Any], str]] = [
        (ROLES, {"rules": [{"verbs": []}]}, "rules[0].verbs: Required value: verbs must contain at least one value"),
        (
            ROLES,
            {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
        ),
        (BINDINGS, {"roleRef": reference("r", "Pod")}, 'roleRef.kind: Unsupported value: "Pod"'),
        (
            f"{RBAC}/clusterrolebindings",
            {"roleRef": reference("r", "ClusterRole"), "subjects": [{"kind": "ServiceAccount", "name": "s"}]},
            "subjects[0].namespace: Required value",
        ),
        (
            BINDINGS,
            {"roleRef": reference("r"), "subjects": [{"kind": "Robot", "name": "s"}]},
            'subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"',
        ),
    ]
    for path, item, message in wrong:
        answer = await http.post(path, json={"metadata": {"name": "x"}, **item})
        assert answer.status_code == 422, answer.text
        assert message in answer.json()["message"]
    named = await http.post(ROLES, json={"metadata": {"name": "a/b"}, "rules": []})
    assert "may not contain '/'" in named.json()["message"]
    await posted(http, ROLES, metadata={"name": "system:a:b"}, rules=[])


async def test_apply_that_creates_needs_create(app: ApiServer, http: httpx2.AsyncClient) -> None:
    await allow(http, "bob", rule("patch get", "configmaps"), namespace="a")
    bob, path = person(app, "bob"), "/api/v1/namespaces/a/configmaps/new"
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}
    answer = await bob.patch(path, json=item, headers=APPLY, params={"fieldManager": "bob"})
    assert answer.json()["message"] == (
        'configmaps "new" is forbidden: User "bob" cannot create resource "configmaps" in API group "" in the '
        'namespace "a"'
    )
    await posted(http, "/api/v1/namespaces/a/configmaps", metadata={"name": "new"})
    assert (await bob.patch(path, json=item, headers=APPLY, params={"fieldManager": "bob"})).status_code == 200


async def test_hosts_of_routes(app: ApiServer, http: httpx2.AsyncClient) -> None:
    group = ["route.openshift.io"]
    await allow(http, "bob", rule("*", "routes", group), namespace="a")
    bob, path = person(app, "bob"), "/apis/route.openshift.io/v1/namespaces/a/routes"
    spec = {"to": {"kind": "Service", "name": "s"}}
    await posted(bob, path, metadata={"name": "free"}, spec=spec)
    for more, why in (
        (
            {"host": "x.example.com"},
            "spec.host: Forbidden: you do not have permission to set the host field of the route",
        ),
        (
            {"tls": {"termination": "edge", "key": "k"}},
            "spec.tls: Forbidden: you do not have permission to set certificate fields on the route",
        ),
    ):
        answer = await bob.post(path, json={"metadata": {"name": "r"}, "spec": {**spec, **more}})
        assert (answer.status_code, answer.json()["message"]) == (
            422,
            f'Route.route.openshift.io "r" is invalid: {why}',
        )
    changed = await bob.patch(f"{path}/free", json={"spec": {"host": "x.example.com"}}, headers=MERGE)
    assert 'spec.host: Invalid value: "x.example.com": field is immutable' in changed.json()["message"]
    await allow(http, "bob", rule("create update", "routes/custom-host", group), namespace="a", name="hosts")
    await posted(bob, path, metadata={"name": "r"}, spec={**spec, "host": "y.example.com"})
    changed = await bob.patch(f"{path}/free", json={"spec": {"host": "x.example.com"}}, headers=MERGE)
    assert changed.status_code == 200, changed.text


async def who(client: httpx2.AsyncClient, **headers: str | list[str]) -> httpx2.Response:
    named = [
        (f"impersonate-{key.replace('_', '-')}", value)
        for key, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return await client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={}, headers=named)


async def test_impersonation(app: ApiServer, http: httpx2.AsyncClient) -> None:
    anybody = rule("create", "selfsubjectreviews", ["authentication.k8s.io"])
    await role(http, "anybody", anybody)
    await bind(http, "anybody", "anybody", subject("system:authenticated", "Group"), subject("g", "Group"))
    await allow(
        http,
        "ann",
        rule("impersonate", "users groups serviceaccounts", resourceNames=["bob", "g", "robot"]),
        rule("impersonate", "userextras/scopes uids", ["authentication.k8s.io"], resourceNames=["some", "1"]),
    )
    ann = person(app, "ann")
    said = await who(ann, user="bob", group=["g"], uid="1", extra_Scopes="some")
    assert said.json()["status"]["userInfo"] == {
        "username": "bob",
        "uid": "1",
        "groups": ["g", "system:authenticated"],
        "extra": {"scopes": ["some"]},
    }
    said = await who(ann, user="system:serviceaccount:a:robot")
    assert said.json()["status"]["userInfo"] == {
        "username": "system:serviceaccount:a:robot",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"],
    }
    for headers, why in (
        ({"user": "eve"}, 'users "eve" is forbidden: User "ann" cannot impersonate resource "users" in API group ""'),
        ({"user": "bob", "group": "system:masters"}, 'groups "system:masters" is forbidden'),
        ({"user": "bob", "group": ["g", "system:masters"]}, 'groups "system:masters" is forbidden'),
        ({"user": "system:serviceaccount:a:other"}, 'serviceaccounts "other" is forbidden'),
        ({"user": "system:anonymous"}, 'users "system:anonymous" is forbidden'),
        ({"user": "bob", "uid": "2"}, 'uids.authentication.k8s.io "2" is forbidden'),
        ({"user": "bob", "extra_other": "some"}, 'userextras.authentication.k8s.io "some" is forbidden'),
        ({"user": "bob", "extra_scopes": ["some", "all"]}, 'userextras.authentication.k8s.io "all" is forbidden'),
    ):
        answer = await who(ann, **headers)
        assert answer.status_code == 403
        assert why in answer.json()["message"]
    assert (await who(ann, group="g")).status_code == 400
    assert (await who(ann, user="bob", groups="g")).status_code == 400
    nobody = httpx2.AsyncClient(transport=Outside(app), base_url="http://api")
    assert (await who(nobody, user="bob")).status_code == 401
    # Who acts as another has the other's rights and no more.
    assert (
        (await ann.get("/api/v1/pods", headers={"impersonate-user": "bob"}))
        .json()["message"]
        .startswith('pods is forbidden: User "bob" cannot list')
    )


async def test_masters_are_masters_by_their_group(app: ApiServer, http: httpx2.AsyncClient) -> None:
    boss = person(app, "boss", "system:masters")
    assert (await boss.get("/api/v1/pods")).status_code == 200
    transport = Outside(app, Certificate("system:admin", (), "00", 0, 2**40))
    named_so = httpx2.AsyncClient(transport=transport, base_url="http://api")
    assert (await named_so.get("/api/v1/pods")).status_code == 403


async def test_reviews(app: ApiServer, http: httpx2.AsyncClient) -> None:
    base = "/apis/authorization.k8s.io/v1"
    await allow(http, "bob", rule("get", "pods/log"), namespace="a")
    asked = {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "a"}
    said = await posted(http, f"{base}/subjectaccessreviews", spec={"user": "bob", "resourceAttributes": asked})
    reason = 'RBAC: allowed by RoleBinding "test/a" of Role "test" to User "bob"'
    assert said["status"] == {"allowed": True, "reason": reason}
    elsewhere = {"user": "bob", "resourceAttributes": {**asked, "namespace": "b"}}
    assert (await posted(http, f"{base}/subjectaccessreviews", spec=elsewhere))["status"] == {"allowed": False}
    local = f"{base}/namespaces/a/localsubjectaccessreviews"
    assert (await posted(http, local, spec={"user": "bob", "resourceAttributes": asked}))["status"]["allowed"]
    for path, spec in (
        (local, elsewhere),
        (f"{base}/subjectaccessreviews", {"user": "bob"}),
        (f"{base}/subjectaccessreviews", {"resourceAttributes": asked}),
        (f"{base}/selfsubjectaccessreviews", {"resourceAttributes": asked, "nonResourceAttributes": {"path": "/"}}),
    ):
        assert (await http.post(path, json={"spec": spec})).status_code == 422
    await bootstrap.ensure(http)
    bob = person(app, "bob")
    rules = (await posted(bob, f"{base}/selfsubjectrulesreviews", spec={"namespace": "a"}))["status"]
    assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]} in rules["resourceRules"]
    assert {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]} in rules[
        "nonResourceRules"
    ]
    assert (await bob.post(f"{base}/subjectaccessreviews", json={"spec": elsewhere})).status_code == 403


async def test_default_roles_are_made_and_mended(store: Store, http: httpx2.AsyncClient) -> None:
    await bootstrap.ensure(http)
    version = store.committed
    await bootstrap.ensure(http)
    assert store.committed == version  # nothing to do, nothing written
    discovery = f"{RBAC}/clusterroles/system:discovery"
    full = (await http.get(discovery)).json()
    less = [{"verbs": ["get"], "nonResourceURLs": ["/api", "/mine"]}]
    await http.patch(discovery, json={"rules": less, "metadata": {"labels": None}}, headers=MERGE)
    await http.patch(f"{RBAC}/clusterrolebindings/cluster-admin", json={"subjects": []}, headers=MERGE)
    keep = {"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": []}
    await http.patch(f"{RBAC}/clusterroles/system:basic-user", json=keep, headers=MERGE)
    await http.delete(f"{RBAC}/clusterroles/kserve-view")
    await http.delete(f"{RBAC}/clusterrolebindings/system:discovery")
    await bind(http, "system:discovery", "view", subject("eve"))
    await bootstrap.ensure(http)
    mended = (await http.get(discovery)).json()
    assert mended["rules"][0] == less[0]
    assert mended["metadata"]["labels"] == full["metadata"]["labels"]
    authorizer = Authorizer(Roles(store))
    anybody = User("ann", groups=("system:authenticated",))
    for path in ("/api", "/apis/apps/v1", "/openapi/v3", "/mine"):
        assert authorizer.may(anybody, Asked("get", path=path)), path
    assert not authorizer.may(anybody, Asked("get", path="/metrics"))
    assert not authorizer.may(User("eve"), Asked("get", path="/api"))
    assert (await http.get(f"{RBAC}/clusterroles/system:basic-user")).json()["rules"] == []
    assert (await http.get(f"{RBAC}/clusterroles/kserve-view")).status_code == 200
    boss = (await http.get(f"{RBAC}/clusterrolebindings/cluster-admin")).json()
    assert [one["name"] for one in boss["subjects"]] == ["system:masters"]


@pytest.mark.parametrize("stream", ["exec", "attach", "portforward"])
async def test_who_may_only_read_opens_no_stream(app: ApiServer, http: httpx2.AsyncClient, stream: str) -> None:
    """A WebSocket begins with a GET."""
    await allow(http, "ann", rule("get", "pods pods/exec pods/attach pods/portforward"), namespace="a")
    answer = await person(app, "ann", "people").get(f"/api/v1/namespaces/a/pods/p/{stream}")
    assert answer.status_code == 403
    assert f'cannot create resource "pods/{stream}" in API group ""' in answer.json()["message"]
