"""The platform's own costs: start, deployment, memory, idle CPU.

    python benchmarks/platform.py [--quick] [--json] [--runs N]

`api_ready_s`          from `skerry up` to an answer of the API's /readyz, on an existing data directory
`api_first_ready_s`    the same on an empty one: certificates and tables are made
`deploy_overhead_s`    from `kubectl create -f isvc.yaml` to the first good answer through the gateway, less the time
                       that the model server alone needs from start to ready with the same model, in the same run
`idle_pss_mib`         proportional set size of all platform processes (daemon, gateway, supervisors) with one model
`idle_cpu_percent`     their CPU time over an idle interval, in percent of one core

The named limits are the project's own budgets; the ratio to each is printed. The model server with no platform around
it is the peer of the deployment.
"""

import argparse
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
BUDGETS: Final = {"api_ready_s": 1.5, "deploy_overhead_s": 1.0, "idle_pss_mib": 120.0, "idle_cpu_percent": 1.0}
KUBECTL: Final = shutil.which("kubectl") or str(Path(sys.executable).parent / "kubectl")
HOST: Final = "bench-predictor.default.svc.cluster.local"

ISVC: Final = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: bench}
spec:
  predictor:
    model:
      protocolVersion: v2
      modelFormat: {name: openvino_ir}
      storageUri: "oci://localhost/bench:1"
      args: ["--layout=NHWC:NCHW"]
"""


class Box:
    """One data directory with a platform in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        self.environment = {**kept, "SKERRY_HOME": str(home), "KUBECONFIG": str(home / "state" / "kubeconfig")}

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.home / "state" / "daemon.json").read_text())
        return facts

    def run(self, *words: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            words, input=stdin, text=True, capture_output=True, env=self.environment, timeout=120, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(words)}: {done.stderr}")
        return done.stdout

    def skerry(self, *words: str, stdin: str | None = None) -> str:
        return self.run(sys.executable, "-m", "skerry", *words, stdin=stdin)

    @contextmanager
    def up(self) -> Iterator[float]:
        """Run the platform in the foreground form; gives the seconds until the API answered."""
        ports = ["--set", f"apiServer.port={PORT}", "--set", "ingress.ports.http=0"]
        started = time.perf_counter()
        with (self.home / "up.log").open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "skerry", "up", *ports], stdout=log, stderr=log, env=self.environment
            )
        try:
            until(api_answers, "the API", daemon)
            ready = time.perf_counter() - started
            until((self.home / "state" / "daemon.json").exists, "the daemon's facts", daemon)
            yield ready
        finally:
            daemon.terminate()
            daemon.wait(60)


PORT: Final = 16444


def api_answers() -> bool:
    """Ask /readyz; the certificate is not the question here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{PORT}/readyz", context=context, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def until(check: Callable[[], bool], what: str, process: "subprocess.Popen[bytes] | None" = None) -> float:
    """Ask every 2 ms; returns the seconds it took."""
    started = time.perf_counter()
    while not check():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{what} did not come up: the process ended with {process.returncode}")
        if time.perf_counter() - started > 60:
            raise SystemExit(f"{what} did not come up in 60 s")
        time.sleep(0.002)
    return time.perf_counter() - started


def gateway_answers(box: Box, path: str) -> bool:
    """Ask the model through the gateway."""
    request = urllib.request.Request(box.facts["gateway_url"] + path, headers={"Host": HOST})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def server_alone(model: Path) -> float:
    """Start the model server by itself and return the seconds until it says that it is ready."""
    address, port = "127.9.9.9", 18888
    flags = ["--model_name=bench", f"--rest_port={port}", f"--model_path={model}", f"--rest_bind_address={address}"]
    command = [sys.executable, "-m", "skerry.server", *flags, "--layout=NHWC:NCHW", "--metrics_enable"]

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}:{port}/v2/health/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return until(ready, "the model server", server)
    finally:
        server.terminate()
        server.wait(30)


def deploy(box: Box) -> float:
    """Create the InferenceService and return the seconds until the gateway gives a good answer."""
    started = time.perf_counter()
    box.run(KUBECTL, "create", "-f", "-", stdin=ISVC)
    until(lambda: gateway_answers(box, "/v2/models/bench/ready"), "the model")
    return time.perf_counter() - started


def undeploy(box: Box) -> None:
    """Remove the InferenceService and wait until its pod is gone."""
    box.run(KUBECTL, "delete", "isvc", "bench")
    until(lambda: not box.run(KUBECTL, "get", "pods", "-o", "name").strip(), "the end of the pod")


def platform_processes(box: Box) -> list[int]:
    """Find the daemon, the gateway and the supervisors: every process that names this data directory, but not pods."""
    found = [box.facts["pid"]]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in found:
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(box.home) in command and ("supervisor" in command or "skerry.cluster.gateway" in command):
            found.append(int(entry.name))
    return found


def pss_mib(pid: int) -> float:
    """Return the proportional set size."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return user and system time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(box: Box, seconds: float) -> tuple[float, float, list[tuple[int, float, str]]]:
    """Return PSS in MiB, CPU in percent of a core, and the processes, over an idle interval."""
    time.sleep(2)
    pids = platform_processes(box)
    before = {pid: cpu_seconds(pid) for pid in pids}
    time.sleep(seconds)
    used = sum(cpu_seconds(pid) - before[pid] for pid in pids)
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:60] for pid in pids}
    sizes = [(pid, pss_mib(pid), names[pid]) for pid in pids]
    return sum(size for _, size, _ in sizes), 100 * used / seconds, sizes


def measure(runs: int, idle_seconds: float) -> dict[str, float]:
    """Take all figures; medians over the runs."""
    cache = ROOT / ".pytest_cache" / "skerry"
    build = [sys.executable, str(ROOT / "examples/efficientnet/build.py"), "--out", str(cache / "classifier")]
    subprocess.run([*build, "--cache", str(cache)], check=True, stdout=subprocess.DEVNULL)
    model = cache / "classifier" / "model"
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as directory:
        box = Box(Path(directory))
        box.skerry("model", "build", str(model), "-t", "localhost/bench:1")
        with box.up() as first:
            pass
        starts = []
        for _ in range(runs):
            with box.up() as ready:
                starts.append(ready)
        with box.up():
            until(lambda: "kserve-ovms" in box.run(KUBECTL, "get", "servingruntimes", "-A"), "the shipped runtimes")
            runtime = json.loads(
                box.run(KUBECTL, "get", "servingruntime", "kserve-ovms", "-n", "redhat-ods-applications", "-o", "json")
            )
            runtime["metadata"] = {"name": "kserve-ovms"}
            box.run(KUBECTL, "apply", "-f", "-", stdin=json.dumps(runtime))
            alone, deployed = [], []
            for number in range(runs):
                alone.append(server_alone(model))
                deployed.append(deploy(box))
                if number < runs - 1:
                    undeploy(box)
            pss, cpu, processes = idle(box, idle_seconds)
    for pid, size, name in processes:
        print(f"  {size:6.1f} MiB  {pid:>7}  {name}")
    return {
        "api_ready_s": statistics.median(starts),
        "api_first_ready_s": first,
        "server_alone_s": statistics.median(alone),
        "deploy_s": statistics.median(deployed),
        "deploy_overhead_s": statistics.median(d - a for d, a in zip(deployed, alone, strict=True)),
        "idle_pss_mib": pss,
        "idle_cpu_percent": cpu,
    }


def main() -> None:
    """Print the figures, each with its ratio to the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--runs", type=int, help="how often each start and deployment is measured")
    options = parser.parse_args()
    figures = measure(options.runs or (3 if options.quick else 7), 5 if options.quick else 30)
    for name, value in figures.items():
        budget = BUDGETS.get(name)
        ratio = f"   {value / budget:5.2f} of the budget {budget:g}" if budget else ""
        print(f"{name:<22}{value:9.3f}{ratio}")
    if options.json:
        print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
