"""Fixtures of the node's tests."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.node.bench import Bench

from skerry.cluster.node import confine, hardening


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.aclose()


@pytest.fixture(params=["root", "user"])
def isolation(request: pytest.FixtureRequest) -> str:
    """Both kinds of mount namespace, where the machine has them."""
    kind = str(request.param)
    if kind == "root" and hardening.mount_namespace_available().kind != "root":
        pytest.skip("making a mount namespace needs CAP_SYS_ADMIN")
    if kind == "user" and not _user_namespaces():
        pytest.skip(f"no user namespaces: {hardening.mount_namespace_available().why}")
    return kind


def _user_namespaces() -> bool:
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            confine._new_mount_namespace("user")
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0
