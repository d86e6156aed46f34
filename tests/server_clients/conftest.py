"""One server with several models, for clients that others wrote."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.server import harness
from tests.server_grpc.served import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`iris` (any number of rows), `kinds` (an input and output of each datatype), `strings`."""
    room = tmp_path_factory.mktemp("clients")
    models = {
        "iris": harness.iris((-1, 4)),
        "kinds": harness.echo({name: ((2, 2), kind) for name, kind in harness.KINDS.items()}),
        "strings": harness.strings(),
    }
    for name, model in models.items():
        harness.save(model, room / name)
    entries = [{"config": {"name": name, "base_path": str(room / name)}} for name in models]
    (room / "config.json").write_text(json.dumps({"model_config_list": entries}))
    (address, port), (grpc_address, grpc_port) = harness.free_place(), harness.free_place()
    words = [f"--config_path={room / 'config.json'}", f"--rest_bind_address={address}", f"--rest_port={port}"]
    words += [f"--grpc_bind_address={grpc_address}", f"--port={grpc_port}", "--drain_seconds=0"]
    errors = room / "errors.txt"
    with errors.open("w") as stream:
        process = subprocess.Popen([sys.executable, "-m", "skerry.server", *words], stderr=stream, text=True)
    server = harness.Server(process, address, port, "iris", errors)
    try:
        server.wait_until_ready()
        yield Served(server, f"{grpc_address}:{grpc_port}")
    finally:
        process.kill()
        process.wait(timeout=10)
