"""What `skerry status` says of models that nothing runs for on purpose, and how it fits on a terminal."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.cli.test_cli_status import running

from skerry.cli.main import cli
from skerry.cli.status_text import lines
from skerry.daemon.health import acknowledge, note, read_health
from skerry.daemon.paths import Paths
from skerry.kit.clock import SystemClock

Item = dict[str, Any]

KUBECONFIG = """
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{}}}}]
"""
NODE = {"metadata": {"name": "skerry"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


class Api(ThreadingHTTPServer):
    """An API server that knows its lists by heart."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lists: dict[str, list[Item]] = {"nodes": [NODE]}


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        items = self.server.lists.get(self.path.rpartition("/")[2], [])
        content = json.dumps({"items": items}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(box: Paths) -> Iterator[Api]:
    """A platform that runs, with this API."""
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        port = server.server_address[1]
        box.kubeconfig.write_text(KUBECONFIG.format(port=port))
        running(box, f"http://127.0.0.1:{port}")
        yield server
        server.shutdown()
        thread.join()


def isvc(name: str = "bee", ready: str = "True", message: str = "", **more: Any) -> Item:
    condition = {"type": "Ready", "status": ready, "message": message, **more.pop("condition", {})}
    meta = {"namespace": "a", "name": name, "uid": f"uid-{name}", "annotations": more.pop("annotations", {})}
    return {"metadata": meta, "spec": {"predictor": more}, "status": {"conditions": [condition]}}


def deployment(replicas: int | None, name: str = "bee") -> Item:
    owner = {"uid": f"uid-{name}", "controller": True}
    meta = {"namespace": "a", "name": f"{name}-predictor", "uid": "d", "ownerReferences": [owner]}
    return {"metadata": meta, "spec": {} if replicas is None else {"replicas": replicas}}


def status(*words: str) -> Result:
    done = CliRunner().invoke(cli, ["status", *words], standalone_mode=False)
    assert done.exception is None, done.exception
    return done


def model(api: Api, item: Item, *deployments: Item) -> Item:
    api.lists |= {"inferenceservices": [item], "deployments": list(deployments)}
    found: Item = json.loads(status("-o", "json").stdout)["models"][0]
    return found


def test_a_model_that_runs(api: Api) -> None:
    found = model(api, isvc(), deployment(1))
    assert (found["ready"], found["replicas"], found["message"]) == ("True", 1, "")
    assert model(api, isvc(), deployment(None))["replicas"] == 1


def test_a_model_that_is_scaled_to_0_is_not_ready_and_says_what_wakes_it(api: Api) -> None:
    """KServe's condition stays True, because the Deployment has all the pods that it wants."""
    found = model(api, isvc(), deployment(0))
    assert (found["ready"], found["replicas"]) == ("False", 0)
    wakes = "kubectl scale deployment -n a bee-predictor --replicas=1"
    assert wakes in found["message"]
    assert "no request wakes it" in found["message"]
    done = status()
    row = next(line for line in done.stdout.splitlines() if line.startswith("a "))
    assert row.startswith("a           bee     Scaled to 0   <none>   ")
    assert wakes in row
    assert "Next:" not in done.stdout


def test_nothing_is_wrong_with_a_model_that_is_scaled_to_0(api: Api) -> None:
    model(api, isvc(), deployment(0))
    assert status().return_value == 0
    assert json.loads(status("-o", "json").stdout)["ready"] is True


def test_where_the_manifest_says_0_the_manifest_wakes_it(api: Api) -> None:
    """With `autoscalerClass: none` a size that is set by hand is put back."""
    by_hand = isvc(annotations={"serving.kserve.io/autoscalerClass": "none"}, minReplicas=0)
    found = model(api, by_hand, deployment(0))
    assert (
        'kubectl patch isvc -n a bee --type=merge -p \'{"spec":{"predictor":{"minReplicas":1}}}\'' in found["message"]
    )


def test_a_stopped_model_says_how_to_start_it(api: Api) -> None:
    stopped = isvc(ready="False", condition={"reason": "Stopped"}, annotations={"serving.kserve.io/stop": "true"})
    found = model(api, stopped)
    assert (found["ready"], found["replicas"]) == ("False", 0)
    assert "kubectl annotate isvc -n a bee serving.kserve.io/stop-" in found["message"]
    assert status().return_value == 0
    assert "Stopped" in status().stdout


def test_a_model_that_cannot_run_is_not_excused(api: Api) -> None:
    found = model(api, isvc(ready="False", message="no runtime"), deployment(0))
    assert (found["ready"], found["message"]) == ("False", "no runtime")
    done = status()
    assert (done.return_value, "Next: skerry describe isvc bee -n a" in done.stdout) == (1, True)


LONG = "the server ended: " + "its last words were many " * 12 + "see `skerry logs isvc/bee -p`"


def test_a_terminal_gets_lines_that_fit(api: Api) -> None:
    model(api, isvc(ready="False", message=LONG), deployment(1))
    seen = json.loads(status("-o", "json").stdout)
    whole = lines(seen, None)
    assert any(LONG in line for line in whole)
    fitting = lines(seen, 80)
    assert max(map(len, fitting)) <= 80
    assert LONG.split() == [word for line in fitting if line.startswith("    ") for word in line.split()]


def test_short_messages_stay_in_their_column(api: Api) -> None:
    model(api, isvc(ready="False", message="no runtime"), deployment(1))
    seen = json.loads(status("-o", "json").stdout)
    assert [line for line in lines(seen, 200) if "NAMESPACE" in line] == [
        line for line in lines(seen, None) if "NAMESPACE" in line
    ]
    assert any(line.startswith("a ") and line.endswith("no runtime") for line in lines(seen, 120))


def test_what_is_no_terminal_gets_whole_lines(api: Api) -> None:
    model(api, isvc(ready="False", message=LONG), deployment(1))
    assert LONG in status().stdout
    assert LONG in status("-o", "wide").stdout


def test_notices_are_dismissed_when_they_have_been_shown(box: Paths, api: Api) -> None:
    for number in range(5):
        note(box.health, "StoreRestored", f"number {number}", SystemClock().now())
    told = status().stdout
    assert [f"number {number}" in told for number in range(5)] == [True] * 5
    assert "skerry status --acknowledge" in told
    shown = status("--acknowledge")
    assert (shown.return_value, "number 4" in shown.stdout) == (0, True)
    assert "number" not in status().stdout
    assert "--acknowledge" not in status().stdout
    assert json.loads(status("-o", "json").stdout)["store"]["notices"] == []


def test_a_notice_that_nobody_has_seen_stays(box: Paths) -> None:
    note(box.health, "StoreRestored", "seen", SystemClock().now())
    seen = read_health(box.health).notices
    note(box.health, "StoreDamaged", "came meanwhile", SystemClock().now())
    acknowledge(box.health, seen)
    assert [one.message for one in read_health(box.health).notices] == ["came meanwhile"]


def test_notices_of_a_platform_that_is_stopped_can_be_dismissed_too(box: Paths) -> None:
    note(box.health, "StoreRestored", "old", SystemClock().now())
    assert status("--acknowledge").return_value == 3
    assert read_health(box.health).notices == []
