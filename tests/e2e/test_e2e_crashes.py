"""kill -9 of the daemon, of the gateway, of a model: requests go on, pods keep their pids, everything comes back."""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.e2e.running import Platform, eventually, start
from tests.e2e.walkthrough import ISVC, WALKTHROUGH_MODEL, binary_request

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

HOST = "ovms-resnet50-predictor.ai-demo.svc.cluster.local"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, classifier: Path) -> Iterator[Platform]:
    running = start(tmp_path_factory.mktemp("skerry"))
    running.skerry("model", "build", str(classifier / "model"), "-t", WALKTHROUGH_MODEL)
    running.kubectl("create", "ns", "ai-demo")
    runtime = eventually(
        lambda: (
            running.skerry(
                "get", "-n", "redhat-ods-applications", "servingruntimes", "kserve-ovms", "-o", "json"
            ).stdout
        ),
        "the shipped runtime",
    )
    item = json.loads(runtime)
    item["metadata"] = {"name": "kserve-ovms"}
    running.kubectl("create", "-n", "ai-demo", "-f", "-", stdin=json.dumps(item))
    running.kubectl("create", "-n", "ai-demo", "-f", "-", stdin=ISVC)
    waited = running.kubectl("wait", "-n", "ai-demo", "--for=condition=Ready", "isvc/ovms-resnet50", "--timeout=60s")
    assert waited.returncode == 0, running.skerry("describe", "isvc", "-n", "ai-demo", "ovms-resnet50").stdout
    yield running
    running.skerry("down")


class Client:
    """Asks from a thread of its own, until the block ends."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError


class Load(Client):
    """A client that asks for inferences until it is told to stop, and remembers every failure."""

    def __init__(self, url: str, picture: bytes) -> None:
        body, header_length = binary_request(picture)
        self._request = urllib.request.Request(
            f"{url}/v2/models/ovms-resnet50/infer",
            data=body,
            headers={"Host": HOST, "Inference-Header-Content-Length": str(header_length)},
        )
        self.answered = 0
        self.failures: list[str] = []
        super().__init__()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with urllib.request.urlopen(self._request, timeout=20) as answer:
                    answer.read()
                    self.answered += 1
            except (urllib.error.URLError, OSError) as error:
                self.failures.append(str(error))


def pod(platform: Platform) -> dict[str, Any]:
    items = platform.json("get", "pods", "-n", "ai-demo")["items"]
    assert len(items) == 1
    found: dict[str, Any] = items[0]
    return found


def model_pid(platform: Platform) -> int:
    """Find the process of the model server by its arguments and its platform's mount of the model."""
    found = subprocess.run(
        ["pgrep", "-f", "skerry.server .*--model_name=ovms-resnet50"], capture_output=True, text=True, check=False
    )
    address = pod(platform)["status"]["podIP"]
    for word in found.stdout.split():
        if address in Path(f"/proc/{word}/cmdline").read_text():
            return int(word)
    raise AssertionError("no model server")


def test_killing_the_daemon_fails_no_request_and_keeps_the_pod(platform: Platform, classifier: Path) -> None:
    before, pid = pod(platform), model_pid(platform)
    with Load(platform.facts["gateway_url"], (classifier / "coffee.jpg").read_bytes()) as load:
        eventually(lambda: load.answered > 5, "requests")
        os.kill(platform.facts["pid"], signal.SIGKILL)
        seen = load.answered
        eventually(lambda: load.answered > seen + 20, "requests while the daemon is dead")
        again = platform.up()
        assert again.returncode == 0, again.stderr + platform.log()
        seen = load.answered
        eventually(lambda: load.answered > seen + 20, "requests after the restart")
    assert not load.failures
    assert (
        platform.kubectl(
            "wait", "-n", "ai-demo", "--for=condition=Ready", "isvc/ovms-resnet50", "--timeout=30s"
        ).returncode
        == 0
    )
    after = pod(platform)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert model_pid(platform) == pid


def test_a_killed_model_server_is_restarted_and_counted(platform: Platform) -> None:
    os.kill(model_pid(platform), signal.SIGKILL)

    def restarted() -> bool:
        status = pod(platform)["status"]["containerStatuses"][0]
        return bool(status["restartCount"] >= 1 and status["ready"])

    eventually(restarted, "a restart")
    last = pod(platform)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == 137
    assert platform.kubectl("logs", "-n", "ai-demo", "deployment/ovms-resnet50-predictor", "-p").returncode == 0


def test_a_killed_gateway_comes_back_on_the_same_port(platform: Platform) -> None:
    url = platform.facts["gateway_url"]
    port = url.rsplit(":", 1)[1]
    found = subprocess.run(
        ["pgrep", "-f", f"skerry.cluster.gateway .*{platform.home}"], capture_output=True, text=True, check=False
    )
    assert found.stdout.split(), port
    for word in found.stdout.split():
        os.kill(int(word), signal.SIGKILL)

    def answers() -> bool:
        request = urllib.request.Request(f"{url}/v2/health/ready", headers={"Host": HOST})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    eventually(answers, "the gateway")


def test_a_model_that_dies_while_the_daemon_is_down_is_noticed(platform: Platform) -> None:
    count = pod(platform)["status"]["containerStatuses"][0]["restartCount"]
    pid = model_pid(platform)
    os.kill(platform.facts["pid"], signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    assert platform.up().returncode == 0
    eventually(
        lambda: (
            pod(platform)["status"]["containerStatuses"][0]["restartCount"] == count + 1
            and pod(platform)["status"]["containerStatuses"][0]["ready"]
        ),
        "the restart",
    )


def test_down_ends_every_process_and_up_brings_the_model_back(platform: Platform) -> None:
    assert platform.skerry("down").returncode == 0
    left = subprocess.run(["pgrep", "-f", str(platform.home)], capture_output=True, text=True, check=False)
    assert not left.stdout.split()
    assert platform.up().returncode == 0
    assert (
        platform.kubectl(
            "wait", "-n", "ai-demo", "--for=condition=Ready", "isvc/ovms-resnet50", "--timeout=60s"
        ).returncode
        == 0
    )
    eventually(lambda: pod(platform)["status"]["containerStatuses"][0]["ready"], "the model")


def test_a_lost_run_directory_is_made_again(platform: Platform) -> None:
    """A reboot empties it."""
    assert platform.skerry("down").returncode == 0
    shutil.rmtree(platform.home / "run")
    assert platform.up().returncode == 0
    waited = platform.kubectl("wait", "-n", "ai-demo", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    assert waited.returncode == 0, platform.skerry("describe", "isvc", "-n", "ai-demo", "ovms-resnet50").stdout


def test_after_a_power_cut_nothing_is_ready_before_it_runs_again(platform: Platform) -> None:
    """Every process ends at once, and the database still says Ready: the first answers must not."""
    waited = platform.kubectl("wait", "-n", "ai-demo", "--for=condition=Ready", "isvc/ovms-resnet50", "--timeout=60s")
    assert waited.returncode == 0
    before = pod(platform)["status"]["containerStatuses"][0]["containerID"]
    cut_the_power(platform)
    log = platform.home / "log" / "daemon.log"
    written = log.stat().st_size
    with FirstAnswers(platform, free_port()) as first:
        assert platform.up(f"apiServer.port={first.port}").returncode == 0
    assert b"watch broke" not in log.read_bytes()[written:], "what looked first has left the others in peace"
    # In the order in which they were asked for: a model that is ready has a pod that is.
    services, deployments, pods = first.answers
    container = pods[0]["status"]["containerStatuses"][0]
    if container["containerID"] == before or not container["ready"]:
        assert [condition(item, "Ready") for item in [*pods, *services]] == ["False", "False"]
        assert [condition(item, "Available") for item in deployments] == ["False"]
    waited = platform.kubectl("wait", "-n", "ai-demo", "--for=condition=Ready", "isvc/ovms-resnet50", "--timeout=60s")
    assert waited.returncode == 0


class FirstAnswers(Client):
    """A client that asks from before the platform answers; an impatient `kubectl`."""

    _PATHS = (
        "/apis/serving.kserve.io/v1beta1/namespaces/ai-demo/inferenceservices",
        "/apis/apps/v1/namespaces/ai-demo/deployments",
        "/api/v1/namespaces/ai-demo/pods",
    )

    def __init__(self, platform: Platform, port: int) -> None:
        token = (platform.home / "state" / "pki" / "admin.token").read_text().strip()
        self.port = port
        self._headers = {"Authorization": f"Bearer {token}"}
        self._trust = ssl.create_default_context(cafile=str(platform.home / "state" / "pki" / "ca.crt"))
        self.answers: list[list[dict[str, Any]]] = []
        super().__init__()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                self.answers = [self._items(path) for path in self._PATHS]
                return
            time.sleep(0.005)

    def _items(self, path: str) -> list[dict[str, Any]]:
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers=self._headers)
        with urllib.request.urlopen(request, timeout=20, context=self._trust) as answer:
            items: list[dict[str, Any]] = json.load(answer)["items"]
            return items


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def condition(item: dict[str, Any], kind: str) -> str:
    conditions = item["status"].get("conditions", [])
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")


def cut_the_power(platform: Platform) -> None:
    """Kill the daemon first, so that it sees nothing, then all that it has started."""
    os.kill(platform.facts["pid"], signal.SIGKILL)
    found = subprocess.run(["pgrep", "-f", str(platform.home)], capture_output=True, text=True, check=False)
    own = model_processes(platform)
    for word in {*found.stdout.split(), *own}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(word), signal.SIGKILL)


def model_processes(platform: Platform) -> list[str]:
    """Containers do not name their platform in their arguments; their environment does."""
    mark = f"={platform.home}/state/node/pods".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                found.append(entry.name)
    return found


def test_a_closed_terminal_ends_everything(platform: Platform) -> None:
    os.kill(platform.facts["pid"], signal.SIGHUP)
    eventually(lambda: platform.skerry("status").returncode == 3, "the platform has ended")
    left = subprocess.run(["pgrep", "-f", str(platform.home)], capture_output=True, text=True, check=False)
    assert not left.stdout.split()
    assert platform.up().returncode == 0


def test_down_after_a_kill_ends_what_was_left(platform: Platform) -> None:
    waited = platform.kubectl("wait", "-n", "ai-demo", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    assert waited.returncode == 0
    os.kill(platform.facts["pid"], signal.SIGKILL)
    eventually(lambda: platform.skerry("status").returncode == 3, "the daemon is dead")
    done = platform.skerry("down")
    assert "the gateway and 1 container" in done.stderr
    left = subprocess.run(["pgrep", "-f", str(platform.home)], capture_output=True, text=True, check=False)
    assert not left.stdout.split()
    assert platform.up().returncode == 0
