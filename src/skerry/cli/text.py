"""Output of the command line: columns, YAML, JSON."""

import json
from collections.abc import Sequence
from typing import Any

import click

from skerry.machinery.table import print_table


def print_rows(header: Sequence[str] | None, rows: Sequence[Sequence[Any]]) -> None:
    """Print rows with kubectl's spacing."""
    click.echo(print_table(header, rows), nl=False)


def dump(value: Any, output: str) -> str:
    """Return JSON or YAML as kubectl prints it, without managedFields."""
    plain = _without_managed_fields(value)
    if output == "json":
        return json.dumps(plain, indent=4, ensure_ascii=False)
    return _yaml(plain)


def _yaml(value: Any) -> str:
    """Write YAML as kubectl does: double quotes where quotes are needed, blocks for text of several lines."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def choose_scalar_style(self) -> str:
            style: str = super().choose_scalar_style()
            text = getattr(self.event, "value", None) or ""
            if "\n" in text and getattr(self.analysis, "allow_block", False):
                return "|"
            return '"' if style == "'" else style

    text: str = yaml.dump(value, Dumper=Dumper, default_flow_style=False, allow_unicode=True, width=1_000_000)
    return text.rstrip()


def _without_managed_fields(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_managed_fields(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_managed_fields(item) for key, item in value.items() if key != "managedFields"}
    return value
