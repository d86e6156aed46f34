"""`make demo ONCE=1`, as a stranger runs it, and what the platform takes of a small machine while it does nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.e2e.running import ROOT, Platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

IDLE_PSS_MIB = 120


def test_the_demo_exits_0_with_the_right_class(tmp_path: Path, classifier: Path) -> None:
    home = tmp_path / "demo"
    home.mkdir()
    (home / "cache").symlink_to(classifier.parent)  # the packages that the classifier is made from
    environment = {**os.environ, "SKERRY_DEMO_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), "--once"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "967" in done.stdout
    assert "espresso" in done.stdout
    assert "kubectl get -n ai-demo deployment,pod,svc,isvc,route" in done.stdout
    left = subprocess.run(["pgrep", "-f", str(home)], capture_output=True, text=True, check=False)
    assert not left.stdout.split()


def pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)


def test_the_idle_platform_stays_within_its_memory(platform: Platform) -> None:
    assert platform.kubectl("get", "pods", "-A").returncode == 0
    time.sleep(1)  # the first start's work is done
    found = subprocess.run(["pgrep", "-f", "skerry"], capture_output=True, text=True, check=False).stdout.split()
    daemon = platform.facts["pid"]
    ours = [int(pid) for pid in found if int(pid) == daemon or str(platform.home) in _command(int(pid))]
    assert len(ours) >= 2
    assert sum(pss_mib(pid) for pid in ours) < IDLE_PSS_MIB


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
