"""Servers that several tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server import harness
from tests.server_grpc.served import Served, serving


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grpc")


@pytest.fixture(scope="session")
def tiny(room: Path) -> Iterator[Served]:
    """A model that is fast enough to run on the event loop."""
    model = harness.save(harness.iris((-1, 4)), room / "iris")
    with serving(room, model, "--metrics_enable", "--grpc_max_message_mib=2") as server:
        yield server


@pytest.fixture(scope="session")
def slow(room: Path) -> Iterator[Served]:
    """A model that takes tens of milliseconds."""
    model = harness.save(harness.slow(), room / "slow")
    with serving(room, model, "--metrics_enable", "--max_queue=8") as server:
        yield server
