"""`skerry delete`."""

import time
from typing import Any, Final

import click

from skerry.cli.api import Api, ApiFailure
from skerry.cli.documents import read_documents
from skerry.cli.objects import namespace_option, wanted
from skerry.cli.resources import Resource, Resources, path_of

_POLL_SECONDS: Final = 0.2


@click.command()
@click.argument("words", nargs=-1, metavar="TYPE NAME… | TYPE/NAME…")
@click.option("-f", "--filename", "files", multiple=True, metavar="FILE|DIR|-", help="Delete what these files name.")
@namespace_option
@click.option("--all", "everything", is_flag=True, help="All objects of the kind in the namespace.")
@click.option("--ignore-not-found", is_flag=True, help="A missing object is no error.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the objects are gone.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for each object.")
@click.option("--grace-period", type=int, help="Seconds that a pod gets to end.")
def delete(
    words: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str | None,
    everything: bool,
    ignore_not_found: bool,
    wait: bool,
    timeout: float,
    grace_period: int | None,
) -> int:
    """Delete objects by name or by file: `skerry delete isvc resnet`, `skerry delete -f isvc.yaml`."""
    api = Api()
    scope = namespace or api.context.namespace
    params = {"gracePeriodSeconds": str(grace_period)} if grace_period is not None else {}
    failed = 0
    for kind, where, name in _targets(api, words, files, scope, everything=everything):
        try:
            api.request("DELETE", path_of(kind, where, name), params=params, body={"propagationPolicy": "Background"})
            if wait:
                _wait_gone(api, path_of(kind, where, name), timeout)
        except ApiFailure as error:
            if error.code == 404 and ignore_not_found:
                continue
            error.show()
            failed += 1
            continue
        click.echo(f'{kind.qualified} "{name}" deleted' + (f" from {where} namespace" if kind.namespaced else ""))
    return 1 if failed else 0


def _targets(
    api: Api, words: tuple[str, ...], files: tuple[str, ...], scope: str, *, everything: bool
) -> list[tuple[Resource, str, str]]:
    found: list[tuple[Resource, str, str]] = []
    resources = Resources(api)
    if files:
        for item in read_documents(files):
            meta: dict[str, Any] = item["metadata"]
            found.append((resources.of(item), meta.get("namespace") or scope, meta["name"]))
    for one in wanted(words) if words else []:
        kind = resources.named(one.kind)
        names = one.names
        if not names and not everything:
            raise click.UsageError("say which: give names, TYPE/NAME, or --all")
        if not names:
            listed = api.request("GET", path_of(kind, scope))["items"]
            names = tuple(item["metadata"]["name"] for item in listed)
        found += [(kind, scope, name) for name in names]
    if not words and not files:
        raise click.UsageError("say what to delete: TYPE NAME, TYPE/NAME or -f FILE")
    return found


def _wait_gone(api: Api, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            left = api.request("GET", path)
        except ApiFailure as error:
            if error.code == 404:
                return
            raise
        if time.monotonic() > deadline:
            held = ", ".join(left["metadata"].get("finalizers") or []) or "its pods or content"
            raise click.ClickException(f"{path} is still there after {timeout:g} s; it waits for: {held}")
        time.sleep(_POLL_SECONDS)
