"""The how-to's example, as it is written there."""

import re
from pathlib import Path

import pytest
from tests.server.harness import serving
from tests.server_engines.test_engines_tables import predictions

from skerry.cli.serve import model_path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serve-python-code.md"


def test_the_example_answers_as_the_page_says(tmp_path: Path) -> None:
    text = PAGE.read_text()
    files = re.findall(r"`sentiment/([a-z.]+)`:\n\n```[a-z]+\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in files] == ["model.py", "good.txt"]
    (tmp_path / "sentiment").mkdir()
    for name, content in files:
        (tmp_path / "sentiment" / name).write_text(content)
    [request] = re.findall(r"-d '\{\"instances\": (\[.*?\])\}'", text)
    assert '{"predictions":[0.25]}' in text
    with serving(tmp_path, tmp_path / "sentiment", name="sentiment") as server:
        assert request == '["What a lovely day"]'
        assert predictions(server, {"instances": ["What a lovely day"]}) == [0.25]
        assert predictions(server, {"instances": [" "]}) == (400, "a text is empty")


@pytest.mark.parametrize("name", ["model.json", "model.txt", "model.py"])
def test_skerry_serve_takes_their_directories(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert model_path(tmp_path) == tmp_path
