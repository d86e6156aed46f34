"""The agent against the real API server, with real processes: a pod's life from binding to removal."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import AsyncClient
from lightkube.resources.core_v1 import Node, Pod
from tests.node.bench import eventually
from tests.node.cluster import FAST, NAMESPACE, NodeUnderTest, Shelf, api, running, shell

from skerry.cluster.node import hardening
from skerry.cluster.node.agent import stop_leftovers
from skerry.cluster.node.pod_object import PodObject
from skerry.kit.processes import identify

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
print('listening', flush=True)
http.server.ThreadingHTTPServer((sys.argv[1], 8888), Handler).serve_forever()
"""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    async with api(tmp_path) as client:
        yield client


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def node(tmp_path: Path, client: AsyncClient, shelf: Shelf) -> AsyncIterator[NodeUnderTest]:
    async with running(tmp_path, client, shelf) as node:
        yield node


def gone(pid: int) -> bool:
    try:
        return not identify(pid).alive()
    except ProcessLookupError:
        return True


async def test_the_node_registers_itself(node: NodeUnderTest, client: AsyncClient) -> None:
    async def registered() -> bool:
        async for each in client.list(Node):
            if each.status and each.status.conditions:
                return True
        return False

    while not await registered():
        pass
    found = await client.get(Node, "skerry")
    assert found.status is not None
    conditions = {each.type: each.status for each in found.status.conditions or []}
    assert {"Ready": "True", "MemoryPressure": "False", "PIDPressure": "False"}.items() <= conditions.items()
    assert found.status.capacity is not None
    assert int(found.status.capacity["memory"].removesuffix("Ki")) > 100_000
    assert "linux" == found.status.nodeInfo.operatingSystem  # type: ignore[union-attr]


async def test_a_pod_runs_becomes_ready_and_is_removed(node: NodeUnderTest) -> None:
    probe = {"readinessProbe": {"httpGet": {"path": "/", "port": 8888}}, "command": [sys.executable, "-u", "-c"]}
    container = {**probe, "args": [SERVER, "$(POD_IP)"], "env": [_field("POD_IP", "status.podIP")]}
    await node.create(shell("web", "", container=container))
    await node.until(lambda: node.ready("web"))
    status = node.status("web")
    assert ("Running", "BestEffort", "127.0.0.1") == (status.phase, status.qosClass, status.hostIP)
    assert status.podIP.startswith("127.")
    shown = node.container("web")
    assert (True, True, 0) == (shown.ready, shown.started, shown.restartCount)
    assert shown.containerID.startswith("skerry://")
    types = [each.type for each in status.conditions]
    assert {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"} <= set(types)
    assert "listening\n" == await node.logs("web")
    pid = node.pid("web")
    await node.delete("web")
    await node.until(lambda: node.pod("web") is None)
    assert gone(pid)
    await eventually(lambda: not [*(node.root / "state/pods").iterdir(), *(node.root / "log").iterdir()])
    reasons = [reason for reason, _ in await node.events("web")]
    assert {"Pulled", "Created", "Started"} <= set(reasons)
    assert "Stopping container main" == await node.event("web", "Killing")


def _field(name: str, path: str) -> dict[str, object]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


async def test_a_model_image_is_mounted(node: NodeUnderTest, tmp_path: Path) -> None:
    (tmp_path / "image/models").mkdir(parents=True)
    (tmp_path / "image/models/model.xml").touch()
    node.shelf.images["localhost/resnet:test"] = tmp_path / "image"
    mount = {"name": "mnt-models", "mountPath": "/mnt/models", "subPath": "models", "readOnly": True}
    image = {"reference": "localhost/resnet:test", "pullPolicy": "IfNotPresent"}
    spec = {"volumes": [{"name": "mnt-models", "image": image}], "restartPolicy": "Never"}
    await node.create(shell("car", "ls /mnt/models", container={"volumeMounts": [mount]}, **spec))
    await node.until(lambda: node.phase("car") == "Succeeded")
    assert "model.xml\n" == await node.logs("car")
    uid = node.pod("car").metadata.uid
    assert {"localhost/resnet:test"} == node.shelf.held[uid]
    await node.delete("car")
    await node.until(lambda: node.pod("car") is None)
    await eventually(lambda: uid not in node.shelf.held)


async def test_a_missing_image_is_said_and_tried_again(node: NodeUnderTest, tmp_path: Path) -> None:
    spec = {"volumes": [{"name": "m", "image": {"reference": "localhost/late:test"}}], "restartPolicy": "Never"}
    await node.create(shell("late", "true", **spec))
    await node.until(lambda: node.waiting("late") == "ErrImagePull")
    assert "localhost/late:test is not in the local store" == node.container("late").state.waiting.message
    await node.until(lambda: node.waiting("late") == "ImagePullBackOff")
    await node.event("late", "Failed", "Failed to pull image")
    assert "ErrImagePull: localhost/late:test is not" in node.container("late").state.waiting.message
    node.shelf.images["localhost/late:test"] = tmp_path
    await node.until(lambda: node.phase("late") == "Succeeded")


async def test_an_image_that_is_not_native_is_said_clearly(node: NodeUnderTest) -> None:
    await node.create(shell("foreign", "true", container={"image": "docker.io/library/nginx:1"}))
    await node.until(lambda: node.waiting("foreign") == "ImageNotNative")
    message = node.container("foreign").state.waiting.message
    assert "image 'docker.io/library/nginx:1' is not native on this node" in message
    assert "Pending" == node.phase("foreign")


async def test_a_failing_container_backs_off(node: NodeUnderTest) -> None:
    await node.create(shell("crash", "echo cannot load the model >&2; exit 3"))
    await node.until(lambda: node.waiting("crash") == "CrashLoopBackOff")
    shown = node.container("crash")
    assert "back-off " in shown.state.waiting.message
    assert f"restarting failed container=main pod=crash_ai-demo({node.pod('crash').metadata.uid})" in (
        shown.state.waiting.message
    )
    last = shown.lastState.terminated
    assert (3, "Error", "cannot load the model\n") == (last.exitCode, last.reason, last.message)
    assert "Running" == node.phase("crash")
    await node.until(lambda: node.container("crash").restartCount >= 2)
    await node.event("crash", "BackOff", "Back-off restarting failed container main in pod crash_ai-demo")
    assert "cannot load the model\n" == await node.logs("crash", previous="true")


async def test_init_containers_run_in_order_and_hand_over(node: NodeUnderTest) -> None:
    volume = {"volumes": [{"name": "work", "emptyDir": {}}], "restartPolicy": "Never"}
    mount = [{"name": "work", "mountPath": "/work-dir"}]
    image = "localhost/skerry-shell"
    first = {"name": "first", "image": image, "command": ["sh", "-c", "echo 1 >>/work-dir/f"], "volumeMounts": mount}
    second = {**first, "name": "second", "command": ["sh", "-c", "echo 2 >>/work-dir/f; test -s /work-dir/f"]}
    manifest = shell("steps", "cat /work-dir/f", container={"volumeMounts": mount}, **volume)
    manifest["spec"]["initContainers"] = [first, second]
    await node.create(manifest)
    await node.until(lambda: node.phase("steps") == "Succeeded")
    assert "1\n2\n" == await node.logs("steps", container="main")
    assert "Completed" == node.container("steps", "second").state.terminated.reason


async def test_a_failed_init_container_holds_the_pod_back(node: NodeUnderTest) -> None:
    init = {"name": "setup", "image": "localhost/skerry-shell", "command": ["sh", "-c", "exit 9"]}
    await node.create(shell("stuck", "true", initContainers=[init]))
    await node.until(lambda: node.waiting("stuck", "setup") == "CrashLoopBackOff")
    assert ("PodInitializing", "Pending") == (node.waiting("stuck"), node.phase("stuck"))
    await node.create(shell("dead", "true", initContainers=[init], restartPolicy="Never"))
    await node.until(lambda: node.phase("dead") == "Failed")


async def test_a_sidecar_runs_beside_and_ends_after(node: NodeUnderTest) -> None:
    sidecar = {"name": "side", "image": "localhost/skerry-shell", "restartPolicy": "Always"}
    sidecar["command"] = ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done"]  # type: ignore[assignment]
    await node.create(shell("pair", "sleep 0.3; exit 0", initContainers=[sidecar], restartPolicy="Never"))
    await node.until(lambda: node.ready("pair"))
    assert node.container("pair", "side").started
    await node.until(lambda: node.phase("pair") == "Succeeded")
    await node.until(lambda: node.container("pair", "side").state.terminated is not None)
    assert "up\nbye\n" == await node.logs("pair", container="side")


async def test_configuration_reaches_the_container(node: NodeUnderTest) -> None:
    await node.config_map("settings", LEVEL="debug", file="text")
    await node.secret("login", password="geheim")
    env = [
        _field("POD", "metadata.name"),
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "BOTH", "value": "$(POD)/$(PASSWORD)"},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    container = {
        "env": env,
        "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "settings"}}],
        "resources": {"limits": {"memory": "200Mi"}},
        "volumeMounts": [{"name": "cfg", "mountPath": "/etc/skerry-test"}],
    }
    volume = {"name": "cfg", "configMap": {"name": "settings", "items": [{"key": "file", "path": "dir/name"}]}}
    script = "echo $BOTH $CFG_LEVEL $LIMIT $HOSTNAME '$(NOBODY) $$(POD)'; cat /etc/skerry-test/dir/name"
    await node.create(shell("conf", script, container=container, volumes=[volume], restartPolicy="Never"))
    await node.until(lambda: node.phase("conf") in {"Succeeded", "Failed"})
    assert "conf/geheim debug 200 conf $(NOBODY) $(POD)\ntext" == await node.logs("conf")


async def test_missing_configuration_is_said_and_waited_for(node: NodeUnderTest) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}]
    await node.create(shell("needs", "echo $A", container={"env": env}, restartPolicy="Never"))
    await node.until(lambda: node.waiting("needs") == "CreateContainerConfigError")
    assert 'configmap "later" not found' == node.container("needs").state.waiting.message
    volume = {"name": "v", "configMap": {"name": "later"}}
    await node.create(shell("mounts", "true", volumes=[volume], restartPolicy="Never"))
    await node.event("mounts", "FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "later" not found')
    assert "ContainerCreating" == node.waiting("mounts")
    await node.config_map("later", a="here")
    await node.until(lambda: node.phase("needs") == "Succeeded" and node.phase("mounts") == "Succeeded")
    assert "here\n" == await node.logs("needs")


async def test_a_mounted_config_map_follows_its_object(node: NodeUnderTest) -> None:
    await node.config_map("live", key="old")
    script = "until grep -q new /etc/skerry-live/key; do sleep 0.02; done; echo seen"
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/etc/skerry-live"}]}
    volume = {"name": "v", "configMap": {"name": "live"}}
    await node.create(shell("follow", script, container=mount, volumes=[volume], restartPolicy="Never"))
    await node.until(lambda: node.phase("follow") == "Running")
    await node.config_map("live", key="new")
    await node.until(lambda: node.phase("follow") == "Succeeded")


async def test_host_paths_are_refused(node: NodeUnderTest) -> None:
    volume = {"name": "host", "hostPath": {"path": "/etc"}}
    await node.create(shell("nosy", "true", volumes=[volume]))
    assert "is not allowed on this node" in await node.event("nosy", "FailedMount")


async def test_liveness_restarts_and_readiness_does_not(node: NodeUnderTest, tmp_path: Path) -> None:
    sick, unready = tmp_path / "sick", tmp_path / "unready"
    unready.touch()
    probes = {
        "livenessProbe": {
            "exec": {"command": ["test", "!", "-e", str(sick)]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
        "readinessProbe": {"exec": {"command": ["test", "!", "-e", str(unready)]}, "periodSeconds": 1},
    }
    await node.create(shell("health", "sleep 100", container=probes))
    await node.until(lambda: node.phase("health") == "Running")
    assert not node.ready("health")
    unready.unlink()
    await node.until(lambda: node.ready("health"))
    assert 0 == node.container("health").restartCount
    sick.touch()
    await node.event("health", "Killing", "Container main failed liveness probe, will be restarted")
    await node.event("health", "Unhealthy", "Liveness probe failed: ")
    sick.unlink()
    await node.until(lambda: node.container("health").restartCount == 1 and node.ready("health"))
    assert 143 == node.container("health").lastState.terminated.exitCode


async def test_a_startup_probe_holds_the_others_back(node: NodeUnderTest, tmp_path: Path) -> None:
    started = tmp_path / "started"
    probes = {
        "startupProbe": {"exec": {"command": ["test", "-e", str(started)]}, "periodSeconds": 1, "failureThreshold": 30},
        "livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 100},
    }
    await node.create(shell("slow", "sleep 100", container=probes))
    await node.until(lambda: node.phase("slow") == "Running")
    assert node.container("slow").started is False
    assert not node.ready("slow")
    started.touch()
    await node.until(lambda: node.ready("slow"))
    assert node.container("slow").started


async def test_a_pod_that_ignores_the_stop_signal_is_killed(node: NodeUnderTest) -> None:
    await node.create(shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done"))
    await node.until(lambda: node.phase("deaf") == "Running")
    pid = node.pid("deaf")
    await node.delete("deaf", grace=1)
    await node.until(lambda: node.pod("deaf") is None, 8)
    assert gone(pid)


async def test_a_serving_pod_goes_on_until_requests_go_elsewhere(node: NodeUnderTest) -> None:
    serving = {"ports": [{"containerPort": 8888}]}
    await node.create(shell("serves", "sleep 100", container=serving))
    await node.until(lambda: node.ready("serves"))
    pid = node.pid("serves")
    before = asyncio.get_running_loop().time()
    await node.delete("serves", grace=3)  # a quarter of what is left at least, and that is told in whole seconds
    await node.until(lambda: node.pod("serves") is None)
    assert gone(pid)
    assert asyncio.get_running_loop().time() - before >= FAST.drain_seconds


async def test_a_deletion_just_before_a_status_is_written_is_not_missed(
    node: NodeUnderTest, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the write has the deletion in it already; the watch comes later and has nothing newer to tell."""
    patch, update, deleted, answered = client.patch, PodObject.update, asyncio.Event(), asyncio.Event()

    async def deleting_first(kind: Any, name: str, body: Any, **more: Any) -> Any:
        told = {each["type"]: each["status"] for each in body.get("status", {}).get("conditions") or []}
        if kind is Pod.Status and not deleted.is_set() and told.get("Ready") == "True":  # the last word for long
            deleted.set()
            await client.delete(Pod, name, namespace=NAMESPACE)
            answer = await patch(kind, name, body, **more)
            answered.set()
            return answer
        return await patch(kind, name, body, **more)

    def late(self: PodObject, pod: Pod) -> bool:
        return False if deleted.is_set() and not answered.is_set() else update(self, pod)

    monkeypatch.setattr(client, "patch", deleting_first)
    monkeypatch.setattr(PodObject, "update", late)
    await node.create(shell("p", "sleep 1000"))
    await node.until(lambda: deleted.is_set() and node.pod("p") is None)


async def test_a_pod_that_is_deleted_by_force_ends_at_once(node: NodeUnderTest) -> None:
    await node.create(shell("forced", "trap '' TERM; while :; do sleep 0.05; done"))
    await node.until(lambda: node.phase("forced") == "Running")
    pid = node.pid("forced")
    await node.delete("forced", grace=0)
    await node.until(lambda: node.pod("forced") is None)
    await eventually(lambda: gone(pid))
    await eventually(lambda: not list((node.root / "state/pods").iterdir()))


async def test_logs_are_followed_to_the_end(node: NodeUnderTest) -> None:
    script = "for i in 1 2 3; do echo $i; sleep 0.05; done"
    await node.create(shell("talk", script, restartPolicy="Never"))
    await node.until(lambda: node.phase("talk") in {"Running", "Succeeded"})
    assert "1\n2\n3\n" == await node.logs("talk", follow="true")


async def test_a_new_daemon_adopts_what_runs(tmp_path: Path, client: AsyncClient, shelf: Shelf) -> None:
    go = tmp_path / "go"
    script = f"echo one; until [ -e {go} ]; do sleep 0.02; done; echo two; exec sleep 100"
    probe = {"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}
    async with running(tmp_path, client, shelf, keep=True) as first:
        await first.create(shell("stays", script, container=probe))
        await first.until(lambda: first.ready("stays"))
        before = (first.pid("stays"), first.status("stays").podIP, first.container("stays").containerID)
    go.touch()
    async with running(tmp_path, client, shelf) as second:
        await second.until(lambda: second.pod("stays") is not None)
        changes: list[bool] = []
        second.agent._pods.listen(lambda _: changes.append(second.ready("stays")))
        await second.create(shell("later", "true", restartPolicy="Never"))
        await second.until(lambda: second.phase("later") == "Succeeded")
        after = (second.pid("stays"), second.status("stays").podIP, second.container("stays").containerID)
        assert before == after
        assert 0 == second.container("stays").restartCount
        assert all(changes), "it was ready all the time"
        assert "one\ntwo\n" == await second.logs("stays")


async def test_a_new_daemon_reports_what_ended_meanwhile(tmp_path: Path, client: AsyncClient, shelf: Shelf) -> None:
    go = tmp_path / "go"
    async with running(tmp_path, client, shelf, keep=True) as first:
        await first.create(shell("ends", f"until [ -e {go} ]; do sleep 0.02; done; exit 5", restartPolicy="Never"))
        await first.until(lambda: first.phase("ends") == "Running")
        pid = first.pid("ends")
    go.touch()
    await eventually(lambda: gone(pid))
    async with running(tmp_path, client, shelf) as second:
        await second.until(lambda: second.phase("ends") == "Failed")
        assert 5 == second.container("ends").state.terminated.exitCode


async def test_a_new_daemon_removes_what_the_api_forgot(tmp_path: Path, client: AsyncClient, shelf: Shelf) -> None:
    async with running(tmp_path, client, shelf, keep=True) as first:
        await first.create(shell("orphan", "sleep 100"))
        await first.until(lambda: first.phase("orphan") == "Running")
        pid = first.pid("orphan")
    await client.delete(Pod, "orphan", namespace=NAMESPACE, grace_period=0)
    async with running(tmp_path, client, shelf) as second:
        await eventually(lambda: gone(pid))
        await eventually(lambda: not list((second.root / "state/pods").iterdir()))


async def test_a_lost_supervisor_is_replaced(node: NodeUnderTest) -> None:
    await node.create(shell("lost", "sleep 100"))
    await node.until(lambda: node.phase("lost") == "Running")
    pid = node.pid("lost")
    supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    await node.until(lambda: node.container("lost").restartCount == 1)
    last = node.container("lost").lastState.terminated
    assert (137, "ContainerStatusUnknown") == (last.exitCode, last.reason)
    assert gone(pid)


async def test_a_pod_of_another_boot_begins_anew(tmp_path: Path, client: AsyncClient, shelf: Shelf) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/work-dir"}]}
    init = {"name": "setup", "image": "localhost/skerry-shell", "command": ["touch", "/work-dir/set-up"], **mount}
    volumes = [{"name": "work", "emptyDir": {"medium": "Memory"}}]
    script = "test -e /work-dir/set-up && exec sleep 100"
    async with running(tmp_path, client, shelf) as first:
        await first.create(shell("again", script, container=mount, initContainers=[init], volumes=volumes))
        await first.until(lambda: first.ready("again"))
        base = tmp_path / "state/pods" / first.pod("again").metadata.uid
    for file in [base / "pod.json", *base.glob("containers/*/0/state.json")]:
        file.write_text(file.read_text().replace(_boot_id(), "another-boot"))
    for file in base.glob("containers/main/0/exit.json"):
        file.unlink()
    shutil.rmtree(tmp_path / "run")
    async with running(tmp_path, client, shelf) as second:
        await second.until(lambda: second.ready("again") and second.container("again").restartCount == 1)
        assert 1 == second.container("again", "setup").restartCount
        assert 137 == second.container("again").lastState.terminated.exitCode


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def test_a_pod_that_runs_too_long_fails(node: NodeUnderTest) -> None:
    await node.create(shell("long", "sleep 100", activeDeadlineSeconds=1, restartPolicy="Never"))
    await node.until(lambda: node.phase("long") == "Failed")
    assert "DeadlineExceeded" == node.status("long").reason


async def test_each_pod_has_an_address_of_its_own(node: NodeUnderTest) -> None:
    env = {"args": [SERVER, "$(IP)"], "env": [_field("IP", "status.podIP")], "command": [sys.executable, "-u", "-c"]}
    probe = {"readinessProbe": {"tcpSocket": {"port": 8888}}}
    for name in ("one", "two"):
        await node.create(shell(name, "", container={**env, **probe}))
    await node.until(lambda: node.ready("one") and node.ready("two"))
    assert node.status("one").podIP != node.status("two").podIP


async def test_a_pod_that_takes_too_much_memory_is_ended(node: NodeUnderTest) -> None:
    hog = "held = bytearray(200 << 20); import time; time.sleep(100)"
    container = {"command": [sys.executable, "-c", hog], "resources": {"limits": {"memory": "48Mi"}}}
    await node.create(shell("hog", "", container=container, restartPolicy="Never"))
    await node.until(lambda: node.phase("hog") == "Failed")
    terminated = node.container("hog").state.terminated
    assert (137, "OOMKilled") == (terminated.exitCode, terminated.reason)


async def test_without_mount_namespaces_paths_are_rewritten(
    tmp_path: Path, client: AsyncClient, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardening, "mount_namespace_available", lambda: hardening.Isolation("none", "for a test"))
    (tmp_path / "image/models").mkdir(parents=True)
    (tmp_path / "image/models/m").write_text("weights")
    shelf.images["localhost/m:1"] = tmp_path / "image"
    mount = {"name": "m", "mountPath": "/mnt/models", "subPath": "models"}
    container = {
        "command": ["sh", "-c", 'cat "$0/m" "$MODEL"', "/mnt/models"],
        "env": [{"name": "MODEL", "value": "/mnt/models/m"}],
        "volumeMounts": [mount],
        "readinessProbe": {"exec": {"command": ["true"]}},
    }
    volumes = [{"name": "m", "image": {"reference": "localhost/m:1"}}]
    async with running(tmp_path, client, shelf) as node:
        await node.create(shell("plain", "", container=container, volumes=volumes, restartPolicy="Never"))
        await node.until(lambda: node.phase("plain") in {"Succeeded", "Failed"})
        assert "weightsweights" == await node.logs("plain")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give pods users of their own")
async def test_each_namespace_has_its_own_user(
    tmp_path: Path, client: AsyncClient, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = hardening.why_no_pod_users()
    if hardening.mount_namespace_available().kind != "root" or (why and "cannot enter" not in why):
        pytest.skip(why or "needs CAP_SYS_ADMIN")
    monkeypatch.setattr(hardening, "why_no_pod_users", lambda: "")
    script = "id -u; cat /etc/skerry-secret/p; echo data >/work-dir/f; touch $HOME/x; ls -ld $HOME; exec sleep 100"
    container = {
        "volumeMounts": [{"name": "s", "mountPath": "/etc/skerry-secret"}, {"name": "w", "mountPath": "/work-dir"}],
        "readinessProbe": {"exec": {"command": ["sh", "-c", "test -e /work-dir/f && test -O /work-dir/f"]}},
    }
    volumes = [{"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}}, {"name": "w", "emptyDir": {}}]
    async with running(tmp_path, client, shelf) as node:
        await node.secret("s", p="geheim")
        await node.create(shell("own", script, container=container, volumes=volumes))
        await node.until(lambda: node.ready("own"))
        lines = (await node.logs("own")).splitlines()
        assert str(hardening.FIRST_POD_USER) == lines[0]
        assert lines[1].startswith("geheimdrwx------ 2 1900000000")


async def test_a_stopped_node_leaves_pods_that_begin_again(tmp_path: Path, client: AsyncClient, shelf: Shelf) -> None:
    async with running(tmp_path, client, shelf) as first:
        await first.create(shell("comes-back", "sleep 100"))
        await first.until(lambda: first.phase("comes-back") == "Running")
        pid = first.pid("comes-back")
    assert gone(pid)
    async with running(tmp_path, client, shelf) as second:
        await second.until(lambda: second.container("comes-back") and second.container("comes-back").restartCount == 1)
        await second.until(lambda: second.ready("comes-back"))


async def test_what_a_dead_daemon_left_can_be_stopped(tmp_path: Path, client: AsyncClient, shelf: Shelf) -> None:
    async with running(tmp_path, client, shelf, keep=True) as node:
        await node.create(shell("left", "sleep 100"))
        await node.until(lambda: node.phase("left") == "Running")
        pid = node.pid("left")
    assert not gone(pid)
    assert 1 == await stop_leftovers(tmp_path / "state", tmp_path / "run", tmp_path / "log", 2.0)
    assert gone(pid)
    assert 0 == await stop_leftovers(tmp_path / "state", tmp_path / "run", tmp_path / "log", 2.0)


async def test_one_crashing_worker_is_made_anew(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.create(shell("strange", "sleep 100"))
    await node.until(lambda: node.ready("strange"))
    pid = node.pid("strange")
    worker = node.agent._workers[node.pod("strange").metadata.uid]

    async def crash() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(worker, "_step", crash)
    worker._wake.set()
    await eventually(lambda: node.agent._workers[node.pod("strange").metadata.uid] is not worker)
    await node.delete("strange")
    await node.until(lambda: node.pod("strange") is None)
    assert gone(pid)
