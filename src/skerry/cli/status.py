"""`skerry status`: what runs, and what is wrong, in one screen.

Exit codes: 0 all is well, 1 something is not ready, 3 the platform does not run.
"""

from pathlib import Path
from typing import Any

import click

from skerry.cli.api import Api, kind_named, path_of
from skerry.cli.objects import output_option
from skerry.cli.text import dump, print_rows
from skerry.daemon.lock import DaemonFacts, read_facts
from skerry.daemon.paths import paths


@click.command()
@output_option("json", "yaml")
def status(output: str | None) -> int:
    """Tell whether the platform runs, where it is reached, and which models answer."""
    facts = read_facts(paths().daemon_facts)
    if facts is None:
        click.echo("skerry does not run; start it with `skerry up -d`", err=True)
        return 3
    # This machine's own platform, whatever cluster kubectl is pointed at.
    seen = _seen(Api(Path(facts.kubeconfig)), facts)
    if output:
        click.echo(dump(seen, output))
    else:
        _show(seen)
    return 0 if seen["ready"] else 1


def _seen(api: Api, facts: DaemonFacts) -> dict[str, Any]:
    nodes = api.request("GET", path_of(kind_named("nodes"), None))["items"]
    models = api.request("GET", path_of(kind_named("isvc"), None))["items"]
    routes = api.request("GET", path_of(kind_named("routes"), None))["items"]
    return {
        "ready": all(_ready(item)[0] == "True" for item in [*nodes, *models]),
        "daemon": {
            "pid": facts.pid,
            "api": facts.api_url,
            "gateway": facts.gateway_url,
            "kubeconfig": facts.kubeconfig,
        },
        "nodes": [{"name": node["metadata"]["name"], "ready": _ready(node)[0]} for node in nodes],
        "models": [_model(item, _route_url(item, routes, facts)) for item in models],
    }


def _route_url(item: dict[str, Any], routes: list[dict[str, Any]], facts: DaemonFacts) -> str:
    """Return the URL of the model's Route, "" when it has none."""
    meta = item["metadata"]
    for route in routes:
        ingress = (route.get("status") or {}).get("ingress") or []
        same = route["metadata"]["namespace"] == meta["namespace"]
        if same and route["spec"]["to"]["name"] == f"{meta['name']}-predictor" and ingress:
            return f"http://{ingress[0]['host']}:{facts.gateway_url.rpartition(':')[2]}"
    return ""


def _model(item: dict[str, Any], route_url: str) -> dict[str, Any]:
    ready, message = _ready(item)
    meta, state = item["metadata"], item.get("status") or {}
    failure = ((state.get("modelStatus") or {}).get("lastFailureInfo") or {}).get("message", "")
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "ready": ready,
        "route": route_url,
        "url": state.get("url", ""),
        "message": "" if ready == "True" else failure or message,
    }


def _ready(item: dict[str, Any]) -> tuple[str, str]:
    for condition in (item.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready":
            return condition["status"], condition.get("message", "")
    return "Unknown", ""


def _show(seen: dict[str, Any]) -> None:
    daemon = seen["daemon"]
    click.echo(f"Platform  running (pid {daemon['pid']})")
    click.echo(f"API       {daemon['api']}")
    click.echo(f"Gateway   {daemon['gateway']}")
    for node in seen["nodes"]:
        click.echo(f"Node      {node['name']} {'Ready' if node['ready'] == 'True' else 'NotReady'}")
    if not seen["models"]:
        click.echo("Models    none; docs/tutorial/first-model.md deploys one")
        return
    click.echo()
    rows = [
        [item["namespace"], item["name"], item["ready"], item["route"] or "<none>", item["message"]]
        for item in seen["models"]
    ]
    print_rows(["NAMESPACE", "MODEL", "READY", "ROUTE", "MESSAGE"], rows)
    for item in seen["models"]:
        if item["ready"] != "True":
            click.echo(f"\nNext: skerry describe isvc {item['name']} -n {item['namespace']}")
            break
