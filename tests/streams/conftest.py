"""Fixtures of the streams' tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.apiserver.kubectl import make_certificates
from tests.streams.talking import Streaming, streaming

from skerry.daemon.certificates import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_certificates(tmp_path_factory.mktemp("pki") / "pki")


@pytest.fixture
async def server(tmp_path: Path, pki: Pki) -> AsyncIterator[Streaming]:
    async with streaming(tmp_path, pki) as made:
        yield made
