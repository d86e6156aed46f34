"""Writes the parts of the reference that are made from the code; `tests/docs` fails when they are not up to date.

python docs/generate.py [--check]
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from skerry.cli.main import COMMANDS, cli

REFERENCE: Final = Path(__file__).resolve().parent / "reference"

_HEAD: Final = """\
# Commands

Made from the commands themselves by `make docs`; do not edit.

Every command talks to the API server of `$KUBECONFIG`, else to the one that `skerry up` started, else to that of `~/.kube/config`. Data goes to standard output, talk to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it did not work; the message says why and what to do |
| 2 | the command line was wrong |
| 3 | `skerry status`: the platform does not run; `skerry up`: it runs already |
| 130 | interrupted |

"""


def command_lines(command: click.Command, path: str) -> Iterator[str]:
    """Yield the section of one command and of those below it."""
    context = click.Context(command, info_name=path, max_content_width=110, terminal_width=110)
    yield f"## `{path}`\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from command_lines(inner, f"{path} {name}")


def cli_reference() -> str:
    """Return the whole page."""
    context = click.Context(cli)
    parts = [_HEAD]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts.extend(command_lines(command, f"skerry {name}"))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def main() -> int:
    """Write or check; returns 1 when a page is stale."""
    page, text = REFERENCE / "cli.md", cli_reference()
    if "--check" in sys.argv:
        fresh = page.exists() and page.read_text() == text
        sys.stderr.write("" if fresh else f"{page} is stale: run make docs\n")
        return 0 if fresh else 1
    page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
