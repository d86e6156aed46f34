"""The objects in YAML or JSON files, directories, standard input."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

_ENDINGS = {".yaml", ".yml", ".json"}


def read_documents(files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects of all files in order; a List is taken apart.

    Raises `click.ClickException` that names the file and the place.
    """
    import yaml

    items: list[dict[str, Any]] = []
    for path, text in _texts(files):
        try:
            for document in yaml.safe_load_all(text):
                items += _flat(document, path)
        except yaml.YAMLError as error:
            raise click.ClickException(f"error parsing {path}: {error}") from error
    if not items:
        raise click.ClickException(f"no objects found in {', '.join(files)}")
    return items


def _texts(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in files:
        if name == "-":
            yield "STDIN", sys.stdin.read()
            continue
        path = Path(name)
        if not path.exists():
            raise click.ClickException(f'the path "{name}" does not exist')
        found = sorted(item for item in path.iterdir() if item.suffix in _ENDINGS) if path.is_dir() else [path]
        for item in found:
            yield str(item), item.read_text()


def _flat(document: Any, path: str) -> list[dict[str, Any]]:
    if document is None:
        return []
    if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
        raise click.ClickException(f"error validating {path}: want objects with apiVersion and kind")
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        return [item for inner in document["items"] for item in _flat(inner, path)]
    return [document]
