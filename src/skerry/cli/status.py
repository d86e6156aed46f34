"""`skerry status`: what runs, and what is wrong, in one screen.

It answers whatever is broken: what the API would say is left out when the API does not answer within seconds, and what
is known of the database is read from files.

Exit codes: 0 all is well, 1 something is not ready, 3 the platform does not run.
"""

from pathlib import Path
from typing import Any, Final

import click

from skerry.cli.api import Api, kind_named, path_of
from skerry.cli.objects import output_option
from skerry.cli.store_status import store_facts, store_lines
from skerry.cli.text import dump, print_rows
from skerry.daemon.lock import DaemonFacts, read_facts
from skerry.daemon.paths import paths

_PATIENCE: Final = 5.0


@click.command()
@output_option("json", "yaml")
def status(output: str | None) -> int:
    """Tell whether the platform runs, where it is reached, which models answer, and how its database is."""
    where = paths()
    facts = read_facts(where.daemon_facts)
    store = store_facts(where)
    if facts is None:
        _say_stopped(store, output)
        return 3
    # This machine's own platform, whatever cluster kubectl is pointed at.
    seen = _seen(facts, store)
    if output:
        click.echo(dump(seen, output))
    else:
        _show(seen)
    return 0 if seen["ready"] else 1


def _say_stopped(store: dict[str, Any], output: str | None) -> None:
    if output:
        click.echo(dump({"ready": False, "daemon": None, "store": store}, output))
        return
    click.echo("skerry does not run; start it with `skerry up -d`", err=True)
    if store["cannotStart"]:
        click.echo(f"The last start failed: {store['cannotStart']}", err=True)
    for line in store_lines(store):
        click.echo(line, err=True)


def _seen(facts: DaemonFacts, store: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {
        "ready": False,
        "daemon": {
            "pid": facts.pid,
            "api": facts.api_url,
            "gateway": facts.gateway_url,
            "kubeconfig": facts.kubeconfig,
        },
        "problem": "",
        "nodes": [],
        "models": [],
        "store": store,
    }
    try:
        api = Api(Path(facts.kubeconfig), timeout=_PATIENCE)
        nodes, models, routes = (
            api.request("GET", path_of(kind_named(kind), None))["items"] for kind in ("nodes", "isvc", "routes")
        )
        seen["nodes"] = [_node(item) for item in nodes]
        seen["models"] = [_model(item, _route_url(item, routes, facts)) for item in models]
        seen["ready"] = all(_ready(item)[0] == "True" for item in [*nodes, *models]) and not store["trouble"]
    except click.ClickException as error:
        seen["problem"] = error.format_message()
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:  # an answer or a file of another kind
        seen["problem"] = f"the API's answer cannot be read: {type(error).__name__}: {error}"
    return seen


def _node(item: dict[str, Any]) -> dict[str, Any]:
    conditions = (item.get("status") or {}).get("conditions") or []
    pressed = [one["type"] for one in conditions if one["type"].endswith("Pressure") and one["status"] == "True"]
    return {
        "name": item["metadata"]["name"],
        "ready": _ready(item)[0],
        "pressure": pressed,
        "unschedulable": bool((item.get("spec") or {}).get("unschedulable")),
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
        words = ["Ready" if node["ready"] == "True" else "NotReady", *node["pressure"]]
        if node["unschedulable"]:
            words.append(f"SchedulingDisabled; kubectl uncordon {node['name']} lets pods start again")
        click.echo(f"Node      {node['name']} {','.join(words)}")
    for line in store_lines(seen["store"]):
        click.echo(line)
    if seen["problem"]:
        click.echo(f"Problem   {seen['problem']}")
    elif not seen["models"]:
        click.echo("Models    none; docs/tutorial/first-model.md deploys one")
    else:
        _show_models(seen["models"])


def _show_models(models: list[dict[str, Any]]) -> None:
    click.echo()
    rows = [
        [item["namespace"], item["name"], item["ready"], item["route"] or "<none>", item["message"]] for item in models
    ]
    print_rows(["NAMESPACE", "MODEL", "READY", "ROUTE", "MESSAGE"], rows)
    for item in models:
        if item["ready"] != "True":
            click.echo(f"\nNext: skerry describe isvc {item['name']} -n {item['namespace']}")
            break
