"""Jobs, sizes and roll-outs with real pods, by the kubectls that there are.

The waits are those of the things themselves: a job that sleeps nowhere, usage that is read every fifteen seconds.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.running import Platform, eventually, kubectls

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SHELL = "localhost/skerry-shell:latest"
OLD, NEW = kubectls()[0], kubectls()[-1]


def ok(platform: Platform, program: str, *words: str, stdin: str | None = None) -> str:
    done = platform.run(program, *words, stdin=stdin)
    assert done.returncode == 0, (words, done.stdout, done.stderr, platform.log())
    return done.stdout


def failing_job(**spec: Any) -> str:
    container = {"name": "main", "image": SHELL, "command": ["sh", "-c", "exit 3"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    item = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "bad"},
        "spec": {"template": template, **spec},
    }
    return json.dumps(item)


def deployment(name: str, script: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": SHELL,
        "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "50m"}},
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module", autouse=True)
def busy(platform: Platform) -> None:
    """Something that uses a processor while the other tests run: usage takes two readings to be known."""
    ok(platform, OLD, "apply", "-f", "-", stdin=json.dumps(deployment("busy", "while :; do :; done")))
    ok(platform, OLD, "autoscale", "deploy", "busy", "--min=1", "--max=2", "--cpu-percent=50")


@pytest.mark.parametrize("program", sorted({OLD, NEW}))
def test_a_job_runs_to_its_end(platform: Platform, program: str) -> None:
    said = ok(platform, program, "create", "job", "hi", f"--image={SHELL}", "--", "sh", "-c", "echo hello")
    assert said == "job.batch/hi created\n"
    waited = ok(platform, program, "wait", "--for=condition=complete", "job/hi", "--timeout=30s")
    assert waited == "job.batch/hi condition met\n"
    assert ok(platform, program, "logs", "job/hi").endswith("hello\n")
    row = ok(platform, program, "get", "job", "hi", "--no-headers").split()
    assert row[:3] == ["hi", "Complete", "1/1"]
    status = platform.json("get", "job", "hi")["status"]
    assert (status["succeeded"], status["uncountedTerminatedPods"], status["ready"]) == (1, {}, 0)
    assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
    described = ok(platform, program, "describe", "job", "hi")
    for text in ("Pods Statuses:", "1 Succeeded", "SuccessfulCreate", "Completed"):
        assert text in described
    assert ok(platform, program, "delete", "job", "hi").startswith('job.batch "hi" deleted')
    eventually(lambda: not platform.json("get", "pods", "-l", "job-name=hi")["items"], "no pods of the deleted job")


def test_a_job_that_fails_and_one_that_is_removed(platform: Platform) -> None:
    ok(platform, OLD, "create", "-f", "-", stdin=failing_job(backoffLimit=0, ttlSecondsAfterFinished=1))
    ok(platform, OLD, "wait", "--for=condition=failed", "job/bad", "--timeout=30s")
    eventually(lambda: platform.kubectl("get", "job", "bad").returncode == 1, "the job is gone after its time")
    eventually(lambda: not platform.json("get", "pods", "-l", "job-name=bad")["items"], "its pods too")


def test_many_at_once_with_numbers(platform: Platform) -> None:
    script = "echo number $JOB_COMPLETION_INDEX"
    container = {"name": "main", "image": SHELL, "command": ["sh", "-c", script]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    item = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "many"},
        "spec": {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": {"spec": spec}},
    }
    ok(platform, NEW, "apply", "-f", "-", stdin=json.dumps(item))
    ok(platform, NEW, "wait", "--for=condition=complete", "job/many", "--timeout=30s")
    said = ok(platform, NEW, "logs", "-l", "job-name=many", "--tail=-1")
    assert sorted(said.split("\n")) == ["", "number 0", "number 1", "number 2"]
    assert platform.json("get", "job", "many")["status"]["completedIndexes"] == "0-2"
    ok(platform, NEW, "apply", "-f", "-", stdin=json.dumps(item))
    ok(platform, NEW, "delete", "job", "many")


def test_a_claim_is_bound_used_kept_while_used_and_removed(platform: Platform) -> None:
    claim = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": SHELL,
                    "command": ["sh", "-c", "echo kept > /data/file; sleep 1000"],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    ok(platform, OLD, "create", "-f", "-", stdin=claim)
    ok(platform, OLD, "wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--timeout=20s")
    row = ok(platform, OLD, "get", "pvc", "data", "--no-headers").split()
    assert (row[1], row[3:6]) == ("Bound", ["1Gi", "RWO", "skerry-local"])
    volume = ok(platform, NEW, "get", "pv", "--no-headers").split()
    assert volume[:7] == [row[2], "1Gi", "RWO", "Delete", "Bound", "default/data", "skerry-local"]
    assert ok(platform, NEW, "get", "sc", "--no-headers").split()[:3] == [
        "skerry-local",
        "(default)",
        "skerry.dev/local",
    ]
    ok(platform, NEW, "create", "-f", "-", stdin=json.dumps(pod))
    ok(platform, OLD, "wait", "--for=condition=Ready", "pod/writer", "--timeout=20s")
    directory: Path = platform.home / "state/node/claims/default/data"
    eventually((directory / "file").exists, "the pod's file")
    described = ok(platform, OLD, "describe", "pvc", "data")
    for text in ("Used By:       writer", "kubernetes.io/pvc-protection", "StorageClass:  skerry-local"):
        assert text in described
    ok(platform, OLD, "delete", "pvc", "data", "--wait=false")
    assert ok(platform, NEW, "get", "pvc", "data", "--no-headers").split()[1] == "Terminating"
    assert (directory / "file").read_text() == "kept\n"
    ok(platform, NEW, "delete", "pod", "writer")
    eventually(lambda: platform.kubectl("get", "pvc", "data").returncode == 1, "the claim is gone")
    assert not directory.exists()
    assert ok(platform, OLD, "get", "pv", "--no-headers") == ""


def test_usage_is_seen_and_followed(platform: Platform) -> None:
    def usage() -> list[str]:
        return platform.run(NEW, "top", "pod", "--no-headers", "-l", "app=busy").stdout.split()

    row = eventually(usage, "usage", 45)
    assert int(row[1].removesuffix("m")) > 20, row
    assert ok(platform, OLD, "top", "node", "--no-headers").split()[1].endswith("m")
    eventually(lambda: platform.json("get", "deploy", "busy")["spec"]["replicas"] == 2, "a second replica", 40)
    told = ok(platform, NEW, "describe", "hpa", "busy")
    for text in ("SuccessfulRescale", "AbleToScale", "ScalingActive", "resource cpu on pods"):
        assert text in told
    assert "cpu: " in ok(platform, OLD, "get", "hpa", "busy")
    ok(platform, NEW, "delete", "hpa", "busy")
    ok(platform, NEW, "delete", "deploy", "busy")


def test_a_deployment_is_rolled_out_scaled_and_drained(platform: Platform) -> None:
    item = deployment("web", "sleep 1000")
    ok(platform, OLD, "apply", "-f", "-", stdin=json.dumps(item))
    ok(platform, OLD, "rollout", "status", "deploy/web", "--timeout=30s")

    # Roll-outs, by one kubectl and the other.
    ok(platform, NEW, "rollout", "restart", "deploy/web")
    ok(platform, NEW, "rollout", "status", "deploy/web", "--timeout=30s")
    ok(platform, OLD, "rollout", "pause", "deploy/web")
    ok(platform, OLD, "set", "image", "deploy/web", "main=localhost/skerry-shell:other")
    assert platform.json("get", "deploy", "web")["status"]["conditions"][-1]["reason"] in {
        "DeploymentPaused",
        "MinimumReplicasAvailable",
        "NewReplicaSetAvailable",
    }
    ok(platform, NEW, "rollout", "resume", "deploy/web")
    ok(platform, NEW, "rollout", "undo", "deploy/web")
    ok(platform, OLD, "rollout", "status", "deploy/web", "--timeout=30s")
    assert "REVISION" in ok(platform, OLD, "rollout", "history", "deploy/web")

    ok(platform, NEW, "scale", "deploy/web", "--replicas=2")
    ok(platform, OLD, "rollout", "status", "deploy/web", "--timeout=30s")
    node = platform.json("get", "nodes")["items"][0]["metadata"]["name"]
    drained = ok(platform, OLD, "drain", node, "--ignore-daemonsets", "--force", "--timeout=30s")
    assert f"node/{node} drained" in drained
    eventually(
        lambda: [pod for pod in platform.json("get", "pods")["items"] if not pod["spec"].get("nodeName")],
        "the pods wait for a node",
    )
    ok(platform, NEW, "uncordon", node)
    ok(platform, NEW, "rollout", "status", "deploy/web", "--timeout=30s")
    ok(platform, NEW, "delete", "deploy", "web")
