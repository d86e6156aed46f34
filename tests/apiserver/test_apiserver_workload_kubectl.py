"""Two real kubectls on what is no plain object: scaling, draining, usage, jobs, autoscalers.

No controllers and no node run here; where figures are asked for, the test says what they are.
"""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.deployments import deployment
from tests.apiserver.kubectl import Kubectl, kubectls, make_certificates, serving

from skerry.api.kinds import REGISTRY
from skerry.api.metrics import Amounts, NodeUsage, PodUsage
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.store import Key, Store
from skerry.daemon.certificates import Pki
from skerry.kit.clock import SystemClock

PROGRAMS = kubectls()
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")
AT = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = timedelta(seconds=15)
STORED = {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}


class Figures:
    """What the node would say."""

    def __init__(self) -> None:
        self.of_pods: dict[str, PodUsage] = {}
        self.of_node: tuple[str, NodeUsage] | None = None

    def pods(self) -> Mapping[str, PodUsage]:
        return self.of_pods

    def node(self) -> tuple[str, NodeUsage] | None:
        return self.of_node


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_certificates(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture(params=sorted(PROGRAMS))
async def kubectl(
    request: pytest.FixtureRequest, store: Store, pki: Pki, tmp_path: Path, figures: Figures
) -> AsyncIterator[Kubectl]:
    tokens = Tokens({token_hash(pki.admin_token.read_text()): "system:admin"})
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs, usage=figures))
    for kind, name in (("Namespace", "default"), ("Namespace", "kube-system"), ("Node", "skerry")):
        item: dict[str, Any] = {"apiVersion": "v1", "kind": kind, "metadata": {**STORED, "name": name}}
        if kind == "Node":
            item["status"] = {"allocatable": {"cpu": "2", "memory": "2Gi"}}
        await store.create(Key(f"/{kind.lower()}s", "", name), item)
    async with serving(app, pki, tmp_path / "kubeconfig"):
        yield Kubectl(PROGRAMS[request.param], tmp_path, tmp_path / "kubeconfig")


async def as_json(kubectl: Kubectl, *arguments: str) -> Any:
    return json.loads(await kubectl("get", *arguments, "-o", "json"))


async def make_pod(
    kubectl: Kubectl, name: str, *, node: str = "skerry", owner: str = "ReplicaSet", **labels: str
) -> str:
    """Make a pod on the node; returns its uid."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example.com/p:1"}]},
    }
    if owner:
        pod["metadata"] |= {  # type: ignore[operator]
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner, "name": "rs", "uid": "u", "controller": True}]
        }
    await kubectl("create", "-f", "-", stdin=json.dumps(pod))
    return str((await as_json(kubectl, "pod", name))["metadata"]["uid"])


async def test_scale(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=json.dumps(deployment("web", replicas=2)))
    assert await kubectl("scale", "deployment", "web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert (
        await kubectl("scale", "deploy/web", "--current-replicas=3", "--replicas=4") == "deployment.apps/web scaled\n"
    )
    wrong = await kubectl.refused("scale", "deploy/web", "--current-replicas=3", "--replicas=5")
    assert wrong == "error: Expected replicas to be 3, was 4\n"
    version = (await as_json(kubectl, "deploy", "web"))["metadata"]["resourceVersion"]
    await kubectl("scale", "deploy/web", f"--resource-version={version}", "--replicas=5")
    late = await kubectl.refused("scale", "deploy/web", f"--resource-version={version}", "--replicas=6")
    assert f"Expected resource version to be {version}" in late
    found = await as_json(kubectl, "deploy", "web")
    assert found["spec"]["replicas"] == 5
    view = await kubectl("get", "deployment", "web", "--subresource=scale")
    assert [line.split()[:3] for line in view.splitlines()] == [["NAME", "DESIRED", "AVAILABLE"], ["web", "5", "0"]]
    gone = await kubectl.refused("scale", "deploy/nope", "--replicas=1")
    assert 'deployments.apps "nope" not found' in gone
    unfit = await kubectl.refused("scale", "service/nope", "--replicas=1")
    assert "not found" in unfit or "could not find the requested resource" in unfit


async def test_cordon_and_drain(kubectl: Kubectl) -> None:
    for name in ("one", "two"):
        await make_pod(kubectl, name, owner="ReplicaSet", app="web")
    await make_pod(kubectl, "bare", owner="", app="web")
    assert await kubectl("cordon", "skerry") == "node/skerry cordoned\n"
    assert "SchedulingDisabled" in await kubectl("get", "node", "skerry")
    assert await kubectl("uncordon", "skerry") == "node/skerry uncordoned\n"
    refused = await kubectl.run("drain", "skerry")
    assert refused.code == 1
    assert "cannot delete" in refused.err
    assert "use --force to override" in refused.err
    dry = await kubectl.run("drain", "skerry", "--force", "--dry-run=server")
    assert dry.code == 0, dry
    assert len((await as_json(kubectl, "pods"))["items"]) == 3
    # Nobody ends the pods here: with no time to end in, they are gone at once.
    drained = await kubectl.run("drain", "skerry", "--force", "--grace-period=0", "--ignore-daemonsets")
    assert (drained.code, drained.out.splitlines()[-1]) == (0, "node/skerry drained"), drained
    assert sorted(line for line in drained.out.splitlines() if "evicted" in line) == [
        "pod/bare evicted",
        "pod/one evicted",
        "pod/two evicted",
    ]
    assert (await as_json(kubectl, "pods"))["items"] == []


async def test_an_evicted_pod_is_told_why(kubectl: Kubectl) -> None:
    await make_pod(kubectl, "one")
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one"}})
    path = "/api/v1/namespaces/default/pods/one/eviction"
    answer = json.loads(await kubectl("create", "--raw", path, "-f", "-", stdin=body))
    assert answer["status"] == "Success"
    found = await as_json(kubectl, "pod", "one")
    told = [each for each in found["status"]["conditions"] if each["type"] == "DisruptionTarget"]
    assert [(each["status"], each["reason"]) for each in told] == [("True", "EvictionByEvictionAPI")]
    assert found["metadata"]["deletionGracePeriodSeconds"] == 30
    other = body.replace('"one"', '"two"')
    assert "name in URL does not match" in await kubectl.refused("create", "--raw", path, "-f", "-", stdin=other)


async def test_top(kubectl: Kubectl, figures: Figures) -> None:
    assert "metrics not available yet" in await kubectl.refused("top", "node")
    one, two = await make_pod(kubectl, "one", app="a"), await make_pod(kubectl, "two", app="b")
    await make_pod(kubectl, "young", app="a")
    await kubectl("create", "namespace", "other")
    figures.of_pods = {
        one: PodUsage(AT, WINDOW, {"main": Amounts(12_300_000, 30 << 20), "side": Amounts(500, 1 << 20)}),
        two: PodUsage(AT, WINDOW, {"main": Amounts(250_000_000, 5 << 20)}),
    }
    figures.of_node = ("skerry", NodeUsage(AT, WINDOW, Amounts(1_000_000_000, 512 << 20)))
    rows = [line.split() for line in (await kubectl("top", "pod")).splitlines()]
    assert rows == [["NAME", "CPU(cores)", "MEMORY(bytes)"], ["one", "13m", "31Mi"], ["two", "250m", "5Mi"]]
    assert [row.split()[0] for row in (await kubectl("top", "pod", "--sort-by=cpu", "--no-headers")).splitlines()] == [
        "two",
        "one",
    ]
    chosen = await kubectl("top", "pod", "-A", "-l", "app=a", "--containers", "--no-headers")
    assert [row.split() for row in chosen.splitlines()] == [
        ["default", "one", "main", "13m", "30Mi"],
        ["default", "one", "side", "1m", "1Mi"],
    ]
    node = [line.split() for line in (await kubectl("top", "node")).splitlines()]
    assert node == [
        ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"],
        ["skerry", "1000m", "50%", "512Mi", "25%"],
    ]
    assert "No resources found in other namespace." in (await kubectl.run("top", "pod", "-n", "other")).err
    young = await kubectl.refused("top", "pod", "young")
    assert 'podmetrics.metrics.k8s.io "default/young" not found' in young or "not found" in young


async def test_metrics_are_objects_too(kubectl: Kubectl, figures: Figures) -> None:
    uid = await make_pod(kubectl, "one", app="a")
    figures.of_pods = {uid: PodUsage(AT, WINDOW, {"main": Amounts(1_500_000, 3 << 20)})}
    figures.of_node = ("skerry", NodeUsage(AT, WINDOW, Amounts(0, 512 << 20)))
    assert await as_json(kubectl, "podmetrics", "one") == {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {
            "name": "one",
            "namespace": "default",
            "labels": {"app": "a"},
            "creationTimestamp": "2026-03-01T00:00:00Z",
        },
        "timestamp": "2026-03-01T00:00:00Z",
        "window": "15s",
        "containers": [{"name": "main", "usage": {"cpu": "1500000n", "memory": "3072Ki"}}],
    }
    table = await kubectl("get", "pods.metrics.k8s.io")
    assert [line.split() for line in table.splitlines()] == [
        ["NAME", "CPU", "MEMORY", "WINDOW"],
        ["one", "1500u", "3Mi", "15s"],
    ]
    node = await as_json(kubectl, "nodes.metrics.k8s.io")
    assert [item["usage"] for item in node["items"]] == [{"cpu": "0", "memory": "524288Ki"}]
    assert (await as_json(kubectl, "pods.metrics.k8s.io", "-l", "app=b"))["items"] == []


async def test_jobs_are_made_and_shown(kubectl: Kubectl) -> None:
    """Both send protobuf."""
    said = await kubectl("create", "job", "hi", "--image=example.com/hi:1", "--", "echo", "hello")
    assert said == "job.batch/hi created\n"
    found = await as_json(kubectl, "job", "hi")
    uid = found["metadata"]["uid"]
    assert found["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert found["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    table = await kubectl("get", "jobs")
    assert [line.split() for line in table.splitlines()] == [
        ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"],
        ["hi", "Running", "0/1", *table.splitlines()[1].split()[3:]],
    ]
    assert "Parallelism:      1" in await kubectl("describe", "job", "hi")
    refused = await kubectl.refused("patch", "job", "hi", "-p", '{"spec": {"completions": 4}}')
    assert "field is immutable" in refused
    await kubectl("patch", "job", "hi", "-p", '{"spec": {"suspend": true}}')
    assert "job.batch" in await kubectl("delete", "job", "hi")


async def test_a_client_that_does_not_say_keeps_the_pods_of_a_job(kubectl: Kubectl) -> None:
    await kubectl("create", "job", "hi", "--image=example.com/hi:1")
    await kubectl("delete", "--raw", "/apis/batch/v1/namespaces/default/jobs/hi")
    assert (await as_json(kubectl, "job", "hi"))["metadata"]["finalizers"] == ["orphan"]


async def test_autoscalers_are_made_and_shown(kubectl: Kubectl) -> None:
    """The older kubectl sends autoscaling/v1, the newer v2; both are one object."""
    await kubectl("create", "-f", "-", stdin=json.dumps(deployment("web")))
    said = await kubectl.run("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu-percent=70")
    assert (said.code, said.out) == (0, "horizontalpodautoscaler.autoscaling/web autoscaled\n"), said
    found = await as_json(kubectl, "hpa", "web")
    assert found["apiVersion"] == "autoscaling/v2"
    assert found["spec"]["metrics"] == [
        {
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
        }
    ]
    old = await as_json(kubectl, "horizontalpodautoscalers.v1.autoscaling", "web")
    assert old["spec"]["targetCPUUtilizationPercentage"] == 70
    assert old["metadata"]["uid"] == found["metadata"]["uid"]
    row = (await kubectl("get", "hpa", "--no-headers")).split()
    assert row[:7] == ["web", "Deployment/web", "cpu:", "<unknown>/70%", "2", "5", "0"]
    assert "resource cpu on pods" in await kubectl("describe", "hpa", "web")
    refused = await kubectl.refused("patch", "hpa", "web", "-p", '{"spec": {"minReplicas": 9}}')
    assert "must be greater than or equal to `minReplicas`" in refused
