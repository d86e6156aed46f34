"""`skerry version`."""

import platform

import click

from skerry import __version__
from skerry.cli.objects import output_option
from skerry.cli.text import dump


@click.command()
@click.option("--client", is_flag=True, help="Do not ask the server.")
@output_option("json", "yaml")
def version(client: bool, output: str | None) -> int:
    """Print the versions of Skerry and of the API that it serves."""
    facts = {"clientVersion": {"skerry": __version__, "python": platform.python_version()}}
    if not client:
        from skerry.cli.api import Api

        facts["serverVersion"] = Api().request("GET", "/version")
    if output:
        click.echo(dump(facts, output))
        return 0
    click.echo(f"Skerry {__version__} (Python {platform.python_version()})")
    if not client:
        click.echo(f"Kubernetes API {facts['serverVersion']['gitVersion']}")
    return 0
