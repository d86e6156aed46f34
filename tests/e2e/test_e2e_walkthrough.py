"""The walkthrough, step by step, with a real kubectl, and its output compared with what the guide prints.

The guide is MicroShift's "AI Model Serving"; the verified transcript lines are those of a real kubectl against a real
API server. Differences that are meant (one container instead of two, the port in the URL) are in
docs/reference/differences.md.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.running import Platform, eventually, kubectls
from tests.e2e.walkthrough import ISVC, WALKTHROUGH_MODEL, binary_request

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SERVICE = "ovms-resnet50-predictor"
HOST = f"{SERVICE}-ai-demo.apps.localhost"
BEE = Path(__file__).parents[3] / "shared" / "data" / "bee.jpeg"


def curl(platform: Platform, path: str, *words: str) -> "subprocess.CompletedProcess[bytes]":
    address = platform.facts["gateway_url"].removeprefix("http://")
    command = ["curl", "-sS", "--max-time", "20", *words, f"http://{HOST}{path}", "--connect-to", f"{HOST}::{address}"]
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


def classify(platform: Platform, picture: bytes, tmp_path: Path) -> tuple[int, float]:
    body, header_length = binary_request(picture)
    request = tmp_path / "request.json"
    request.write_bytes(body)
    header = f"Inference-Header-Content-Length: {header_length}"
    done = curl(platform, "/v2/models/ovms-resnet50/infer", "--data-binary", f"@{request}", "--header", header)
    response = json.loads(done.stdout)
    data = response["outputs"][0]["data"]
    assert response["model_name"] == "ovms-resnet50"
    assert response["model_version"] == "1"
    assert response["outputs"][0]["shape"] == [1, 1000]
    return data.index(max(data)), max(data)


@pytest.fixture(scope="module")
def deployed(platform: Platform, classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Everything up to the Route, with each command's output checked on the way."""
    built = platform.skerry("model", "build", str(classifier / "model"), "-t", WALKTHROUGH_MODEL)
    assert built.returncode == 0, built.stderr
    assert "localhost/ovms-resnet50:test" in built.stdout
    assert platform.kubectl("create", "ns", "ai-demo").stdout == "namespace/ai-demo created\n"
    shipped = eventually(
        lambda: (
            platform.kubectl(
                "get", "-n", "redhat-ods-applications", "servingruntimes", "kserve-ovms", "-o", "yaml"
            ).stdout
        ),
        "the shipped runtime",
    )
    removed = r"^  (creationTimestamp|generation|resourceVersion|uid|namespace):.*\n"
    runtime = tmp_path_factory.mktemp("files") / "ovms.yaml"
    runtime.write_text(re.sub(removed, "", shipped, flags=re.MULTILINE))
    made = platform.kubectl("create", "-n", "ai-demo", "-f", str(runtime))
    assert made.stdout == "servingruntime.serving.kserve.io/kserve-ovms created\n", made.stderr
    isvc = platform.kubectl("create", "-n", "ai-demo", "-f", "-", stdin=ISVC)
    assert isvc.stdout == "inferenceservice.serving.kserve.io/ovms-resnet50 created\n", isvc.stderr
    exposed = eventually(lambda: platform.skerry("expose", "svc", "-n", "ai-demo", SERVICE).stdout, "the Service")
    assert exposed == f"route.route.openshift.io/{SERVICE} exposed\n"
    waited = platform.kubectl("wait", "-n", "ai-demo", "--for=condition=Ready", "isvc/ovms-resnet50", "--timeout=60s")
    assert waited.returncode == 0, (
        waited.stderr + platform.skerry("describe", "isvc", "-n", "ai-demo", "ovms-resnet50").stdout
    )
    return platform


def test_the_columns_of_kubectl_get(deployed: Platform) -> None:
    deployment = deployed.kubectl("get", "-n", "ai-demo", "deployment").stdout.splitlines()
    assert re.fullmatch(r"NAME +READY +UP-TO-DATE +AVAILABLE +AGE", deployment[0])
    assert re.fullmatch(rf"{SERVICE}   1/1     1            1           \d+s", deployment[1])
    pod = deployed.kubectl("get", "-n", "ai-demo", "pod").stdout.splitlines()
    assert re.fullmatch(r"NAME +READY   STATUS    RESTARTS   AGE", pod[0])
    assert re.fullmatch(rf"{SERVICE}-[a-z0-9]+-[a-z0-9]{{5}}   1/1     Running   0          \d+s", pod[1])
    service = deployed.kubectl("get", "svc", "-n", "ai-demo").stdout.splitlines()
    assert service[0] == "NAME                      TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)   AGE"
    assert re.fullmatch(rf"{SERVICE}   ClusterIP   None         <none>        80/TCP    \d+s", service[1])
    route = deployed.kubectl("get", "route", "-n", "ai-demo").stdout.splitlines()
    assert re.fullmatch(r"NAME +HOST +ADMITTED   SERVICE +TLS", route[0])
    assert route[1].split() == [SERVICE, HOST, "True", SERVICE]
    isvc = deployed.kubectl("get", "isvc", "-n", "ai-demo").stdout.splitlines()
    assert isvc[0].split() == [
        "NAME",
        "URL",
        "READY",
        "PREV",
        "LATEST",
        "PREVROLLEDOUTREVISION",
        "LATESTREADYREVISION",
        "AGE",
    ]
    assert isvc[1].split()[0] == "ovms-resnet50"
    assert " True " in isvc[1]
    runtimes = deployed.kubectl("get", "servingruntimes", "-n", "ai-demo").stdout.splitlines()
    assert runtimes[0].split() == ["NAME", "DISABLED", "MODELTYPE", "CONTAINERS", "AGE"]
    assert runtimes[1].split()[:3] == ["kserve-ovms", "openvino_ir", "kserve-container"]


def test_skerry_get_prints_what_kubectl_prints(deployed: Platform) -> None:
    for words in (["pods"], ["svc"], ["isvc"], ["deployments", "-o", "wide"], ["routes"], ["cm", "-A"]):
        ours = deployed.skerry("get", "-n", "ai-demo", *words).stdout
        theirs = deployed.kubectl("get", "-n", "ai-demo", *words).stdout
        ages = re.compile(r"\d+[smhd]\d*[smh]?")
        assert [ages.sub("AGE", line).split() for line in ours.splitlines()] == [
            ages.sub("AGE", line).split() for line in theirs.splitlines()
        ]


def test_ready_answers_as_in_the_guide(deployed: Platform) -> None:
    head, _, body = curl(deployed, "/v2/models/ovms-resnet50/ready", "-i").stdout.decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert headers["content-type"].startswith("application/json")
    assert headers["content-length"] == "0"
    assert "date" in headers
    # The OpenShift router's name for the cookie of exactly this route; the guide shows the same value.
    assert re.fullmatch(r"56bb4b6df4f80f0b59f56aa0a5a91c1a=[0-9a-f]{32}; path=/; httponly", headers["set-cookie"])
    assert body == ""


def test_metadata_is_the_guides_line(deployed: Platform) -> None:
    assert json.loads(curl(deployed, "/v2/models/ovms-resnet50").stdout) == {
        "name": "ovms-resnet50",
        "versions": ["1"],
        "platform": "OpenVINO",
        "inputs": [{"name": "0", "datatype": "FP32", "shape": [1, 224, 224, 3]}],
        "outputs": [{"name": "1463", "datatype": "FP32", "shape": [1, 1000]}],
    }


def test_the_photograph_is_an_espresso(deployed: Platform, classifier: Path, tmp_path: Path) -> None:
    index, probability = classify(deployed, (classifier / "coffee.jpg").read_bytes(), tmp_path)
    assert index == 967
    # Wrong channel order or normalisation still finds the class, with less certainty.
    assert probability > 0.85


@pytest.mark.skipif(not BEE.exists(), reason="the guide's picture is not beside this checkout")
def test_the_bee_is_a_bee(deployed: Platform, tmp_path: Path) -> None:
    index, probability = classify(deployed, BEE.read_bytes(), tmp_path)
    assert index == 309
    assert probability > 0.9


def test_skerry_infer_is_the_whole_dance(deployed: Platform, classifier: Path) -> None:
    done = deployed.skerry(
        "infer",
        "-n",
        "ai-demo",
        "ovms-resnet50",
        str(classifier / "coffee.jpg"),
        "--labels",
        str(classifier / "labels.txt"),
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"967  0\.\d+  .*espresso", done.stdout)
    missing = deployed.skerry("infer", "-n", "ai-demo", "ovms-resnet51", str(classifier / "coffee.jpg"))
    assert missing.returncode == 1
    assert 'there is no model "ovms-resnet51" in namespace ai-demo; there is: ovms-resnet50' in missing.stderr


def test_metrics_are_the_guides_lines(deployed: Platform) -> None:
    curl(deployed, "/v2/models/ovms-resnet50/ready")
    text = curl(deployed, "/metrics").stdout.decode()
    assert "# HELP ovms_requests_success Number of successful requests to a model or a DAG.\n" in text
    assert "# TYPE ovms_requests_success counter\n" in text
    ready = r'ovms_requests_success{api="KServe",interface="REST",method="ModelReady",name="ovms-resnet50"} [1-9]\d*\n'
    assert re.search(ready, text)
    metadata = (
        'ovms_requests_success{api="KServe",interface="REST",method="ModelMetadata",name="ovms-resnet50",version="1"} '
    )
    assert metadata in text


@pytest.mark.parametrize("kubectl", kubectls())
def test_the_rest_of_kubectl(deployed: Platform, kubectl: str) -> None:
    def run(*words: str) -> str:
        done = deployed.run(kubectl, *words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    assert "inferenceservices" in run("api-resources", "--api-group=serving.kserve.io")
    assert re.search(r"isvc +serving.kserve.io/v1beta1 +true +InferenceService", run("api-resources"))
    assert "KIND:       InferenceService" in run("explain", "isvc")
    assert "storageUri" in run("explain", "isvc.spec.predictor.model")
    assert "FIELD: containerPort" in run("explain", "pod.spec.containers.ports.containerPort")
    assert "ovms-resnet50" in run("describe", "-n", "ai-demo", "isvc", "ovms-resnet50")
    assert "Events:" in run("describe", "-n", "ai-demo", "pod", "-l", "app=isvc.ovms-resnet50-predictor")
    assert f'deployment "{SERVICE}" successfully rolled out' in run(
        "rollout", "status", "-n", "ai-demo", f"deployment/{SERVICE}"
    )
    logs = run("logs", "-n", "ai-demo", f"deployment/{SERVICE}", "--tail=20")
    assert logs.strip()
    assert run("get", "-n", "ai-demo", "pods", "-o", "jsonpath={.items[0].status.phase}") == "Running"
    assert run("get", "nodes").splitlines()[1].split()[1] == "Ready"
    assert "events.k8s.io" in run("api-versions")
    assert run("get", "events", "-n", "ai-demo")
    assert run("version")


def test_apply_edits_and_errors_in_kubectls_words(deployed: Platform, tmp_path: Path) -> None:
    again = deployed.kubectl("create", "-n", "ai-demo", "-f", "-", stdin=ISVC)
    assert again.returncode == 1
    assert again.stderr == (
        'Error from server (AlreadyExists): error when creating "STDIN": '
        'inferenceservices.serving.kserve.io "ovms-resnet50" already exists\n'
    )
    misspelled = deployed.kubectl(
        "create",
        "-n",
        "ai-demo",
        "-f",
        "-",
        stdin=ISVC.replace("storageUri", "storageUrl").replace("ovms-resnet50", "other", 1),
    )
    assert misspelled.stderr == (
        'Error from server (BadRequest): error when creating "STDIN": InferenceService in version "v1beta1" cannot be '
        'handled as a InferenceService: strict decoding error: unknown field "spec.predictor.model.storageUrl"\n'
    )
    bad_name = deployed.kubectl(
        "create", "-n", "ai-demo", "-f", "-", stdin=ISVC.replace("name: ovms-resnet50", "name: X_y", 1)
    )
    assert bad_name.stderr.startswith('The InferenceService "X_y" is invalid: metadata.name: Invalid value: "X_y": ')
    nothing = deployed.kubectl("get", "pods", "-n", "default")
    assert (nothing.returncode, nothing.stderr) == (0, "No resources found in default namespace.\n")
    missing = deployed.kubectl("get", "pod", "nope", "-n", "ai-demo")
    assert (missing.returncode, missing.stderr) == (1, 'Error from server (NotFound): pods "nope" not found\n')
    applied = deployed.kubectl(
        "apply",
        "-n",
        "ai-demo",
        "-f",
        "-",
        stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n",
    )
    assert applied.stdout == "configmap/c created\n"
    changed = deployed.kubectl(
        "apply",
        "-n",
        "ai-demo",
        "-f",
        "-",
        stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: z}\n",
    )
    assert changed.stdout == "configmap/c configured\n"
    assert deployed.json("get", "cm", "c", "-n", "ai-demo")["data"] == {"x": "z"}


def test_the_status_that_kserve_clients_read(deployed: Platform) -> None:
    status: dict[str, Any] = deployed.json("get", "isvc", "-n", "ai-demo", "ovms-resnet50")["status"]
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions["Ready"] == conditions["PredictorReady"] == conditions["IngressReady"] == "True"
    assert conditions["Stopped"] == "False"
    assert status["deploymentMode"] == "RawDeployment"
    assert status["servingRuntimeName"] == "kserve-ovms"
    assert status["modelStatus"]["states"] == {"activeModelState": "Loaded", "targetModelState": "Loaded"}
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"
    assert status["url"] == f"http://{SERVICE}.ai-demo.svc.cluster.local:8888"


def test_the_url_of_the_status_answers(deployed: Platform) -> None:
    url = deployed.json("get", "isvc", "-n", "ai-demo", "ovms-resnet50")["status"]["url"]
    address = deployed.facts["gateway_url"].removeprefix("http://")
    command = ["curl", "-sS", "--max-time", "10", f"{url}/v2/health/ready", "-o", "/dev/null", "-w", "%{http_code}"]
    done = subprocess.run(
        [*command, "--connect-to", f"::{address}"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "200", done.stderr


def test_rollout_restart_brings_a_new_pod_without_a_failed_request(deployed: Platform) -> None:
    before = deployed.json("get", "pods", "-n", "ai-demo")["items"][0]["metadata"]["name"]
    restarted = deployed.kubectl("rollout", "restart", "-n", "ai-demo", f"deployment/{SERVICE}")
    assert restarted.returncode == 0, restarted.stderr
    codes = []
    done = subprocess.Popen(
        [kubectls()[0], "rollout", "status", "-n", "ai-demo", f"deployment/{SERVICE}", "--timeout=60s"],
        env=deployed.environment,
        stdout=subprocess.DEVNULL,
    )
    while done.poll() is None:
        codes.append(curl(deployed, "/v2/health/ready", "-o", "/dev/null", "-w", "%{http_code}").stdout)
    assert done.returncode == 0
    assert set(codes) == {b"200"}
    after = [item["metadata"]["name"] for item in deployed.json("get", "pods", "-n", "ai-demo")["items"]]
    assert after != [before]


def test_deleting_the_inference_service_deletes_everything_it_made(deployed: Platform) -> None:
    deleted = deployed.kubectl("delete", "isvc", "-n", "ai-demo", "ovms-resnet50")
    assert deleted.stdout.startswith('inferenceservice.serving.kserve.io "ovms-resnet50" deleted')
    eventually(
        lambda: not deployed.kubectl("get", "deployment,rs,pod,svc", "-n", "ai-demo", "-o", "name").stdout,
        "nothing left",
    )
    answer = curl(deployed, "/v2/models/ovms-resnet50/ready", "-i").stdout.decode()
    assert " 503 " in answer.splitlines()[0]
    assert "Application is not available" in answer
    gone = deployed.kubectl("delete", "ns", "ai-demo")
    assert gone.returncode == 0
    assert deployed.kubectl("get", "ns", "ai-demo").returncode == 1
