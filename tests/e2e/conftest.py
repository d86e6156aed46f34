"""Fixtures of the end-to-end tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.running import ROOT, Platform, start


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's classifier, built once and kept between runs: `model/`, `labels.txt`, `coffee.jpg`."""
    cache = Path(os.environ.get("SKERRY_TEST_CACHE") or ROOT / ".pytest_cache" / "skerry")
    out = cache / "classifier"
    build = [sys.executable, str(ROOT / "examples/efficientnet/build.py"), "--out", str(out), "--cache", str(cache)]
    subprocess.run(build, check=True, timeout=300, stdout=subprocess.DEVNULL)
    return out


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform for one test file."""
    running = start(tmp_path_factory.mktemp("skerry"))
    yield running
    running.skerry("down")
    assert "Traceback" not in running.log()
