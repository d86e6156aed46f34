"""ClusterRoles that are put together of others, and Secrets with tokens, by the controllers on the real API server."""

import base64
from typing import Any

from lightkube.models.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from lightkube.models.rbac_v1 import AggregationRule, PolicyRule
from lightkube.resources.core_v1 import Secret, ServiceAccount
from lightkube.resources.rbac_authorization_v1 import ClusterRole
from tests.controllers.cluster import Cluster

from skerry.api.wellknown import SERVICE_ACCOUNT_NAME_ANNOTATION, SERVICE_ACCOUNT_TOKEN
from skerry.cluster.controllers.account_token import plan
from skerry.cluster.controllers.cluster_role import aggregated
from skerry.cluster.controllers.ownership import meta


def rule(verb: str) -> PolicyRule:
    return PolicyRule(verbs=[verb], apiGroups=[""], resources=["pods"])


def part(name: str, *verbs: str, **labels: str) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name, labels=labels or None), rules=[rule(verb) for verb in verbs])


def whole(name: str = "whole", **labels: str) -> ClusterRole:
    selectors = [LabelSelector(matchLabels={key: value}) for key, value in labels.items()]
    return ClusterRole(metadata=ObjectMeta(name=name), aggregationRule=AggregationRule(clusterRoleSelectors=selectors))


def test_rules_are_gathered_once_and_in_order_of_the_names() -> None:
    parts = [part("z", "get", "list", to="x"), part("a", "watch", "get", to="x"), part("m", "patch", to="y")]
    found = aggregated(whole(to="x"), [*parts, whole(to="x")])
    assert found is not None
    assert [one.verbs for one in found] == [["watch"], ["get"], ["list"]]
    assert aggregated(parts[0], parts) is None
    assert aggregated(whole(to="none"), parts) == []
    bad = LabelSelector(matchExpressions=[LabelSelectorRequirement(key="to", operator="Sideways")])
    broken = ClusterRole(metadata=ObjectMeta(name="b"), aggregationRule=AggregationRule(clusterRoleSelectors=[bad]))
    assert aggregated(broken, parts) == []


async def test_a_role_follows_its_parts(cluster: Cluster) -> None:
    def verbs(name: str) -> list[list[str]]:
        found = cluster.find(ClusterRole, name, "")
        return [one.verbs for one in (found.rules or [])] if found else []

    lesser = whole("lesser", to="lesser")
    meta(lesser).labels = {"to": "greater"}
    await cluster.create(whole("greater", to="greater"), lesser, part("one", "get", to="lesser"))
    await cluster.until(lambda: verbs("greater") == [["get"]] == verbs("lesser"))
    await cluster.create(part("two", "list", to="greater"))
    await cluster.until(lambda: verbs("greater") == [["get"], ["list"]])
    await cluster.patch(cluster.get(ClusterRole, "greater", ""), {"rules": []})  # what a person writes there is undone
    await cluster.until(lambda: verbs("greater") == [["get"], ["list"]])
    await cluster.client.delete(ClusterRole, "one")
    await cluster.until(lambda: verbs("greater") == [["list"]] and verbs("lesser") == [])


def a_secret(name: str, account: str, uid: str = "", **data: str) -> Secret:
    annotations = {SERVICE_ACCOUNT_NAME_ANNOTATION: account} | (
        {"kubernetes.io/service-account.uid": uid} if uid else {}
    )
    metadata = ObjectMeta(name=name, namespace="ai-demo", annotations=annotations)
    return Secret(metadata=metadata, type=SERVICE_ACCOUNT_TOKEN, data=data or None)


def test_what_is_done_with_a_secret() -> None:
    account = ServiceAccount(metadata=ObjectMeta(name="robot", namespace="ai-demo", uid="1"))
    full = {"token": "x", "ca.crt": "x", "namespace": "x"}
    cases: list[tuple[Any, Any, bool, str]] = [
        (a_secret("s", "robot"), account, False, "write"),
        (a_secret("s", "robot", "1", **full), account, True, "keep"),
        (a_secret("s", "robot", "1", **full), account, False, "write"),  # the key may be another since the last start
        (a_secret("s", "robot", "1", token="x"), account, True, "write"),
        (a_secret("s", "robot", "2", **full), account, True, "delete"),
        (a_secret("s", "robot", "1", **full), None, True, "delete"),
    ]
    for secret, known, seen, expected in cases:
        assert plan(secret, known, seen=seen) == expected


async def test_a_secret_lives_as_long_as_its_account(cluster: Cluster) -> None:
    def filled(name: str) -> bool:
        found = cluster.find(Secret, name)
        return found is not None and {"token", "ca.crt", "namespace"} <= set(found.data or {})

    robot = ServiceAccount(metadata=ObjectMeta(name="robot", namespace="ai-demo"))
    await cluster.create(robot, a_secret("s", "robot"))
    await cluster.until(lambda: filled("s"))
    data = cluster.get(Secret, "s").data or {}
    assert base64.b64decode(data["token"]).count(b".") == 2
    await cluster.patch(cluster.get(Secret, "s"), {"data": {"token": None}})  # taken out by mistake
    await cluster.until(lambda: filled("s"))
    await cluster.client.delete(ServiceAccount, "robot", namespace="ai-demo")
    await cluster.until(lambda: cluster.find(Secret, "s") is None)
    await cluster.create(a_secret("orphan", "nobody"))
    await cluster.until(lambda: cluster.find(Secret, "orphan") is None)
