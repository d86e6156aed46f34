"""`skerry kubeconfig`: where the credentials are, and credentials for others."""

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from skerry.daemon.paths import paths

if TYPE_CHECKING:
    from skerry.cli.api import Api

_DAYS = 365
_HOUR = 3600


@click.command()
@click.option("--show", is_flag=True, help="Print the file itself instead of its path.")
@click.option("--user", metavar="NAME", help="Print a kubeconfig with a certificate for this user.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="With --user: a group of the user; repeatable.")
@click.option("--days", type=click.IntRange(1, 3650), default=_DAYS, show_default=True, help="With --user: how long.")
@click.option("--serviceaccount", metavar="NAMESPACE/NAME", help="Print a kubeconfig with a token of this account.")
@click.option(
    "--hours", type=click.IntRange(1, 24 * 365), default=1, show_default=True, help="With --serviceaccount: how long."
)
def kubeconfig(
    show: bool, user: str | None, groups: tuple[str, ...], days: int, serviceaccount: str | None, hours: int
) -> None:
    """Print the path of the kubeconfig, or a kubeconfig for somebody else.

    Use it as:  export KUBECONFIG=$(skerry kubeconfig)

    What others may do, roles say: see docs/how-to/give-access.md.
    """
    path = paths().kubeconfig
    if not path.exists():
        raise click.ClickException("there is no kubeconfig yet; start the platform first: skerry up -d")
    if user and serviceaccount:
        raise click.UsageError("--user and --serviceaccount cannot be used together")
    if groups and not user:
        raise click.UsageError("--group needs --user")
    if user:
        click.echo(_for_user(user, groups, days), nl=False)
    elif serviceaccount:
        click.echo(_for_account(serviceaccount, hours * _HOUR), nl=False)
    else:
        click.echo(path.read_text() if show else str(path))


def _for_user(user: str, groups: tuple[str, ...], days: int) -> str:
    from skerry.daemon import certificates

    pki = certificates.Pki(paths().pki)
    certificate, key = certificates.issue_client(pki, user, groups, days, datetime.now(UTC))
    data = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
    return certificates.user_kubeconfig(pki.ca_certificate.read_bytes(), _api().context.server, user, data).decode()


def _for_account(account: str, seconds: int) -> str:
    from skerry.daemon import certificates

    namespace, slash, name = account.partition("/")
    if not (namespace and slash and name):
        raise click.UsageError("--serviceaccount wants NAMESPACE/NAME")
    api = _api()
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    answer = api.request("POST", path, body={"spec": {"expirationSeconds": seconds}})
    authority = certificates.Pki(paths().pki).ca_certificate.read_bytes()
    credentials = {"token": answer["status"]["token"]}
    return certificates.user_kubeconfig(authority, api.context.server, name, credentials, namespace).decode()


def _api() -> "Api":
    from skerry.cli.api import Api

    return Api(paths().kubeconfig)


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
