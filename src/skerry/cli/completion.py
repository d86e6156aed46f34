"""`skerry completion`: the shell asks click for completions through this script."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print a completion script.

    For bash:  echo 'source <(skerry completion bash)' >> ~/.bashrc
    """
    from skerry.cli.main import cli

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "skerry", "_SKERRY_COMPLETE").source())
    return 0
