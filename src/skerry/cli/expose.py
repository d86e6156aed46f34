"""`skerry expose`: a Route for a Service, as `oc expose svc` makes it."""

from typing import Any

import click

from skerry.cli.api import Api
from skerry.cli.objects import namespace_option, output_option, wanted
from skerry.cli.resources import path_of, resource_named
from skerry.cli.text import dump


@click.command()
@click.argument("words", nargs=-1, metavar="svc NAME | svc/NAME")
@namespace_option
@click.option("--name", help="Name of the Route; else the Service's.")
@click.option("--hostname", help="Host of the Route; else NAME-NAMESPACE.<apps domain>.")
@click.option("--path", help="Path below the host, beginning with /.")
@click.option("--port", help="Port of the Service's pods: a name or a number.")
@output_option("json", "yaml", "name")
def expose(
    words: tuple[str, ...],
    namespace: str | None,
    name: str | None,
    hostname: str | None,
    path: str | None,
    port: str | None,
    output: str | None,
) -> int:
    """Make a Route, so that a Service is reached through the gateway: `skerry expose svc NAME`."""
    asked = wanted(words)
    if len(asked) != 1 or len(asked[0].names) != 1:
        raise click.UsageError("want one Service: for example `skerry expose svc resnet-predictor`")
    kind = resource_named(asked[0].kind)
    if kind.plural != "services":
        raise click.ClickException(f"cannot expose a {kind.kind}: only Services can be exposed")
    api = Api()
    scope = namespace or api.context.namespace
    service = api.request("GET", path_of(kind, scope, asked[0].names[0]))
    route = _route(service, name, hostname, path, port)
    created = api.request("POST", path_of(resource_named("routes"), scope), body=route)
    if output in {"json", "yaml"}:
        click.echo(dump(created, output))
    else:
        click.echo(f"route.route.openshift.io/{created['metadata']['name']}" + ("" if output else " exposed"))
    return 0


def _route(
    service: dict[str, Any], name: str | None, hostname: str | None, path: str | None, port: str | None
) -> dict[str, Any]:
    meta = service["metadata"]
    spec: dict[str, Any] = {
        "to": {"kind": "Service", "name": meta["name"]},
        "port": {"targetPort": _port(service, port)},
    }
    if hostname:
        spec["host"] = hostname
    if path:
        spec["path"] = path
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": name or meta["name"], "labels": meta.get("labels") or {}},
        "spec": spec,
    }


def _port(service: dict[str, Any], given: str | None) -> str | int:
    """Choose as `oc` does: what was given, else the first TCP port's name, else its target port."""
    if given is None:
        ports = [port for port in service["spec"].get("ports") or [] if port.get("protocol", "TCP") == "TCP"]
        if not ports:
            raise click.ClickException(f'service "{service["metadata"]["name"]}" doesn\'t support TCP')
        given = ports[0].get("name") or str(ports[0].get("targetPort", ports[0]["port"]))
    return int(given) if given.isdigit() else given
