"""What goes wrong is said in the right place, names what to do, and nothing hangs.

One small model, so that failures are quick; each test has a namespace of its own.
"""

import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.running import Platform, eventually, start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = start(tmp_path_factory.mktemp("skerry"))
    eventually(
        lambda: (
            running.kubectl("get", "-n", "redhat-ods-applications", "servingruntimes", "kserve-ovms").returncode == 0
        ),
        "the shipped runtimes",
    )
    yield running
    running.skerry("down")


@pytest.fixture
def namespace(platform: Platform) -> str:
    name = f"ns-{uuid.uuid4().hex[:6]}"
    platform.kubectl("create", "ns", name)
    runtime = platform.json("get", "-n", "redhat-ods-applications", "servingruntime", "kserve-ovms")
    runtime["metadata"] = {"name": "kserve-ovms"}
    assert platform.kubectl("create", "-n", name, "-f", "-", stdin=json.dumps(runtime)).returncode == 0
    return name


def create(platform: Platform, namespace: str, **model: Any) -> None:
    spec = {
        "modelFormat": {"name": "openvino_ir"},
        "protocolVersion": "v2",
        "storageUri": "oci://localhost/none:1",
        **model,
    }
    item = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "m"},
        "spec": {"predictor": {"model": spec}},
    }
    made = platform.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(item))
    assert made.returncode == 0, made.stderr


def failure(platform: Platform, namespace: str) -> dict[str, Any]:
    """Return lastFailureInfo once there is one."""

    def look() -> Any:
        status = platform.json("get", "-n", namespace, "isvc", "m").get("status", {})
        return status.get("modelStatus", {}).get("lastFailureInfo")

    found: dict[str, Any] = eventually(look, "lastFailureInfo")
    return found


def ready_condition(platform: Platform, namespace: str) -> dict[str, Any]:
    for one in platform.json("get", "-n", namespace, "isvc", "m")["status"]["conditions"]:
        if one["type"] == "Ready":
            found: dict[str, Any] = one
            return found
    raise AssertionError("no Ready condition")


def described(platform: Platform, namespace: str) -> str:
    return platform.skerry("describe", "-n", namespace, "isvc", "m").stdout


def broken_image(platform: Platform, tmp_path: Path) -> str:
    """Make a ModelCar with files that are no model."""
    version = tmp_path / "model" / "1"
    version.mkdir(parents=True)
    (version / "model.xml").write_text("<net><layers>this is cut o")
    (version / "model.bin").write_bytes(b"\0" * 16)
    reference = f"localhost/broken-{uuid.uuid4().hex[:6]}:1"
    built = platform.skerry("model", "build", str(tmp_path / "model"), "-t", reference)
    assert built.returncode == 0, built.stderr
    return reference


def test_an_unknown_format_names_the_runtimes_and_why(platform: Platform, namespace: str) -> None:
    create(platform, namespace, modelFormat={"name": "crystal-ball"})
    found = failure(platform, namespace)
    assert found["reason"] == "NoSupportingRuntime"
    assert "kserve-ovms" in found["message"]
    assert "crystal-ball" in found["message"]
    condition = ready_condition(platform, namespace)
    assert condition["status"] == "False"
    assert "kserve-ovms" in described(platform, namespace)
    assert platform.skerry("status").returncode == 1


def test_the_forgotten_protocol_version_is_named(platform: Platform, namespace: str) -> None:
    create(platform, namespace, protocolVersion=None)
    found = failure(platform, namespace)
    assert found["reason"] == "NoSupportingRuntime"
    assert "protocolVersion: v2" in found["message"]


def test_a_missing_runtime_is_picked_up_when_it_comes(platform: Platform, namespace: str, tmp_path: Path) -> None:
    create(platform, namespace, runtime="later")
    assert failure(platform, namespace)["reason"] == "RuntimeNotRecognized"
    runtime = platform.json("get", "-n", namespace, "servingruntime", "kserve-ovms")
    runtime["metadata"] = {"name": "later"}
    platform.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(runtime))
    eventually(lambda: platform.json("get", "-n", namespace, "deployments")["items"], "a Deployment", seconds=10)


def test_a_missing_image_says_how_to_get_it(platform: Platform, namespace: str) -> None:
    create(platform, namespace)
    message = failure(platform, namespace)["message"]
    assert "localhost/none:1" in message
    assert "skerry model build" in message
    status = eventually(
        lambda: [
            line.split()[2]
            for line in platform.kubectl("get", "pods", "-n", namespace, "--no-headers").stdout.splitlines()
            if "Pull" in line
        ],
        "the pod's status",
    )
    assert status[0] in {"ErrImagePull", "ErrImageNeverPull", "ImagePullBackOff"}
    events = platform.kubectl("get", "events", "-n", namespace).stdout
    assert "localhost/none:1" in events
    assert "skerry model build" in described(platform, namespace)


def test_the_missing_image_is_taken_as_soon_as_it_is_built(
    platform: Platform, namespace: str, classifier: Path
) -> None:
    create(platform, namespace, storageUri="oci://localhost/soon:1", args=["--layout=NHWC:NCHW"])
    failure(platform, namespace)
    platform.skerry("model", "build", str(classifier / "model"), "-t", "localhost/soon:1")
    waited = platform.kubectl("wait", "-n", namespace, "--for=condition=Ready", "isvc/m", "--timeout=60s")
    assert waited.returncode == 0, described(platform, namespace)
    status = platform.json("get", "-n", namespace, "isvc", "m")["status"]["modelStatus"]
    assert "lastFailureInfo" not in status


def test_a_broken_model_shows_the_servers_last_words(platform: Platform, namespace: str, tmp_path: Path) -> None:
    create(platform, namespace, storageUri=f"oci://{broken_image(platform, tmp_path)}")
    found = failure(platform, namespace)
    assert found["reason"] == "ModelLoadFailed"
    assert "model.xml" in found["message"]
    text = described(platform, namespace)
    assert "model.xml" in text
    pod = eventually(
        lambda: [
            line
            for line in platform.kubectl("get", "pods", "-n", namespace, "--no-headers").stdout.splitlines()
            if "CrashLoopBackOff" in line or "Error" in line
        ],
        "the pod crashes",
    )
    assert pod
    assert (
        "model.xml"
        in platform.skerry("logs", "-n", namespace, "isvc/m").stdout
        + platform.skerry("logs", "-n", namespace, "isvc/m", "-p").stdout
    )


def test_a_wrong_model_name_is_404_with_the_name(platform: Platform, namespace: str, classifier: Path) -> None:
    platform.skerry("model", "build", str(classifier / "model"), "-t", "localhost/named:1")
    create(platform, namespace, storageUri="oci://localhost/named:1")
    assert platform.kubectl("wait", "-n", namespace, "--for=condition=Ready", "isvc/m", "--timeout=60s").returncode == 0
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "-w",
            "\n%{http_code}",
            "-H",
            f"Host: m-predictor.{namespace}.svc.cluster.local",
            f"{platform.facts['gateway_url']}/v2/models/other",
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    body, code = done.stdout.rsplit("\n", 1)
    assert code == "404"
    assert json.loads(body)["error"]


def test_bad_objects_are_refused_at_once(platform: Platform, namespace: str) -> None:
    item = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "m"},
        "spec": {"predictor": {"minReplicas": -1, "model": {"modelFormat": {"name": "onnx"}}}},
    }
    refused = platform.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(item))
    assert refused.returncode == 1
    assert "'MinReplicas' cannot be less than 0" in refused.stderr


@pytest.mark.parametrize("setting", ["apiServer.port", "ingress.ports.http"])
def test_a_busy_port_ends_up_at_once_and_names_the_setting(tmp_path: Path, setting: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        others = {"apiServer.port": "0", "ingress.ports.http": "0", setting: str(port)}
        arguments = [word for key, value in others.items() for word in ("--set", f"{key}={value}")]
        environment = {**Platform(tmp_path / "home").environment}
        for detach in ([], ["-d"]):
            done = subprocess.run(
                [sys.executable, "-m", "skerry", "up", *detach, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 1
            assert f"127.0.0.1:{port}" in done.stderr
            assert setting in done.stderr
            assert "Traceback" not in done.stderr


def test_up_twice_and_down_twice(platform: Platform) -> None:
    again = platform.skerry("up", "-d")
    assert again.returncode == 0
    assert "already runs" in again.stderr
    second = subprocess.run(
        [sys.executable, "-m", "skerry", "up"],
        env=platform.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 3
    assert "already runs" in second.stderr


def test_a_stopped_platform_says_how_to_start_it(tmp_path: Path) -> None:
    nowhere = Platform(tmp_path / "home")
    assert nowhere.skerry("status").returncode == 3
    assert "skerry up -d" in nowhere.skerry("status").stderr
    assert nowhere.skerry("down").returncode == 0
    environment = {key: value for key, value in nowhere.environment.items() if key != "KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "skerry", "get", "pods"],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "skerry up -d" in done.stderr


def test_a_directory_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    in_the_way = tmp_path / "home"
    in_the_way.write_text("a file")
    nowhere = Platform(in_the_way)
    for words in (["up"], ["up", "-d"], ["model", "list"]):
        done = nowhere.skerry(*words)
        assert done.returncode == 1, words
        assert str(in_the_way) in done.stderr, words
        assert "Traceback" not in done.stderr, words
