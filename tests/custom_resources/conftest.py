"""The API server of `tests.apiserver`, and kubectls against it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.apiserver.conftest import app, http, kube, store, transport
from tests.apiserver.kubectl import Kubectl, kubectls, make_certificates
from tests.apiserver.test_apiserver_kubectl import talking

from skerry.cluster.store import Store
from skerry.daemon.certificates import Pki

__all__ = ["app", "http", "kube", "store", "transport"]

PROGRAMS = kubectls()


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_certificates(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture(params=sorted(PROGRAMS))
async def kubectl(request: pytest.FixtureRequest, store: Store, pki: Pki, tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with talking(request.param, store, pki, tmp_path) as run:
        yield run


@pytest.fixture
async def one_kubectl(store: Store, pki: Pki, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """For what does not differ between versions."""
    async with talking(min(PROGRAMS), store, pki, tmp_path) as run:
        yield run
