"""`skerry get`: lists of objects, printed from the server's own tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from skerry.cli.api import TABLE, Api, ApiFailure
from skerry.cli.objects import Wanted, namespace_option, output_option, wanted
from skerry.cli.resources import Resource, Resources, path_of
from skerry.cli.text import dump, print_rows

_JSON = "application/json"
_ALL = ("pods", "services", "deployments", "replicasets", "inferenceservices", "routes")


@click.command()
@click.argument("words", nargs=-1, metavar="TYPE[,TYPE] [NAME…] | TYPE/NAME…")
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", metavar="SELECTOR", help="Label selector, e.g. app=demo,tier!=test.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@output_option("wide", "name", "json", "yaml")
def get(
    words: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str | None,
    no_headers: bool,
    output: str | None,
) -> int:
    """List objects: `skerry get isvc`, `skerry get pods -A`, `skerry get route/demo -o yaml`.

    Kinds that a CustomResourceDefinition has added are known too. `skerry get all` shows what belongs to serving
    models. For watching (`-w`) and JSONPath use kubectl.
    """
    api = Api()
    resources = Resources(api)
    scope = None if all_namespaces else namespace or api.context.namespace
    asked = [Wanted(kind, ()) for kind in _ALL] if words == ("all",) else wanted(words)
    meant = [(resources.named(item.kind), item.names) for item in asked]
    if scope is None and any(resource.namespaced and names for resource, names in meant):
        raise click.UsageError("a name needs one namespace: leave -A out, or give -n")
    lookup = _Lookup(api, scope, {"labelSelector": selector} if selector else {})
    if output in {"json", "yaml"}:
        _documents(lookup, meant, output)
    else:
        _tables(lookup, meant, output, headers=not no_headers)
    for failure in lookup.failures:
        failure.show()
    return 1 if lookup.failures else 0


Meant = Sequence[tuple[Resource, tuple[str, ...]]]


@dataclass(frozen=True)
class _Lookup:
    """Asks for objects. What is not there is kept for later, so that all the rest is printed."""

    api: Api
    scope: str | None
    params: dict[str, str]
    failures: list[ApiFailure] = field(default_factory=list)

    def list(self, resource: Resource, accept: str) -> Any:
        return self.api.request("GET", path_of(resource, self.scope), accept=accept, params=self.params)

    def named(self, resource: Resource, names: Sequence[str], accept: str) -> Iterator[Any]:
        for name in names:
            try:
                yield self.api.request("GET", path_of(resource, self.scope, name), accept=accept)
            except ApiFailure as error:
                self.failures.append(error)


def _tables(lookup: _Lookup, meant: Meant, output: str | None, *, headers: bool) -> None:
    shown, several = 0, len(meant) > 1
    for resource, names in meant:
        tables = list(lookup.named(resource, names, TABLE)) if names else [lookup.list(resource, TABLE)]
        rows = [row for table in tables for row in table["rows"]]
        if not rows:
            continue
        if shown and output != "name":
            click.echo()
        shown += 1
        if output == "name":
            _print_names(resource, rows)
        else:
            columns = tables[0]["columnDefinitions"]
            _print(resource, columns, rows, wide=output == "wide", several=several, scope=lookup.scope, headers=headers)
    if not shown and not lookup.failures:
        where = f" in {lookup.scope} namespace" if lookup.scope and meant[0][0].namespaced else ""
        click.echo(f"No resources found{where}.", err=True)


def _print_names(resource: Resource, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        click.echo(f"{resource.qualified}/{row['object']['metadata']['name']}")


def _print(
    resource: Resource,
    columns: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    *,
    wide: bool,
    several: bool,
    scope: str | None,
    headers: bool,
) -> None:
    chosen = [index for index, column in enumerate(columns) if wide or not column["priority"]]
    header = [columns[index]["name"].upper() for index in chosen]
    lines = [[row["cells"][index] for index in chosen] for row in rows]
    if several:
        for row in lines:
            row[0] = f"{resource.qualified}/{row[0]}"
    if scope is None and resource.namespaced:
        header.insert(0, "NAMESPACE")
        for line, shown in zip(lines, rows, strict=True):
            line.insert(0, shown["object"]["metadata"]["namespace"])
    print_rows(header if headers else None, lines)


def _documents(lookup: _Lookup, meant: Meant, output: str) -> None:
    items: list[Any] = []
    for resource, names in meant:
        if names:
            items += lookup.named(resource, names, _JSON)
        else:
            listed = lookup.list(resource, _JSON)["items"]
            items += [{"apiVersion": resource.api_version, "kind": resource.kind, **one} for one in listed]
    if not items and lookup.failures:
        return
    single = len(meant) == 1 and len(meant[0][1]) == 1
    whole = items[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}
    click.echo(dump(whole, output))
