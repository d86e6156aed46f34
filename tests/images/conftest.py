"""What the tests of the images room share."""

from pathlib import Path

import pytest

from skerry.images.store import ImageStore


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")
