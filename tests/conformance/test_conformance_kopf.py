"""An operator written with kopf: handlers, a timer, status, events and a finalizer, beside the platform's operator."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.isvc import inference_service
from tests.e2e.running import Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
OPERATOR = Path(__file__).with_name("kopf_operator.py")
FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"


@pytest.fixture
def log(platform: Platform, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """Run the operator for one namespace; its log is what it says of itself."""
    path = tmp_path / "kopf.log"
    words = [sys.executable, "-m", "kopf", "run", str(OPERATOR), "-n", namespace, "--standalone"]
    with path.open("w") as stream:
        process = subprocess.Popen(words, env=platform.environment, stdout=stream, stderr=stream)
    yield path
    process.terminate()
    process.wait(timeout=20)
    assert "Traceback" not in path.read_text()


def test_an_operator(platform: Platform, namespace: str, log: Path) -> None:
    def item() -> Any:
        return platform.json("get", "-n", namespace, "isvc", "m")

    def until(what: str, check: Any) -> Any:
        try:
            return eventually(lambda: check(item()), what, 30)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; there is {item()['status']}, and the operator says {log.read_text()}"
            ) from None

    made = platform.kubectl(
        "create", "-f", "-", stdin=json.dumps(inference_service("m", namespace, "localhost/none:1"))
    )
    assert made.returncode == 0, made.stderr
    until("a greeting", lambda found: found["metadata"].get("labels") == {"greeted": "yes"})
    until("the result in the status", lambda found: found["status"].get("created") == {"format": "lightgbm"})
    until("a tick", lambda found: found["status"].get("ticked"))
    until("the platform's own status beside it", lambda found: found["status"].get("conditions"))
    assert FINALIZER in item()["metadata"]["finalizers"]
    events = platform.json("get", "-n", namespace, "events", "--field-selector", "reason=Greeted")["items"]
    assert [event["involvedObject"]["name"] for event in events] == ["m"]
    resize = '{"spec":{"predictor":{"minReplicas":2}}}'
    assert platform.kubectl("patch", "-n", namespace, "isvc", "m", "--type=merge", "-p", resize).returncode == 0
    until("the change", lambda found: {"to": 2} in found["status"].values())
    gone = platform.kubectl("delete", "-n", namespace, "isvc", "m", "--timeout=30s")
    assert gone.returncode == 0, gone.stderr
    assert f"good-bye {namespace}/m" in log.read_text()
