"""`skerry kubeconfig`: where the credentials are."""

import click

from skerry.daemon.paths import paths


@click.command()
@click.option("--show", is_flag=True, help="Print the file itself instead of its path.")
def kubeconfig(show: bool) -> None:
    """Print the path of the kubeconfig.

    Use it as:  export KUBECONFIG=$(skerry kubeconfig)
    """
    path = paths().kubeconfig
    if not path.exists():
        raise click.ClickException("there is no kubeconfig yet; start the platform first: skerry up -d")
    click.echo(path.read_text() if show else str(path))
