"""Fixtures of the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.running import Platform, start
from tests.examples.classifier import build_classifier


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's classifier: `model/`, `labels.txt`, `coffee.jpg`."""
    return build_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform for one test file."""
    running = start(tmp_path_factory.mktemp("skerry"))
    yield running
    running.skerry("down")
    assert "Traceback" not in running.log()
