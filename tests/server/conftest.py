"""Models and servers that several tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.examples.classifier import build_classifier
from tests.server import harness
from tests.server.harness import Server, serving

ROOT = Path(__file__).parents[2]
BEE = ROOT.parent / "shared" / "data" / "bee.jpeg"


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that examples/efficientnet/build.py makes."""
    return build_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def pictures(classifier: Path) -> dict[str, Path]:
    """Pictures to classify, with what the packages of the example carry."""
    return {"coffee": classifier / "coffee.jpg"} | ({"bee": BEE} if BEE.exists() else {})


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def tiny(room: Path) -> Iterator[Server]:
    """A model that is fast enough to run on the event loop."""
    model = harness.save(harness.iris(), room / "iris")
    with serving(room, model, "--metrics_enable", "--max_body_mib=1") as server:
        yield server
