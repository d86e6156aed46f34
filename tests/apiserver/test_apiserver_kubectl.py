"""Two real kubectls, an older and a newer one, against a real HTTPS server: what people type, and what they see.

No controllers run, so nothing becomes ready by itself; the tests write the status where one is waited for.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import Kubectl, columns, kubectls, make_certificates, serving

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.store import Key, Store
from skerry.daemon.certificates import Pki
from skerry.kit.clock import SystemClock

PROGRAMS = kubectls()
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: example.com/web:1
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        ports: [{containerPort: 8080}]
"""
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "default", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"finalizers": ["kubernetes"]},
    "status": {"phase": "Active"},
}
ISVC = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: demo}
spec: {predictor: {model: {modelFormat: {name: onnx}, storageUri: "oci://example.com/m:1"}}}
"""


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_certificates(tmp_path_factory.mktemp("pki") / "pki")


@asynccontextmanager
async def talking(program: str, store: Store, pki: Pki, home: Path) -> AsyncIterator[Kubectl]:
    tokens = Tokens({token_hash(pki.admin_token.read_text()): "system:admin"})
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs))
    await store.create(Key("/namespaces", "", "default"), NAMESPACE)
    async with serving(app, pki, home / "kubeconfig"):
        yield Kubectl(PROGRAMS[program], home, home / "kubeconfig")


@pytest.fixture
async def kubectl(store: Store, pki: Pki, tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with talking(min(PROGRAMS), store, pki, tmp_path) as run:
        yield run


@pytest.fixture(params=sorted(PROGRAMS))
async def each_kubectl(
    request: pytest.FixtureRequest, store: Store, pki: Pki, tmp_path: Path
) -> AsyncIterator[Kubectl]:
    """For what differs between versions: what is sent as protobuf, how watches and lists are asked for."""
    async with talking(request.param, store, pki, tmp_path) as run:
        yield run


async def as_json(kubectl: Kubectl, *arguments: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(await kubectl("get", *arguments, "-o", "json"))
    return decoded


async def test_things_are_made(each_kubectl: Kubectl) -> None:
    """Each of these sends protobuf, since the typed client of kubectl prefers it."""
    kubectl = each_kubectl
    made = [
        await kubectl("create", "namespace", "ai-demo"),
        await kubectl("create", "configmap", "c", "--from-literal=k=v"),
        await kubectl("create", "secret", "generic", "s", "--from-literal=user=me"),
        await kubectl("create", "serviceaccount", "robot"),
        await kubectl("create", "deployment", "web", "--image=example.com/web:1", "--replicas=2", "--port=80"),
        await kubectl("create", "service", "clusterip", "web", "--tcp=80:8080"),
        await kubectl("create", "service", "clusterip", "none", "--clusterip=None"),
        await kubectl("expose", "deployment", "web", "--name=exposed", "--port=80", "--target-port=http"),
        await kubectl("run", "p", "--image=example.com/p:1", "--env=A=b", "--command", "--", "sleep", "1"),
        await kubectl("create", "-f", "-", stdin=ISVC),
    ]
    assert [line.strip() for line in made] == [
        "namespace/ai-demo created",
        "configmap/c created",
        "secret/s created",
        "serviceaccount/robot created",
        "deployment.apps/web created",
        "service/web created",
        "service/none created",
        "service/exposed exposed",
        "pod/p created",
        "inferenceservice.serving.kserve.io/demo created",
    ]
    assert (await as_json(kubectl, "configmap", "c"))["data"] == {"k": "v"}
    assert (await as_json(kubectl, "secret", "s"))["data"] == {"user": "bWU="}
    deployment = await as_json(kubectl, "deployment", "web")
    assert deployment["spec"]["replicas"] == 2
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["ports"]) == ("web", [{"containerPort": 80, "protocol": "TCP"}])
    ports = (await as_json(kubectl, "service", "web"))["spec"]["ports"]
    assert ports == [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    assert (await as_json(kubectl, "service", "exposed"))["spec"]["selector"] == {"app": "web"}
    pod = await as_json(kubectl, "pod", "p")
    assert pod["spec"]["containers"][0]["command"] == ["sleep", "1"]
    again = await kubectl.refused("create", "namespace", "ai-demo")
    assert again == 'Error from server (AlreadyExists): namespaces "ai-demo" already exists\n'


async def test_things_are_shown(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await kubectl("create", "configmap", "c", "--from-literal=k=v")
    table = await kubectl("get", "deployments")
    assert re.fullmatch(
        r"NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/2     0            0           \d+s\n", table
    )
    assert columns(await kubectl("get", "deploy", "-o", "wide")) == [
        *("NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR")
    ]
    assert columns(await kubectl("get", "deploy", "--show-labels"))[-1] == "LABELS"
    assert (await kubectl("get", "deploy", "-L", "app")).splitlines()[1].endswith("web")
    assert await kubectl("get", "cm,deploy", "-o", "name") == "configmap/c\ndeployment.apps/web\n"
    text = await kubectl("get", "configmap", "c", "-o", "yaml")
    assert re.fullmatch(
        "apiVersion: v1\n"
        "data:\n  k: v\n"
        "kind: ConfigMap\n"
        "metadata:\n"
        r'  creationTimestamp: "20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"'
        "\n  name: c\n  namespace: default\n"
        r'  resourceVersion: "\d+"'
        "\n"
        r"  uid: [0-9a-f-]{36}"
        "\n",
        text,
    )
    listed = await kubectl("get", "all", "-A")
    assert "deployment.apps/web" in listed
    assert (await kubectl("get", "cm", "-o", "jsonpath={.items[*].data.k}")) == "v"
    assert (await kubectl("get", "cm", "-o", "custom-columns=N:.metadata.name,K:.data.k")).split() == [
        "N",
        "K",
        "c",
        "v",
    ]
    assert (await kubectl("get", "cm", "--field-selector", "metadata.name!=c", "-o", "name")) == ""
    assert "c" in await kubectl("get", "cm", "--sort-by=.metadata.name")
    assert (await kubectl("get", "--raw", "/api/v1/namespaces/default/configmaps/c")).startswith('{"')
    missing = await kubectl.run("get", "pods", "-n", "nowhere")
    assert (missing.code, missing.err) == (0, "No resources found in nowhere namespace.\n")
    assert await kubectl.refused("get", "pods", "nope") == 'Error from server (NotFound): pods "nope" not found\n'
    assert 'the server doesn\'t have a resource type "things"' in await kubectl.refused("get", "things")


async def test_pages_are_put_together(kubectl: Kubectl) -> None:
    for number in range(5):
        await kubectl("create", "configmap", f"m{number}", "--from-literal=k=v")
    shown = await kubectl("get", "cm", "--chunk-size=2", "-o", "name")
    assert shown.split() == [f"configmap/m{number}" for number in range(5)]


async def test_watches_go_on_until_they_are_left(each_kubectl: Kubectl, store: Store) -> None:
    kubectl = each_kubectl
    await kubectl("create", "configmap", "old", "--from-literal=k=v")
    async with kubectl.lines("get", "cm", "--watch", "--output-watch-events") as lines:
        said = [await anext(lines), await anext(lines)]
        async with asyncio.timeout(20):
            while not store._watchers:  # a change before its watch would only be part of its list
                await asyncio.sleep(0.01)
        await kubectl("create", "configmap", "new", "--from-literal=k=v")
        await kubectl("delete", "configmap", "old")
        said += [await anext(lines), await anext(lines)]
    assert [line.split()[:2] for line in said] == [
        ["EVENT", "NAME"],
        ["ADDED", "old"],
        ["ADDED", "new"],
        ["DELETED", "old"],
    ]


async def test_apply_makes_changes_and_leaves_alone(each_kubectl: Kubectl) -> None:
    kubectl = each_kubectl
    assert await kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web created\n"
    assert await kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web unchanged\n"
    before = await as_json(kubectl, "deployment", "web")
    changed = DEPLOYMENT.replace("web:1", "web:2").replace('{name: B, value: "2"}', '{name: C, value: "3"}')
    assert await kubectl("apply", "-f", "-", stdin=changed) == "deployment.apps/web configured\n"
    after = await as_json(kubectl, "deployment", "web")
    (container,) = after["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "example.com/web:2"
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert (await kubectl.run("diff", "-f", "-", stdin=changed)).code == 0
    differs = await kubectl.run("diff", "-f", "-", stdin=DEPLOYMENT)
    assert differs.code == 1
    assert "example.com/web:1" in differs.out
    dry = await kubectl("apply", "--dry-run=server", "-f", "-", stdin=DEPLOYMENT)
    assert dry == "deployment.apps/web configured (server dry run)\n"
    assert await kubectl("apply", "-f", "-", stdin=ISVC) == "inferenceservice.serving.kserve.io/demo created\n"
    changed = ISVC.replace("m:1", "m:2")
    assert await kubectl("apply", "-f", "-", stdin=changed) == "inferenceservice.serving.kserve.io/demo configured\n"
    assert await kubectl("apply", "-f", "-", stdin=changed) == "inferenceservice.serving.kserve.io/demo unchanged\n"
    replaced = await kubectl("replace", "-f", "-", stdin=ISVC)
    assert replaced == "inferenceservice.serving.kserve.io/demo replaced\n"


async def test_changes_in_place(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert await kubectl("label", "deploy", "web", "tier=front") == "deployment.apps/web labeled\n"
    assert await kubectl("annotate", "deploy", "web", "note=hello") == "deployment.apps/web annotated\n"
    assert "already has a value" in await kubectl.refused("label", "deploy", "web", "tier=back")
    assert await kubectl("label", "deploy", "web", "tier-") in {
        "deployment.apps/web unlabeled\n",
        "deployment.apps/web labeled\n",
    }
    strategic = '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"example.com/web:3"}]}}}}'
    assert await kubectl("patch", "deploy", "web", "-p", strategic) == "deployment.apps/web patched\n"
    assert await kubectl("patch", "deploy", "web", "-p", strategic) == "deployment.apps/web patched (no change)\n"
    replicas = '[{"op": "replace", "path": "/spec/replicas", "value": 5}]'
    await kubectl("patch", "deploy", "web", "--type=json", "-p", replicas)
    await kubectl("patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"paused":true}}')
    assert (
        await kubectl("set", "image", "deploy/web", "main=example.com/web:4") == "deployment.apps/web image updated\n"
    )
    assert await kubectl("set", "env", "deploy/web", "B-", "D=4") == "deployment.apps/web env updated\n"
    item = await as_json(kubectl, "deployment", "web")
    (container,) = item["spec"]["template"]["spec"]["containers"]
    assert (item["spec"]["replicas"], item["spec"]["paused"]) == (5, True)
    assert container["image"] == "example.com/web:4"
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "D", "value": "4"}]
    assert item["metadata"]["annotations"]["note"] == "hello"
    assert "tier" not in item["metadata"]["labels"]


async def test_an_editor_saves(kubectl: Kubectl, tmp_path: Path) -> None:
    await kubectl("create", "configmap", "c", "--from-literal=k=v")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/k: v/k: edited/" "$1"\n')
    editor.chmod(0o755)
    run = Kubectl("/usr/bin/env", kubectl.home, kubectl.kubeconfig)
    said = await run("KUBE_EDITOR=" + str(editor), kubectl.program, "edit", "configmap", "c")
    assert said == "configmap/c edited\n"
    assert (await as_json(kubectl, "configmap", "c"))["data"] == {"k": "edited"}


async def test_mistakes_are_explained(kubectl: Kubectl) -> None:
    misspelled = ISVC.replace("storageUri", "storageUrl")
    assert await kubectl.refused("create", "-f", "-", stdin=misspelled) == (
        'Error from server (BadRequest): error when creating "STDIN": InferenceService in version "v1beta1" cannot be '
        'handled as a InferenceService: strict decoding error: unknown field "spec.predictor.model.storageUrl"\n'
    )
    warned = await kubectl.run("create", "--validate=warn", "-f", "-", stdin=misspelled)
    assert (warned.code, warned.err) == (0, 'Warning: unknown field "spec.predictor.model.storageUrl"\n')
    bad_name = ISVC.replace("name: demo", "name: X_y")
    assert 'The InferenceService "X_y" is invalid: metadata.name: Invalid value: "X_y": ' in await kubectl.refused(
        "create", "-f", "-", stdin=bad_name
    )
    wrong = DEPLOYMENT.replace("matchLabels: {app: web}", "matchLabels: {app: other}")
    complaint = await kubectl.refused("apply", "-f", "-", stdin=wrong)
    assert complaint.startswith('The Deployment "web" is invalid: spec.template.metadata.labels: Invalid value: ')
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    immutable = await kubectl.refused(
        "patch", "deploy", "web", "--type=merge", "-p", '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}'
    )
    assert "field is immutable" in immutable or "does not match" in immutable
    elsewhere = await kubectl.refused("create", "-n", "nowhere", "configmap", "c")
    assert 'namespaces "nowhere" not found' in elsewhere
    big = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata: {k: " + "x" * (3 << 20) + "}\n"
    assert "limit is 3145728" in await kubectl.refused("create", "-f", "-", stdin=big)


async def test_deletions(kubectl: Kubectl) -> None:
    for name in ("a", "b", "c", "d"):
        await kubectl("create", "configmap", name, "--from-literal=k=v")
    await kubectl("label", "configmap", "c", "d", "out=yes")
    assert (await kubectl("delete", "configmap", "a")).startswith('configmap "a" deleted')
    assert (await kubectl("delete", "configmap", "-l", "out=yes")).count(" deleted") == 2
    assert await kubectl.refused("delete", "configmap", "a") == (
        'Error from server (NotFound): configmaps "a" not found\n'
    )
    assert await kubectl("delete", "configmap", "a", "--ignore-not-found") == ""
    await kubectl("patch", "configmap", "b", "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/hold"]}}')
    held = asyncio.ensure_future(kubectl.run("delete", "configmap", "b"))
    await kubectl("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "configmap/b", "--timeout=10s")
    assert not held.done()
    await kubectl("patch", "configmap", "b", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert (await held).out.startswith('configmap "b" deleted')
    await kubectl("run", "p", "--image=example.com/p:1")
    assert 'pod "p"' in (await kubectl.run("delete", "pod", "p", "--force", "--grace-period=0")).out
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "deleted" in await kubectl("delete", "deployment", "web", "--cascade=orphan", "--wait=false")
    assert (await kubectl("get", "deploy", "web", "-o", "jsonpath={.metadata.finalizers}")) == '["orphan"]'


async def test_waiting_for_conditions(each_kubectl: Kubectl) -> None:
    kubectl = each_kubectl
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    waiting = asyncio.ensure_future(kubectl.run("wait", "--for=condition=Available", "deploy/web", "--timeout=20s"))
    rolling = asyncio.ensure_future(kubectl.run("rollout", "status", "deploy/web", "--timeout=20s"))
    conditions = [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": ""}]
    done = {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "conditions": conditions,
    }
    patch = json.dumps({"status": done})
    await kubectl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", patch)
    assert (await waiting).out == "deployment.apps/web condition met\n"
    assert (await rolling).out.endswith('deployment "web" successfully rolled out\n')
    assert await kubectl("wait", "--for=create", "deploy/web", "--timeout=5s") == "deployment.apps/web condition met\n"
    deleted = asyncio.ensure_future(kubectl.run("wait", "--for=delete", "deploy/web", "--timeout=20s"))
    await kubectl("delete", "deploy", "web")
    assert (await deleted).code == 0
    timed_out = await kubectl.refused("wait", "--for=condition=Ready", "ns/default", "--timeout=1s")
    assert "timed out waiting for the condition" in timed_out


async def test_descriptions(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    await kubectl("run", "p", "--image=example.com/p:1")
    await kubectl("create", "service", "clusterip", "web", "--tcp=80:8080")
    await kubectl("create", "-f", "-", stdin=ISVC)
    uid = (await as_json(kubectl, "pod", "p"))["metadata"]["uid"]
    event = f"""
apiVersion: v1
kind: Event
metadata: {{name: p.1}}
involvedObject: {{kind: Pod, name: p, namespace: default, uid: {uid}, apiVersion: v1}}
reason: Pulled
message: image is there
type: Normal
source: {{component: kubelet}}
firstTimestamp: "2026-01-01T00:00:00Z"
lastTimestamp: "2026-01-01T00:00:00Z"
count: 3
"""
    await kubectl("create", "-f", "-", stdin=event)
    pod = await kubectl("describe", "pod", "p")
    assert re.search(r"^Name: +p$", pod, re.MULTILINE)
    assert re.search(r"Normal +Pulled +.*x3.* +kubelet +image is there", pod)
    assert "Replicas:" in await kubectl("describe", "deployment", "web")
    assert "TargetPort:" in await kubectl("describe", "service", "web")
    assert "Storage Uri:" in await kubectl("describe", "inferenceservice", "demo")
    assert "Status:       Active" in await kubectl("describe", "namespace", "default")
    assert re.search(r"Normal +Pulled +pod/p +image is there", (await kubectl("get", "events")).replace("Pod", "pod"))
    assert "Pulled" in await kubectl("events", "--for", "pod/p")


async def test_the_server_explains_itself(kubectl: Kubectl) -> None:
    resources = await kubectl("api-resources", "--no-headers")
    assert re.search(r"^configmaps +cm +v1 +true +ConfigMap$", resources, re.MULTILINE)
    assert re.search(
        r"^inferenceservices +isvc +serving\.kserve\.io/v1beta1 +true +InferenceService$", resources, re.MULTILINE
    )
    assert re.search(r"^deployments +deploy +apps/v1 +true +Deployment$", resources, re.MULTILINE)
    assert "serving.kserve.io/v1beta1" in (await kubectl("api-versions")).split()
    explained = await kubectl("explain", "deployment.spec.replicas")
    assert re.search(r"FIELD: +replicas <integer>", explained)
    assert "predictor" in await kubectl("explain", "isvc.spec")
    version = json.loads((await kubectl.run("version", "-o", "json")).out)  # warns of the distance
    assert version["serverVersion"]["gitVersion"].startswith("v1.")
    assert "is running at" in await kubectl("cluster-info")


async def test_a_wrong_token_is_refused(kubectl: Kubectl, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(re.sub(r"token: .*", "token: guess", kubectl.kubeconfig.read_text()))
    stranger = Kubectl(kubectl.program, tmp_path / "elsewhere", wrong)
    complaint = await stranger.refused("get", "pods")
    assert "You must be logged in to the server" in complaint or "Unauthorized" in complaint


async def test_every_kind_is_listed_as_a_table(kubectl: Kubectl) -> None:
    names = [kind.plural if not kind.group else kind.group_resource for kind in REGISTRY if "list" in kind.verbs]
    said = await kubectl.run("get", ",".join(names), "-A")
    outdated = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n"
    assert (said.code, said.err) == (0, outdated), said
    assert "namespace/default   Active" in said.out


async def test_a_slow_upload_and_a_plain_client(store: Store, pki: Pki, tmp_path: Path) -> None:
    """What is no kubectl: a body in small pieces, a client that leaves a watch, HEAD on a kept connection."""
    tokens = Tokens({token_hash("t"): "system:admin"})
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs))
    async with serving(app, pki, tmp_path / "kubeconfig") as port:

        async def pieces() -> AsyncIterator[bytes]:
            for byte in b'{"metadata":{"name":"n"}}':
                yield bytes([byte])

        headers = {"authorization": "Bearer t"}
        context = httpx2.create_ssl_context(verify=False)
        async with httpx2.AsyncClient(
            base_url=f"https://127.0.0.1:{port}", headers=headers, verify=context, timeout=10
        ) as http:
            made = await http.post("/api/v1/namespaces", content=pieces(), headers={"content-type": "application/json"})
            assert made.status_code == 201, made.text
            large = await http.post("/api/v1/namespaces", content=b"x" * (4 << 20))
            assert large.status_code == 413
            assert (await http.head("/api/v1/namespaces/n")).status_code == 200
            assert (await http.get("/api/v1/namespaces/n")).json()["metadata"]["name"] == "n"
            async with http.stream("GET", "/api/v1/namespaces", params={"watch": "true"}) as response:
                assert json.loads(await anext(response.aiter_lines()))["type"] == "ADDED"
            async with asyncio.timeout(5):
                while store._watchers:
                    await asyncio.sleep(0.01)
