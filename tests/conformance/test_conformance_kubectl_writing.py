"""What kubectl changes, by an older and a newer version of it: apply in all its forms, patches, labels, editors.

Server-side apply alone: tests/machinery_apply/test_apply_kubectl.py.
"""

import re
from pathlib import Path

import pytest
from tests.conformance.ctl import Ctl
from tests.e2e.running import eventually

pytestmark = pytest.mark.e2e


def config_map(name: str, **data: str) -> str:
    lines = "".join(f"  {key}: '{value}'\n" for key, value in data.items())
    return f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: x}}}}\ndata:\n{lines}"


BOTH = config_map("one", k="1") + config_map("two", k="2")
ONE = config_map("one", k="1b")


def names(ctl: Ctl) -> list[str]:
    return [name.removeprefix("configmap/") for name in ctl.lines("get", "cm", "-l", "set=x", "-o", "name")]


def test_apply_and_prune_by_label(ctl: Ctl) -> None:
    assert ctl("apply", "-f", "-", stdin=BOTH) == "configmap/one created\nconfigmap/two created\n"
    assert ctl("apply", "-f", "-", stdin=BOTH) == "configmap/one unchanged\nconfigmap/two unchanged\n"
    pruning = ("apply", "--prune", "-l", "set=x", "--prune-allowlist=core/v1/ConfigMap", "-f", "-")
    dry = ctl(*pruning, "--dry-run=server", stdin=ONE)
    assert dry == "configmap/one configured (server dry run)\nconfigmap/two pruned (server dry run)\n"
    assert names(ctl) == ["one", "two"]
    assert ctl(*pruning, stdin=ONE) == "configmap/one configured\nconfigmap/two pruned\n"
    assert names(ctl) == ["one"]


def test_apply_and_prune_by_apply_set(ctl: Ctl) -> None:
    words = ("apply", "--prune", "--applyset=mine", "-f", "-")
    made = ctl(*words, stdin=BOTH, KUBECTL_APPLYSET="true")
    assert made == "configmap/one created\nconfigmap/two created\n"
    parent = ctl.item("secret", "mine")["metadata"]
    assert parent["annotations"]["applyset.kubernetes.io/contains-group-kinds"] == "ConfigMap"
    member = ctl.item("cm", "two")["metadata"]["labels"]["applyset.kubernetes.io/part-of"]
    assert member == parent["labels"]["applyset.kubernetes.io/id"]
    assert ctl(*words, stdin=ONE, KUBECTL_APPLYSET="true") == "configmap/one configured\nconfigmap/two pruned\n"
    assert names(ctl) == ["one"]


def test_what_was_applied_last(ctl: Ctl) -> None:
    ctl("create", "--save-config", "-f", "-", stdin=ONE)
    assert "k: 1b" in ctl("apply", "view-last-applied", "cm/one")
    ctl("apply", "-f", "-", stdin=config_map("one", other="1"))
    assert ctl.item("cm", "one")["data"] == {"other": "1"}
    ctl("create", "cm", "bare", "--from-literal=k=v")
    warned = ctl.run("apply", "-f", "-", stdin=config_map("bare", k="w"))
    assert warned.stdout == "configmap/bare configured\n"
    assert warned.stderr.startswith(
        "Warning: resource configmaps/bare is missing the kubectl.kubernetes.io/last-applied"
    )
    assert ctl("apply", "set-last-applied", "-f", "-", stdin=config_map("bare", k="z")) == "configmap/bare configured\n"


def test_server_side_apply_takes_over(ctl: Ctl) -> None:
    ctl("apply", "-f", "-", stdin=ONE)
    assert ctl("apply", "--server-side", "-f", "-", stdin=ONE) == "configmap/one serverside-applied\n"
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    refused = ctl.refused(*other, stdin=config_map("one", k="9"))
    assert 'error: Apply failed with 1 conflict: conflict with "kubectl": .data.k\n' in refused
    assert ctl(*other, "--force-conflicts", stdin=config_map("one", k="9")) == "configmap/one serverside-applied\n"
    assert ctl.item("cm", "one")["data"] == {"k": "9"}


@pytest.mark.parametrize("way", ["--server-side=false", "--server-side"])
def test_differences(ctl: Ctl, way: str) -> None:
    ctl("apply", way, "-f", "-", stdin=ONE)
    same = ctl.run("diff", way, "-f", "-", stdin=ONE)
    assert (same.returncode, same.stdout) == (0, "")
    changed = ctl.run("diff", way, "-f", "-", stdin=config_map("one", k="2") + config_map("new", k="1"))
    assert changed.returncode == 1
    assert '\n-  k: 1b\n+  k: "2"\n' in changed.stdout
    assert "\n+  name: new\n" in changed.stdout
    assert ctl.item("cm", "one")["data"] == {"k": "1b"}


def test_a_directory_of_kustomize(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "both.yaml").write_text(BOTH)
    generator = "configMapGenerator: [{name: gen, literals: [a=b]}]"
    (tmp_path / "kustomization.yaml").write_text(f"namePrefix: my-\nresources: [both.yaml]\n{generator}\n")
    made = ctl.lines("apply", "-k", str(tmp_path))
    assert re.fullmatch(r"configmap/my-gen-\w{10} created", made[0])
    assert made[1:] == ["configmap/my-one created", "configmap/my-two created"]
    assert ctl.run("diff", "-k", str(tmp_path)).returncode == 0
    assert ctl("delete", "-k", str(tmp_path)).count("deleted") == 3


def test_labels_and_annotations(ctl: Ctl) -> None:
    ctl("create", "cm", "one")
    assert ctl("label", "cm", "one", "a=b") == "configmap/one labeled\n"
    assert ctl.refused("label", "cm", "one", "a=c") == "error: 'a' already has a value (b), and --overwrite is false\n"
    assert ctl("label", "--overwrite", "cm", "one", "a=c") == "configmap/one labeled\n"
    assert ctl("label", "--list", "cm", "one") == "a=c\n"
    assert ctl("label", "cm", "one", "a-") == "configmap/one unlabeled\n"
    complaint = ctl.refused("label", "cm", "one", "bad key=1")
    assert complaint.startswith(
        'The ConfigMap "one" is invalid: metadata.labels: Invalid value: "bad key": name part must'
    )
    assert ctl("annotate", "cm", "one", "x=y") == "configmap/one annotated\n"
    refused = (
        "error: --overwrite is false but found the following declared annotation(s): 'x' already has a value (y)\n"
    )
    assert ctl.refused("annotate", "cm", "one", "x=z") == refused
    assert ctl("annotate", "--overwrite", "cm", "one", "x=z") == "configmap/one annotated\n"
    stale = ctl.refused("annotate", "cm", "one", "x-", "--resource-version=1")
    assert "Operation cannot be fulfilled on configmaps" in stale


def test_patches_of_all_types(ctl: Ctl) -> None:
    ctl("create", "deployment", "web", "--image=example.com/web:1", "--replicas=0")
    add = '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"example.com/side:1"}]}}}}'
    assert ctl("patch", "deploy", "web", "-p", add) == "deployment.apps/web patched\n"
    again = "deployment.apps/web patched (no change)\n"  # once its controller has noted the change
    eventually(lambda: ctl("patch", "deploy", "web", "-p", add) == again, "a patch without effect", 20)
    containers = ctl.item("deploy", "web")["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in containers] == ["side", "web"]
    ctl("patch", "deploy", "web", "--type=merge", "-p", '{"metadata":{"labels":{"app":null}}}')
    assert "labels" not in ctl.item("deploy", "web")["metadata"]
    step = '[{"op":"test","path":"/spec/replicas","value":0},{"op":"replace","path":"/spec/paused","value":true}]'
    ctl("patch", "deploy", "web", "--type=json", "-p", step)
    failed = ctl.refused("patch", "deploy", "web", "--type=json", "-p", step.replace(":0", ":5"))
    assert failed.startswith("The request is invalid: the server rejected our request due to an error in our request")
    status = '{"status":{"observedGeneration":0},"spec":{"replicas":9}}'
    ctl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", status)
    assert ctl.item("deploy", "web")["spec"]["replicas"] == 0
    assert "READY" in ctl("get", "deploy", "web", "--subresource=status")
    refused = ctl.refused("patch", "cm", "kube-root-ca.crt", "-p", '{"metadata":{"name":"x"}}')
    assert "the name of the object (x) does not match the name on the URL (kube-root-ca.crt)" in refused


def test_replacing_and_editing(ctl: Ctl) -> None:
    ctl("create", "-f", "-", stdin=BOTH)
    before = ctl.item("cm", "one")["metadata"]["uid"]
    assert ctl("replace", "-f", "-", stdin=ONE) == "configmap/one replaced\n"
    assert ctl.item("cm", "one")["metadata"]["uid"] == before
    assert "configmap/one replaced\n" in ctl("replace", "--force", "-f", "-", stdin=ONE)
    assert ctl.item("cm", "one")["metadata"]["uid"] != before
    assert ctl("edit", "cm", "one", KUBE_EDITOR="sed -i 's/k: 1b/k: edited/'") == "configmap/one edited\n"
    assert ctl.item("cm", "one")["data"] == {"k": "edited"}
    unchanged = ctl.run("edit", "cm", "one", KUBE_EDITOR="true")
    assert "Edit cancelled, no changes made." in unchanged.stdout + unchanged.stderr
    broken = ctl.run("edit", "cm", "one", KUBE_EDITOR="sed -i 's/^  k: edited/  k!: edited/'")
    assert broken.stderr.startswith('error: configmaps "one" is invalid\nA copy of your changes has been stored to')


def test_secrets_and_services_of_all_types(ctl: Ctl, tmp_path: Path) -> None:
    registry = ("--docker-username=u", "--docker-password=p", "--docker-server=example.com")
    ctl("create", "secret", "docker-registry", "pull", *registry)
    assert ctl.item("secret", "pull")["type"] == "kubernetes.io/dockerconfigjson"
    plain = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: v}\n"
    ctl("apply", "-f", "-", stdin=plain)
    assert (ctl.item("secret", "s")["data"], "stringData" in ctl.item("secret", "s")) == ({"k": "dg=="}, False)
    ctl("create", "service", "externalname", "ext", "--external-name=example.com")
    assert ctl.item("svc", "ext")["spec"] == {
        "externalName": "example.com",
        "selector": {"app": "ext"},
        "sessionAffinity": "None",
        "type": "ExternalName",
    }
    ctl("create", "service", "nodeport", "np", "--tcp=80:8080")
    spec = ctl.item("svc", "np")["spec"]
    assert (spec["externalTrafficPolicy"], spec["internalTrafficPolicy"]) == ("Cluster", "Cluster")
    ctl("create", "service", "clusterip", "none", "--clusterip=None")
    assert ctl.lines("get", "svc", "none")[1].split()[:5] == ["none", "ClusterIP", "None", "<none>", "<none>"]
    dry = ctl("create", "cm", "never", "--dry-run=server")
    assert dry == "configmap/never created (server dry run)\n"
    assert "not found" in ctl.refused("get", "cm", "never")


def test_taints_and_labels_of_the_node(ctl: Ctl) -> None:
    """The node is everybody's: what is put on has an effect that nothing in these tests minds, and is taken off."""
    node = ctl.lines("get", "nodes", "-o", "name")[0]
    key = f"{ctl.namespace}.example.com/t"
    assert ctl("taint", node.replace("/", "s ").split()[0], node.split("/")[1], f"{key}=v:PreferNoSchedule") == (
        f"{node} tainted\n"
    )
    refused = ctl.refused("taint", "nodes", node.split("/")[1], f"{key}=w:PreferNoSchedule")
    assert "already has" in refused
    assert ctl("taint", "nodes", node.split("/")[1], f"{key}-") == f"{node} untainted\n"
