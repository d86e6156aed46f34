"""`skerry status`: what runs, and what is wrong, in one screen.

It answers whatever is broken: what the API would say is left out when the API does not answer within seconds, and what
is known of the database is read from files.

Exit codes: 0 all is well, 1 something that is wanted is not ready, 3 the platform does not run.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from skerry.cli.api import Api
from skerry.cli.objects import output_option
from skerry.cli.resources import path_of, resource_named
from skerry.cli.status_models import model_status, ready_of
from skerry.cli.status_text import labelled, lines
from skerry.cli.store_status import store_facts, store_lines
from skerry.cli.text import dump
from skerry.daemon.health import acknowledge, read_health
from skerry.daemon.lock import DaemonFacts, read_facts
from skerry.daemon.paths import paths

_PATIENCE: Final = 5.0


@click.command()
@click.option("--acknowledge", "acknowledged", is_flag=True, help="Do not show these notices of the store again.")
@output_option("wide", "json", "yaml")
def status(acknowledged: bool, output: str | None) -> int:
    """Tell whether the platform runs, where it is reached, which models answer, and how its database is.

    A terminal gets lines that fit; `-o wide` does not break them.
    """
    where = paths()
    facts = read_facts(where.daemon_facts)
    notices = read_health(where.health).notices
    store = store_facts(where, notices)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() and output is None else None
    if facts is None:
        _say_stopped(store, output, width)
        code = 3
    else:
        # This machine's own platform, whatever cluster kubectl is pointed at.
        seen = _seen(facts, store)
        _say(dump(seen, output) if output in {"json", "yaml"} else lines(seen, width))
        code = 0 if seen["ready"] else 1
    if acknowledged:
        acknowledge(where.health, notices)
    return code


def _say(text: str | Sequence[str], *, err: bool = False) -> None:
    click.echo(text if isinstance(text, str) else "\n".join(text), err=err)


def _say_stopped(store: dict[str, Any], output: str | None, width: int | None) -> None:
    if output in {"json", "yaml"}:
        _say(dump({"ready": False, "daemon": None, "store": store}, output))
        return
    said = ["skerry does not run; start it with `skerry up -d`"]
    if store["cannotStart"]:
        said.append(f"The last start failed: {store['cannotStart']}")
    _say([*said, *labelled(store_lines(store), width)], err=True)


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
        _ask(seen, facts)
    except click.ClickException as error:
        seen["problem"] = error.format_message()
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:  # an answer or a file of another kind
        seen["problem"] = f"the API's answer cannot be read: {type(error).__name__}: {error}"
    return seen


def _ask(seen: dict[str, Any], facts: DaemonFacts) -> None:
    """Fill in what the API knows."""
    api = Api(Path(facts.kubeconfig), timeout=_PATIENCE)
    nodes, models, deployments, routes = (
        api.request("GET", path_of(resource_named(kind), None))["items"]
        for kind in ("nodes", "isvc", "deployments", "routes")
    )
    seen["nodes"] = [_node(item) for item in nodes]
    seen["models"] = [model_status(item, deployments, _route_url(item, routes, facts)) for item in models]
    wanted = [one["ready"] for one in seen["models"] if not one["off"]]
    seen["ready"] = all(each == "True" for each in (*wanted, *(one["ready"] for one in seen["nodes"])))
    seen["ready"] = seen["ready"] and not seen["store"]["trouble"]


def _node(item: dict[str, Any]) -> dict[str, Any]:
    conditions = (item.get("status") or {}).get("conditions") or []
    pressed = [one["type"] for one in conditions if one["type"].endswith("Pressure") and one["status"] == "True"]
    return {
        "name": item["metadata"]["name"],
        "ready": ready_of(item)[0],
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
