"""schemathesis: requests to every path that follow our OpenAPI document or do not, and every answer judged.

It stands beside our own fuzzing with the same document (tests/server/test_server_openapi.py), whose writers know the
server. `make peers` installs it. A request that the document allows may still be refused, because a document cannot say
which tensors fit a model; so that check is left out.
"""

import os
import subprocess
from pathlib import Path

import pytest
from tests.server import harness
from tests.server.harness import serving

HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skerry", "peers", "schemathesis")
CONFIG = '[parameters]\nmodel_name = "tiny"\nmodel_version = "1"\n'
OPTIONS = ("--max-examples=20", "--seed=7", "--phases=coverage,fuzzing", "--exclude-checks=positive_data_acceptance")


@pytest.mark.skipif(not (HOME / "complete").exists(), reason="schemathesis is not here; `make peers` installs it")
def test_every_operation(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    model = harness.save(harness.iris(), tmp_path / "model")
    # Without `none` it unloads the model, and the rest is 503.
    with serving(tmp_path, model, "--metrics_enable", "--model_control_mode=none", "--max_body_mib=1") as server:
        document = f"http://{server.address}:{server.port}/openapi.json"
        words = [str(HOME / "bin/schemathesis"), "run", document, *OPTIONS]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=55, check=False)
        assert done.returncode == 0, done.stdout[-6000:]
        assert server.get("/v2/models/tiny/ready").status == 200
