"""The golden files against the real kubectl, which patches and parses on its own without a server.

Each question starts a process, so only every second or third is asked.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from skerry.machinery.quantity import Quantity

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

GOLDEN = Path(__file__).parent / "golden"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "labels": {"a/b": "1"}},
    "spec": {"containers": [{"name": "a", "args": ["x", "y"]}]},
}


def kubectl(*arguments: str) -> tuple[Any, str]:
    """Return what kubectl printed as JSON, and its complaint."""
    command = ["kubectl", *arguments, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return (
        (json.loads(done.stdout), "") if done.returncode == 0 else (None, done.stderr.removeprefix("error: ").strip())
    )


def patched(where: Path, item: dict[str, Any], kind: str, patch: str) -> tuple[Any, str]:
    """Let kubectl patch an object."""
    file = where / "object.json"
    file.write_text(json.dumps(item))
    return kubectl("patch", "--local", "-f", str(file), f"--type={kind}", "-p", patch)


def test_strategic_merge(tmp_path: Path) -> None:
    for line in (GOLDEN / "strategic_merge.jsonl").read_text().splitlines()[::2]:
        case = json.loads(line)
        if case["judge"] == "kubectl":
            result = patched(tmp_path, case["object"], "strategic", json.dumps(case["patch"]))
            assert result == (case.get("result"), case.get("error", "")), case["about"]


def test_json_patch(tmp_path: Path) -> None:
    text = (GOLDEN / "jsonpatch_refused.txt").read_text()
    for patch, complaint in re.findall(r"^kubectl (.*)\n    (.*)$", text, re.MULTILINE)[::2]:
        assert patched(tmp_path, POD, "json", patch) == (None, complaint), patch


def test_label_selectors() -> None:
    text = (GOLDEN / "label_selectors.txt").read_text()
    for selector, complaint in re.findall(r"^(\S.*)\n    (.*)$", text, re.MULTILINE)[::3]:
        made = kubectl("create", "pdb", "a", f"--selector={selector}", "--min-available=1", "--dry-run=client")
        assert made[1].endswith(f'"{selector}": {complaint}'), selector


def test_quantities() -> None:
    lines = re.findall(r"^(.+) => (?!error)(.*)$", (GOLDEN / "quantities.txt").read_text(), re.MULTILINE)
    hard = ",".join(f"example.com/{number}={text}" for number, (text, _) in enumerate(lines))
    quota, complaint = kubectl("create", "quota", "a", f"--hard={hard}", "--dry-run=client")
    assert complaint == ""
    shown = quota["spec"]["hard"]
    assert [shown[f"example.com/{number}"] for number in range(len(lines))] == [result for _, result in lines]
    assert all(Quantity.parse(result) == Quantity.parse(text) for text, result in lines)
