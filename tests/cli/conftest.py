"""What several commands are tried on."""

from pathlib import Path

import pytest

from skerry.daemon.paths import Paths, paths


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path))
    where = paths()
    where.store.parent.mkdir(parents=True)
    return where
