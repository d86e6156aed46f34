"""`skerry get`: lists of objects, printed from the server's own tables."""

from collections.abc import Mapping
from typing import Any

import click

from skerry.api.registry import Kind
from skerry.cli.api import TABLE, Api, kind_named, path_of
from skerry.cli.objects import Wanted, namespace_option, output_option, wanted
from skerry.cli.text import dump, print_rows

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

    `skerry get all` shows what belongs to serving models. For watching (`-w`) and JSONPath use kubectl.
    """
    api = Api()
    scope = None if all_namespaces else namespace or api.context.namespace
    asked = [Wanted(kind, ()) for kind in _ALL] if words == ("all",) else wanted(words)
    if output in {"json", "yaml"}:
        return _documents(api, asked, scope, selector, output)
    shown = 0
    for item in asked:
        kind = kind_named(item.kind)
        table = _table(api, kind, item, scope, selector)
        if not table["rows"] and len(asked) > 1:
            continue
        if shown:
            click.echo()
        shown += 1
        _print(kind, table, output, several=len(asked) > 1, with_namespace=all_namespaces, headers=not no_headers)
    if not shown or (len(asked) == 1 and not table["rows"]):
        where = f" in {scope} namespace" if scope and kind_named(asked[0].kind).namespaced else ""
        click.echo(f"No resources found{where}.", err=True)
    return 0


def _table(api: Api, kind: Kind, item: Wanted, scope: str | None, selector: str | None) -> dict[str, Any]:
    params = _params(selector)
    if not item.names:
        whole: dict[str, Any] = api.request("GET", path_of(kind, scope), accept=TABLE, params=params)
        return whole
    if kind.namespaced and scope is None:
        raise click.UsageError("a name needs one namespace: leave -A out, or give -n")
    tables = [api.request("GET", path_of(kind, scope, name), accept=TABLE) for name in item.names]
    return {**tables[0], "rows": [row for table in tables for row in table["rows"]]}


def _print(
    kind: Kind, table: dict[str, Any], output: str | None, *, several: bool, with_namespace: bool, headers: bool
) -> None:
    rows = table["rows"]
    if output == "name":
        for row in rows:
            click.echo(f"{_qualified(kind)}/{row['object']['metadata']['name']}")
        return
    if not rows:
        return
    columns = table["columnDefinitions"]
    chosen = [index for index, column in enumerate(columns) if output == "wide" or not column["priority"]]
    header = [columns[index]["name"].upper() for index in chosen]
    lines = [[row["cells"][index] for index in chosen] for row in rows]
    if several:
        for row in lines:
            row[0] = f"{_qualified(kind)}/{row[0]}"
    if with_namespace and kind.namespaced:
        header.insert(0, "NAMESPACE")
        for line, row in zip(lines, rows, strict=True):
            line.insert(0, row["object"]["metadata"]["namespace"])
    print_rows(header if headers else None, lines)


def _documents(api: Api, asked: list[Wanted], scope: str | None, selector: str | None, output: str) -> int:
    items: list[Any] = []
    for item in asked:
        kind = kind_named(item.kind)
        if item.names:
            items += [api.request("GET", path_of(kind, scope, name)) for name in item.names]
        else:
            listed = api.request("GET", path_of(kind, scope), params=_params(selector))["items"]
            items += [{"apiVersion": kind.api_version, "kind": kind.kind, **one} for one in listed]
    single = len(items) == 1 and len(asked) == 1 and bool(asked[0].names)
    click.echo(
        dump(items[0] if single else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}, output)
    )
    return 0


def _params(selector: str | None) -> Mapping[str, str]:
    return {"labelSelector": selector} if selector else {}


def _qualified(kind: Kind) -> str:
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular
