"""Server-side apply as people use it: two real kubectls against a real HTTPS server."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import Kubectl, kubectls, make_certificates, serving

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
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: example.com/web:1
        env: [{name: A, value: "1"}]
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


def deployment(replicas: int | None = 2, image: str = "example.com/web:1") -> str:
    loaded = yaml.safe_load(DEPLOYMENT)
    loaded["spec"]["replicas"] = replicas
    if replicas is None:
        del loaded["spec"]["replicas"]
    loaded["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return json.dumps(loaded)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_certificates(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture(params=sorted(PROGRAMS))
async def kubectl(request: pytest.FixtureRequest, pki: Pki, tmp_path: Path) -> AsyncIterator[Kubectl]:
    store = Store.open(tmp_path / "store.db")
    tokens = Tokens({token_hash(pki.admin_token.read_text()): "system:admin"})
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs))
    await store.create(Key("/namespaces", "", "default"), NAMESPACE)
    async with serving(app, pki, tmp_path / "kubeconfig"):
        yield Kubectl(PROGRAMS[request.param], tmp_path, tmp_path / "kubeconfig")
    store.close()


async def entries(kubectl: Kubectl, *what: str) -> dict[str, Any]:
    shown = json.loads(await kubectl("get", *what, "-o", "json", "--show-managed-fields"))
    return {
        " ".join(filter(None, (entry["manager"], entry["operation"], entry.get("subresource")))): entry["fieldsV1"]
        for entry in shown["metadata"]["managedFields"]
    }


async def test_apply_says_serverside_applied_for_new_and_unchanged_objects(kubectl: Kubectl) -> None:
    for _ in range(2):
        said = await kubectl("apply", "--server-side", "-f", "-", stdin=deployment())
        assert said == "deployment.apps/web serverside-applied\n"
    assert list(await entries(kubectl, "deployment", "web")) == ["kubectl Apply"]
    shown = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    assert "managedFields" not in shown["metadata"]
    assert "annotations" not in shown["metadata"]


async def test_a_custom_resource_is_applied(kubectl: Kubectl) -> None:
    said = await kubectl("apply", "--server-side", "-f", "-", stdin=ISVC)
    assert said == "inferenceservice.serving.kserve.io/demo serverside-applied\n"
    fields = (await entries(kubectl, "isvc", "demo"))["kubectl Apply"]
    assert fields == {
        "f:spec": {"f:predictor": {"f:model": {"f:modelFormat": {"f:name": {}}, "f:storageUri": {}}}},
    }


async def test_a_conflict_and_the_ways_out_of_it(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", "--field-manager=kubectl", stdin=deployment(1))
    manager = "--field-manager=me"
    complaint = await kubectl.refused("apply", "--server-side", manager, "-f", "-", stdin=deployment(3))
    assert complaint.startswith(
        'error: Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas\n'
        "Please review the fields above--they currently have other managers."
    )
    assert "--force-conflicts" in complaint
    said = await kubectl("apply", "--server-side", manager, "-f", "-", stdin=deployment(1))
    assert said == "deployment.apps/web serverside-applied\n"
    both = await entries(kubectl, "deployment", "web")
    assert "f:replicas" in both["me Apply"]["f:spec"]
    assert "f:replicas" in both["kubectl Update"]["f:spec"]
    await kubectl("apply", "--server-side", manager, "--force-conflicts", "-f", "-", stdin=deployment(3))
    after = await entries(kubectl, "deployment", "web")
    assert "f:replicas" not in after["kubectl Update"]["f:spec"]


async def test_several_conflicts_are_a_list(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", "--field-manager=first", stdin=deployment(1))
    complaint = await kubectl.refused(
        "apply", "--server-side", "--field-manager=me", "-f", "-", stdin=deployment(3, "example.com/web:2")
    )
    assert complaint.startswith(
        'error: Apply failed with 2 conflicts: conflicts with "first" using apps/v1:\n'
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="main"].image\n'
    )


async def test_client_side_apply_migrates(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=deployment(1))
    assert list(await entries(kubectl, "deployment", "web")) == ["kubectl-client-side-apply Update"]
    said = await kubectl("apply", "--server-side", "-f", "-", stdin=deployment(4))
    assert said == "deployment.apps/web serverside-applied\n"
    after = await entries(kubectl, "deployment", "web")
    # kubectl keeps its annotation under a name of its own, for those who go back.
    annotation: dict[str, Any] = {"f:annotations": {"f:kubectl.kubernetes.io/last-applied-configuration": {}}}
    assert set(after) == {"kubectl Apply", "kubectl-last-applied Apply"}
    assert after["kubectl-last-applied Apply"] == {"f:metadata": annotation}
    shown = json.loads(await kubectl("get", "deployment", "web", "-o", "json"))
    assert shown["spec"]["replicas"] == 4
    remembered = json.loads(shown["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    assert remembered["spec"]["replicas"] == 4
    # And back: the older way of applying finds the annotation that the server kept up to date, and removes by it.
    await kubectl("apply", "-f", "-", stdin=deployment(None))
    assert json.loads(await kubectl("get", "deployment", "web", "-o", "json"))["spec"]["replicas"] == 1


async def test_a_withdrawn_field_is_removed(kubectl: Kubectl) -> None:
    text = '{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c"}},"data":{0}}}'
    await kubectl("apply", "--server-side", "-f", "-", stdin=text.format('{"a":"1","b":"1"}'))
    await kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=text.format('{"b":"1"}'))
    await kubectl("apply", "--server-side", "-f", "-", stdin=text.format("{}"))
    assert json.loads(await kubectl("get", "cm", "c", "-o", "json"))["data"] == {"b": "1"}


async def test_ordinary_commands_own_what_they_change(kubectl: Kubectl) -> None:
    await kubectl("create", "deployment", "web", "--image=example.com/web:1")
    await kubectl("label", "deployment", "web", "tier=front")
    await kubectl("set", "image", "deployment/web", "web=example.com/web:2")
    await kubectl("patch", "deployment", "web", "-p", '{"spec":{"replicas":2}}')
    found = await entries(kubectl, "deployment", "web")
    assert set(found) == {
        "kubectl-create Update",
        "kubectl-label Update",
        "kubectl-set Update",
        "kubectl-patch Update",
    }
    assert found["kubectl-label Update"] == {"f:metadata": {"f:labels": {"f:tier": {}}}}
    assert found["kubectl-patch Update"] == {"f:spec": {"f:replicas": {}}}
    image: dict[str, Any] = {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}
    assert found["kubectl-set Update"] == {"f:spec": {"f:template": {"f:spec": image}}}


async def test_dry_run_and_diff_show_what_would_be(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "-f", "-", stdin=deployment(1))
    said = await kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=deployment(5))
    assert said == "deployment.apps/web serverside-applied (server dry run)\n"
    assert json.loads(await kubectl("get", "deployment", "web", "-o", "json"))["spec"]["replicas"] == 1
    diff = await kubectl.run("diff", "--server-side", "-f", "-", stdin=deployment(5))
    assert diff.code == 1
    assert "-  replicas: 1" in diff.out
    assert "+  replicas: 5" in diff.out


async def test_a_misspelled_field_is_refused(kubectl: Kubectl) -> None:
    text = deployment().replace('"replicas"', '"replicaz"')
    complaint = await kubectl.refused("apply", "--server-side", "-f", "-", stdin=text)
    assert "failed to create typed patch object (default/web; apps/v1, Kind=Deployment)" in complaint
    assert ".spec.replicaz: field not declared in schema" in complaint


async def test_the_status_of_an_object_is_applied_through_its_own_path(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "-f", "-", stdin=deployment(1))
    config = json.loads(deployment(1)) | {"status": {"replicas": 1}}
    said = await kubectl(
        "apply", "--server-side", "--subresource=status", "--field-manager=ctl", "-f", "-", stdin=json.dumps(config)
    )
    assert said == "deployment.apps/web serverside-applied\n"
    found = await entries(kubectl, "deployment", "web")
    assert found["ctl Apply status"] == {"f:status": {"f:replicas": {}}}
    assert "f:status" not in found["kubectl Apply"]


async def test_edit_as_yaml_hides_the_owners(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "-f", "-", stdin=deployment(1))
    shown = await kubectl("get", "deployment", "web", "-o", "yaml", "--show-managed-fields")
    assert "f:containers:" in shown
    assert "managedFields" not in await kubectl("get", "deployment", "web", "-o", "yaml")
