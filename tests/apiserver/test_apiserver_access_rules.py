"""The authorizer against a plain reading of the rules, with random roles, bindings and requests."""

from typing import Any

import httpx2
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.apiserver.people import GROUP, RBAC, allow, bind, person, posted, role, rule, subject

from skerry.api.rbac_rules import Asked, Rule, allows, compacted, missing, rules_of
from skerry.cluster.apiserver.access.authorizer import Authorizer
from skerry.cluster.apiserver.access.roles import Roles
from skerry.cluster.apiserver.access.users import User, administrator
from skerry.cluster.apiserver.app import ApiServer
from skerry.cluster.store import Key, Listing, Store

# Few words, so that rules and requests meet often.
VERBS, GROUPS, NAMES, PLACES = ["get", "list", "bind"], ["", "apps"], ["", "x", "y"], ["", "a", "b"]
RESOURCES, SUBRESOURCES, PATHS = ["pods", "jobs"], ["", "log", "status"], ["/api", "/api/v1", "/apis"]
USERS = ["ann", "bob", "system:serviceaccount:a:s"]


def some(*words: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=2)


RESOURCE_RULES = st.fixed_dictionaries(
    {
        "verbs": some(*VERBS, "*"),
        "apiGroups": some(*GROUPS, "*"),
        "resources": some("pods", "jobs", "pods/log", "*/status", "*/log", "*"),
    },
    optional={"resourceNames": some("x", "y")},
)
URL_RULES = st.fixed_dictionaries({"verbs": some(*VERBS, "*"), "nonResourceURLs": some("/api", "/api/*", "/ap*", "*")})
RULES = st.lists(st.one_of(RESOURCE_RULES, URL_RULES), max_size=3)
ASKED = st.one_of(
    st.builds(
        Asked,
        st.sampled_from(VERBS),
        st.sampled_from(GROUPS),
        st.sampled_from(RESOURCES),
        st.sampled_from(SUBRESOURCES),
        st.sampled_from(PLACES),
        st.sampled_from(NAMES),
    ),
    st.builds(Asked, st.sampled_from(VERBS), path=st.sampled_from(PATHS)),
)


def plainly(rule: dict[str, Any], asked: Asked) -> bool:
    """Say what one rule allows, word for word as Kubernetes' documentation has it."""
    if asked.verb not in rule["verbs"] and "*" not in rule["verbs"]:
        return False
    if asked.path:
        for url in rule.get("nonResourceURLs", []):
            if url in {"*", asked.path} or (url[-1] == "*" and asked.path[: len(url) - 1] == url[:-1]):
                return True
        return False
    if asked.group not in rule.get("apiGroups", []) and "*" not in rule.get("apiGroups", []):
        return False
    full = asked.resource + ("/" + asked.subresource if asked.subresource else "")
    fitting = {"*", full} | ({"*/" + asked.subresource} if asked.subresource else set())
    if not fitting & set(rule.get("resources", [])):
        return False
    return "resourceNames" not in rule or asked.name in rule["resourceNames"]


@given(RULES, ASKED)
def test_a_rule_allows_what_its_words_say(rules: list[dict[str, Any]], asked: Asked) -> None:
    for one in rules:
        assert allows(Rule.read(one), asked) is plainly(one, asked)
        assert Rule.read(Rule.read(one).written()) == Rule.read(one)


@settings(max_examples=150)
@given(RULES, RULES, ASKED)
def test_who_lacks_nothing_may_do_all_of_it(
    held: list[dict[str, Any]], wanted: list[dict[str, Any]], asked: Asked
) -> None:
    held_rules, wanted_rules = rules_of({"rules": held}), rules_of({"rules": wanted})
    lacking = missing(held_rules, wanted_rules)
    if not lacking and any(plainly(one, asked) for one in wanted):
        assert any(plainly(one, asked) for one in held)
    # What is lacking is enough, and so is its short form.
    assert missing([*held_rules, *lacking], wanted_rules) == []
    assert missing([*held_rules, *compacted(lacking)], wanted_rules) == []


ROLES = st.dictionaries(
    st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["r", "s"])), RULES, min_size=1, max_size=4
)
SUBJECTS = st.one_of(
    st.builds(subject, st.sampled_from(["ann", "bob"])),
    st.builds(subject, st.sampled_from(["g", "h"]), st.just("Group")),
    st.builds(subject, st.just("s"), st.just("ServiceAccount"), st.just("a")),
)
BINDINGS = st.lists(
    st.tuples(
        st.sampled_from(PLACES),
        st.sampled_from(["Role", "ClusterRole"]),
        st.sampled_from(["r", "s"]),
        st.lists(SUBJECTS, max_size=2),
    ),
    max_size=5,
)


def has(user: User, one: dict[str, str]) -> bool:
    match one["kind"]:
        case "User":
            return one["name"] == user.name
        case "Group":
            return one["name"] in user.groups
        case _:
            return user.name == f"system:serviceaccount:{one['namespace']}:{one['name']}"


class Held:
    """A store with nothing but these objects, as the index reads it."""

    def __init__(self, items: list[tuple[Key, dict[str, Any]]]) -> None:
        self.committed = 0
        self._items = items

    def listen(self, listener: Any) -> None:
        pass

    def list_objects(self, resource: str) -> Listing:
        found = [msgspec.json.encode(item) for key, item in self._items if key.resource == resource]
        return Listing(0, found, None, 0)


@settings(max_examples=150, deadline=None)
@given(ROLES, BINDINGS, st.sampled_from(USERS), st.sets(st.sampled_from(["g", "h"])), ASKED)
def test_decisions_are_those_of_a_plain_evaluation(
    roles: dict[tuple[str, str], list[dict[str, Any]]],
    bindings: list[tuple[str, str, str, list[dict[str, str]]]],
    name: str,
    groups: set[str],
    asked: Asked,
) -> None:
    user = User(name, groups=tuple(groups))
    expected = False
    items: list[tuple[Key, dict[str, Any]]] = []
    for (namespace, role_name), rules in roles.items():
        resource = f"{GROUP}/roles" if namespace else f"{GROUP}/clusterroles"
        meta = {"name": role_name, "namespace": namespace}
        items.append((Key(resource, namespace, role_name), {"metadata": meta, "rules": rules}))
    for number, (namespace, kind, role_name, subjects) in enumerate(bindings):
        resource = f"{GROUP}/rolebindings" if namespace else f"{GROUP}/clusterrolebindings"
        meta = {"name": str(number), "namespace": namespace}
        item = {"metadata": meta, "roleRef": {"kind": kind, "name": role_name}, "subjects": subjects}
        items.append((Key(resource, namespace, str(number)), item))
        applies = not namespace or (not asked.path and namespace == asked.namespace)
        held = roles.get((namespace if kind == "Role" else "", role_name), [])
        if applies and any(has(user, one) for one in subjects) and any(plainly(one, asked) for one in held):
            expected = True
    store: Any = Held(items)
    authorizer = Authorizer(Roles(store))
    assert authorizer.may(user, asked) is expected
    assert authorizer.decide(user, asked).allowed is expected
    assert any(allows(one, asked) for one in authorizer.held(user, asked.namespace).rules) is expected
    assert authorizer.may(administrator("root"), asked)


async def test_an_acknowledged_binding_holds_with_the_next_request(app: ApiServer, http: httpx2.AsyncClient) -> None:
    await role(http, "reader", rule("get list", "configmaps"))
    ann, path = person(app, "ann"), "/api/v1/namespaces/a/configmaps"
    for turn in range(30):
        await bind(http, f"b{turn}", "reader", subject("ann"), namespace="a")
        assert (await ann.get(path)).status_code == 200, turn
        gone = await http.delete(f"{RBAC}/namespaces/a/rolebindings/b{turn}")
        assert gone.status_code == 200
        assert (await ann.get(path)).status_code == 403, turn


async def test_a_changed_role_holds_with_the_next_request(app: ApiServer, http: httpx2.AsyncClient) -> None:
    await allow(http, "ann", rule("list", "configmaps"))
    ann = person(app, "ann")
    headers = {"content-type": "application/merge-patch+json"}
    for verb, code in (("get", 403), ("list", 200), ("watch", 403), ("*", 200)):
        changed = {"rules": [rule(verb, "configmaps")]}
        assert (await http.patch(f"{RBAC}/clusterroles/test", json=changed, headers=headers)).status_code == 200
        assert (await ann.get("/api/v1/configmaps")).status_code == code
    assert (await http.delete(f"{RBAC}/clusterroles/test")).status_code == 200
    answer = await ann.get("/api/v1/configmaps")
    assert answer.json()["message"] == (
        'configmaps is forbidden: User "ann" cannot list resource "configmaps" in API group "" at the cluster scope: '
        'RBAC: clusterroles.rbac.authorization.k8s.io "test" not found'
    )


async def test_roles_are_there_after_a_restart(store: Store, http: httpx2.AsyncClient) -> None:
    await allow(http, "ann", rule("get", "pods"), namespace="a")
    await bind(http, "others", "test", subject("readers", "Group"), kind="ClusterRole")
    authorizer = Authorizer(Roles(store))
    assert authorizer.may(User("ann"), Asked("get", resource="pods", namespace="a"))
    assert not authorizer.may(User("ann"), Asked("get", resource="pods", namespace="b"))
    decision = authorizer.decide(User("ann"), Asked("get", resource="pods", namespace="a"))
    assert decision.reason == 'RBAC: allowed by RoleBinding "test/a" of Role "test" to User "ann"'
    await posted(http, f"{RBAC}/namespaces/a/roles", metadata={"name": "late"}, rules=[rule("list", "pods")])
    await bind(http, "late", "late", subject("s", "ServiceAccount", "b"), namespace="a", kind="Role")
    robot = User("system:serviceaccount:b:s")
    assert authorizer.decide(robot, Asked("list", resource="pods", namespace="a")).reason == (
        'RBAC: allowed by RoleBinding "late/a" of Role "late" to ServiceAccount "s/b"'
    )
