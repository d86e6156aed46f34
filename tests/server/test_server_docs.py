"""What is not documented is not finished."""

from pathlib import Path

import pytest

from skerry.server import options
from skerry.server.http.protocol import HEAD_SECONDS, MOST_HEAD_BYTES, READ_SECONDS
from skerry.server.model_metrics import ServerMetrics, VersionMetrics

REFERENCE = (Path(__file__).parents[2] / "docs/reference/model-server.md").read_text()


@pytest.mark.parametrize("name", [*options._WORKING, *options._WITHOUT_EFFECT])
def test_every_option(name: str) -> None:
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize("name", [name for name, default in options._WORKING.items() if default])
def test_every_default(name: str) -> None:
    [row] = [line for line in REFERENCE.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    assert str(options._WORKING[name]) in row.split("|")[2]


def test_every_metric() -> None:
    metrics = ServerMetrics(["ovms_infer_req_queue_size", "ovms_infer_req_active"])
    VersionMetrics(metrics, "m", "1")
    names = [line.split()[2] for line in (metrics.text() + text_of_default()).splitlines() if line.startswith("# TYPE")]
    assert len(names) == 12
    assert all(f"`{name}`" in REFERENCE for name in names)


def text_of_default() -> str:
    metrics = ServerMetrics()
    VersionMetrics(metrics, "m", "1")
    return metrics.text()


def test_limits() -> None:
    assert f"{HEAD_SECONDS:g} s for the head, {READ_SECONDS:g} s without a byte" in REFERENCE
    assert f"more than {MOST_HEAD_BYTES >> 10} KiB of headers" in REFERENCE
