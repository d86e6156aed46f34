"""KServe's Python SDK clients, REST (both protocols) and gRPC.

Their environment is 700 MB, so CI does without. `make peers` makes it, and so does `benchmarks/server.py --peers`.
"""

import os
import subprocess
from pathlib import Path

import pytest
from tests.server_grpc.served import Served

HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skerry", "peers", "kserve")
SCRIPT = Path(__file__).with_name("kserve_script.py")


@pytest.mark.skipif(not (HOME / "complete").exists(), reason="KServe's SDK is not here; `make peers` installs it")
def test_kserves_clients(served: Served) -> None:
    url = f"http://{served.process.address}:{served.process.port}"
    words = [str(HOME / "bin/python"), "-W", "ignore", str(SCRIPT), url, served.target]
    done = subprocess.run(words, capture_output=True, text=True, timeout=55, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "all is well"), done.stderr
