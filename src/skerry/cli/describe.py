"""`skerry describe`: one object, its conditions, and the events that tell what happened to it and to its pods."""

from datetime import UTC, datetime
from typing import Any

import click

from skerry.cli.api import TABLE, Api
from skerry.cli.objects import namespace_option, wanted
from skerry.cli.resources import Resource, Resources, path_of, resource_named
from skerry.cli.text import dump, print_rows
from skerry.machinery.humanduration import human_duration

_HIDDEN = ("kubectl.kubernetes.io/last-applied-configuration",)


@click.command()
@click.argument("words", nargs=-1, metavar="TYPE NAME… | TYPE/NAME…")
@namespace_option
def describe(words: tuple[str, ...], namespace: str | None) -> int:
    """Show an object and its events: `skerry describe isvc resnet`.

    For an InferenceService the pods behind it and their events are shown too, so that the reason of a failure is here.
    """
    api = Api()
    resources = Resources(api)
    scope = namespace or api.context.namespace
    first = True
    for one in wanted(words):
        kind = resources.named(one.kind)
        names = one.names or tuple(
            item["metadata"]["name"] for item in api.request("GET", path_of(kind, scope))["items"]
        )
        for name in names:
            if not first:
                click.echo("\n")
            first = False
            _describe(api, kind, scope, name)
    return 0


def _describe(api: Api, kind: Resource, scope: str, name: str) -> None:
    item = api.request("GET", path_of(kind, scope, name))
    meta = item["metadata"]
    _line("Name", meta["name"])
    if kind.namespaced:
        _line("Namespace", meta["namespace"])
    _pairs("Labels", meta.get("labels") or {})
    _pairs("Annotations", {key: text for key, text in (meta.get("annotations") or {}).items() if key not in _HIDDEN})
    _line("Kind", f"{kind.kind} ({kind.api_version})")
    _line("Created", f"{meta['creationTimestamp']} ({_age(meta['creationTimestamp'])} ago)")
    for section in ("spec", "data", "status"):
        if item.get(section):
            content = {key: value for key, value in item[section].items() if key != "conditions"}
            if kind.plural == "secrets":
                content = {key: f"{len(value)} characters of base64" for key, value in content.items()}
            click.echo(f"{section.capitalize()}:")
            click.echo("\n".join(f"  {line}" for line in dump(content, "yaml").splitlines()))
    _conditions((item.get("status") or {}).get("conditions") or [])
    subjects = [(item, kind)]
    if kind.plural == "inferenceservices":
        subjects += [(pod, resource_named("pods")) for pod in _pods(api, scope, name)]
    _events(api, scope, subjects)


def _pods(api: Api, scope: str, name: str) -> list[dict[str, Any]]:
    selector = {"labelSelector": f"serving.kserve.io/inferenceservice={name}"}
    pods = resource_named("pods")
    table = api.request("GET", path_of(pods, scope), accept=TABLE, params=selector)
    if table["rows"]:
        click.echo("Pods:")
        header = [column["name"].upper() for column in table["columnDefinitions"] if not column["priority"]]
        print_rows(["  " + header[0], *header[1:]], [_indented(row["cells"][: len(header)]) for row in table["rows"]])
    listed: list[dict[str, Any]] = api.request("GET", path_of(pods, scope), params=selector)["items"]
    return listed


def _conditions(conditions: list[dict[str, Any]]) -> None:
    if not conditions:
        return
    click.echo("Conditions:")
    rows = [
        [f"  {item['type']}", item["status"], item.get("reason", ""), item.get("message", "")] for item in conditions
    ]
    print_rows(["  TYPE", "STATUS", "REASON", "MESSAGE"], rows)


def _events(api: Api, scope: str, subjects: list[tuple[dict[str, Any], Resource]]) -> None:
    uids = {item["metadata"]["uid"] for item, _ in subjects}
    listed = api.request("GET", path_of(resource_named("events"), scope))["items"]
    found = [event for event in listed if event["involvedObject"].get("uid") in uids]
    if not found:
        click.echo("Events:  <none>")
        return
    found.sort(key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
    click.echo("Events:")
    rows = [_event_row(event) for event in found]
    print_rows(["  TYPE", "REASON", "AGE", "FROM", "OBJECT", "MESSAGE"], rows)


def _event_row(event: dict[str, Any]) -> list[str]:
    about = event["involvedObject"]
    age = _age(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
    if (count := event.get("count") or 1) > 1:
        age = f"{age} (x{count})"
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
    subject = f"{about['kind'].lower()}/{about['name']}"
    return [
        f"  {event.get('type', '')}",
        event.get("reason", ""),
        age,
        source,
        subject,
        event.get("message", "").strip(),
    ]


def _line(name: str, value: str) -> None:
    click.echo(f"{name + ':':<14}{value}")


def _pairs(name: str, pairs: dict[str, str]) -> None:
    lines = [f"{key}={value}" for key, value in sorted(pairs.items())] or ["<none>"]
    for index, line in enumerate(lines):
        click.echo(f"{name + ':' if index == 0 else '':<14}{line}")


def _indented(cells: list[Any]) -> list[Any]:
    return [f"  {cells[0]}", *cells[1:]]


def _age(moment: str) -> str:
    then = datetime.fromisoformat(moment)
    return human_duration(datetime.now(UTC) - then)
