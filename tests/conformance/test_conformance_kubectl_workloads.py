"""kubectl and what runs, by two versions of it: Deployments, pods, waiting, and what a deletion takes along."""

import pytest
from tests.conformance.ctl import Ctl
from tests.e2e.running import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: "example.com/shell:1", command: [sh, -c, "echo hello; exec sleep 600"]}]
"""


def test_a_deployment_from_birth_to_death(ctl: Ctl) -> None:
    ctl("create", "-f", "-", stdin=WEB)
    assert ctl.lines("rollout", "status", "deploy/web")[-1] == 'deployment "web" successfully rolled out'
    first = ctl.item("deploy", "web")
    assert (first["metadata"]["generation"], first["status"]["observedGeneration"]) == (1, 1)
    assert ctl("wait", "--for=condition=Available", "deploy/web") == "deployment.apps/web condition met\n"
    assert ctl("logs", "-l", "app=web") == "hello\nhello\n"
    assert ctl("set", "env", "deploy/web", "A=b") == "deployment.apps/web env updated\n"
    assert ctl("set", "env", "deploy/web", "--list") == "# Deployment web, container c\nA=b\n"
    resources = ("--limits=cpu=200m,memory=64Mi",)
    assert ctl("set", "resources", "deploy/web", *resources) == "deployment.apps/web resource requirements updated\n"
    assert ctl("set", "image", "deploy/web", "c=example.com/shell:2") == "deployment.apps/web image updated\n"
    ctl("annotate", "deploy/web", "kubernetes.io/change-cause=shell 2")
    assert ctl.lines("rollout", "status", "deploy/web")[-1] == 'deployment "web" successfully rolled out'
    assert ctl.item("deploy", "web")["metadata"]["generation"] == 5, "four changes since"
    history = [line.split(None, 1) for line in ctl.lines("rollout", "history", "deploy/web")[2:] if line]
    assert history[0] == ["1", "<none>"]
    assert history[-1] == ["4", "shell 2"]
    assert ctl("rollout", "undo", "deploy/web", "--to-revision=1") == "deployment.apps/web rolled back\n"
    assert ctl("rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"
    assert ctl("rollout", "resume", "deploy/web") == "deployment.apps/web resumed\n"
    ctl("rollout", "status", "deploy/web")
    assert ctl.deleted("deploy", "web", "--cascade=foreground") == 'deployment.apps "web" deleted\n'
    assert ctl.run("get", "rs,pods").stderr == f"No resources found in {ctl.namespace} namespace.\n"


def test_orphans_stay_and_are_adopted(ctl: Ctl) -> None:
    ctl("apply", "-f", "-", stdin=WEB)
    ctl("rollout", "status", "deploy/web")
    (before,) = ctl.item("rs")["items"]
    assert ctl.deleted("deploy", "web", "--cascade=orphan") == 'deployment.apps "web" deleted\n'
    (orphan,) = ctl.item("rs")["items"]
    assert (orphan["metadata"]["uid"], "ownerReferences" in orphan["metadata"]) == (before["metadata"]["uid"], False)
    ctl("apply", "-f", "-", stdin=WEB)
    ctl("rollout", "status", "deploy/web")
    (adopted,) = ctl.item("rs")["items"]
    assert adopted["metadata"]["uid"] == before["metadata"]["uid"]
    assert adopted["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] is True
    ctl("delete", "deploy", "web", "--cascade=background")
    ctl("wait", "--for=delete", "rs", "-l", "app=web", "--timeout=20s")
    assert ctl.lines("get", "rs", "-o", "name") == []


def test_pods_and_the_ways_to_wait_for_them(ctl: Ctl) -> None:
    run = ("run", "p", "--image=example.com/shell:1", "--restart=Never", "--command", "--")
    assert ctl(*run, "sh", "-c", "echo done") == "pod/p created\n"
    assert ctl("wait", "--for=create", "pod/p") == "pod/p condition met\n"
    assert ctl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/p") == "pod/p condition met\n"
    assert ctl("logs", "p") == "done\n"
    assert ctl("expose", "pod", "p", "--port=80") == "service/p exposed\n"
    late = ctl.refused("wait", "--for=condition=Ready", "pod/p", "--timeout=0s")
    assert late == "error: condition not met for pods/p\n"
    ctl("patch", "pod", "p", "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/hold"]}}')
    ctl("delete", "pod", "p", "--wait=false")
    assert ctl.item("pod", "p")["metadata"]["deletionTimestamp"]
    more = ctl.refused("patch", "pod", "p", "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/more"]}}')
    assert "no new finalizers can be added if the object is being deleted, found new finalizers" in more
    ctl("patch", "pod", "p", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    ctl("wait", "--for=delete", "pod/p", "--timeout=20s")
    assert ctl(*run, "sleep", "600") == "pod/p created\n"
    forced = ctl.run("delete", "pod", "p", "--grace-period=0", "--force")
    assert forced.stderr.startswith("Warning: Immediate deletion does not wait for confirmation")
    assert forced.stdout.startswith('pod "p" force deleted')


def test_a_namespace_takes_everything_with_it(ctl: Ctl) -> None:
    name = f"{ctl.namespace}-end"
    ctl("create", "ns", name)
    eventually(lambda: ctl.run("apply", "-n", name, "-f", "-", stdin=WEB).returncode == 0, "the namespace")
    assert ctl.run("delete", "ns", name).stdout == f'namespace "{name}" deleted\n'
    assert "not found" in ctl.refused("get", "ns", name)
    assert ctl.run("get", "deploy,rs,pods,sa,cm", "-n", name).stderr == f"No resources found in {name} namespace.\n"
    protected = 'Error from server (Forbidden): namespaces "default" is forbidden: this namespace may not be deleted\n'
    assert ctl.refused("delete", "ns", "default").endswith(protected)
