"""Models and servers that several tests share."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server import harness
from tests.server.harness import Server, serving

ROOT = Path(__file__).parents[2]
BEE = ROOT.parent / "shared" / "data" / "bee.jpeg"


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that examples/efficientnet/build.py makes; downloads are kept between runs.

    One for each worker: another one's would be written anew while this one's server reads it.
    """
    cache = Path(os.environ.get("SKERRY_TEST_CACHE") or ROOT / ".pytest_cache" / "skerry")
    cache.mkdir(parents=True, exist_ok=True)
    out = tmp_path_factory.mktemp("classifier")
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = [sys.executable, str(ROOT / "examples/efficientnet/build.py"), "--out", str(out), "--cache", str(cache)]
        done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def pictures(classifier: Path) -> dict[str, Path]:
    """Pictures to classify, with what the packages of the example carry."""
    return {"coffee": classifier / "coffee.jpg"} | ({"bee": BEE} if BEE.exists() else {})


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def tiny(room: Path) -> Iterator[Server]:
    """A model that is fast enough to run on the event loop."""
    model = harness.save(harness.iris(), room / "iris")
    with serving(room, model, "--metrics_enable", "--max_body_mib=1") as server:
        yield server
