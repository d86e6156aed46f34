"""KServe's SDK, `KServeClient`, on a running platform.

Its environment is 700 MB, so CI does without; `make peers` makes it. The calls that it is made of are in
test_conformance_kubernetes_client.py, which CI runs.
"""

import subprocess
from pathlib import Path

import pytest
from tests.conformance.isvc import IMAGE, build_model
from tests.e2e.running import Platform
from tests.server_clients.test_clients_kserve import HOME

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
SCRIPT = Path(__file__).with_name("kserve_script.py")


@pytest.mark.skipif(not (HOME / "complete").exists(), reason="KServe's SDK is not here; `make peers` installs it")
def test_kserves_sdk(platform: Platform, namespace: str, tmp_path: Path) -> None:
    build_model(platform, tmp_path)
    words = [str(HOME / "bin/python"), "-W", "ignore", str(SCRIPT)]
    words += [platform.environment["KUBECONFIG"], namespace, f"oci://{IMAGE}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["all is well"]), done.stderr[-3000:]
