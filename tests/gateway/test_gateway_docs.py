"""What a user can set or see is in the reference."""

import re
from pathlib import Path

from skerry.cluster.gateway import plan
from skerry.cluster.gateway.__main__ import _parser
from skerry.cluster.gateway.metrics import Tally, exposition
from skerry.cluster.gateway.pages import _REASONS

PAGE = (Path(__file__).parents[2] / "docs/reference/gateway.md").read_text()


def test_every_option_is_documented() -> None:
    options = set(re.findall(r"--[a-z-]+", _parser().format_help())) - {"--help"}
    assert options
    assert not {option for option in options if f"`{option}" not in PAGE}


def test_every_metric_is_documented() -> None:
    metrics = set(re.findall(r"^# TYPE (\S+)", exposition({"a/b": Tally()}, {"connections": 0}), re.MULTILINE))
    assert len(metrics) == 6
    assert not {metric for metric in metrics if f"`{metric}`" not in PAGE}


def test_every_annotation_is_documented() -> None:
    annotations = {value for value in vars(plan).values() if isinstance(value, str) and ".openshift.io/" in value}
    assert len(annotations) == 6
    assert not {annotation for annotation in annotations if f"`{annotation}`" not in PAGE}


def test_every_answer_of_ours_is_documented() -> None:
    assert not {status for status in _REASONS if not re.search(rf"^\| [0-9, ]*\b{status}\b", PAGE, re.MULTILINE)}
