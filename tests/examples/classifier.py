"""The example's classifier, for tests that need a real model."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_classifier(out: Path) -> Path:
    """Make `model/`, `labels.txt` and `coffee.jpg` in a directory of the caller's own; downloads are kept between runs.

    Not in a directory that several workers share: one would write it anew while the server of another reads it.
    """
    cache = Path(os.environ.get("SKERRY_TEST_CACHE") or ROOT / ".pytest_cache" / "skerry")
    cache.mkdir(parents=True, exist_ok=True)
    build = [sys.executable, str(ROOT / "examples/efficientnet/build.py"), "--out", str(out), "--cache", str(cache)]
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out
