"""`skerry apply`: create what is not there, change what is."""

import json
from typing import Any, Final

import click

from skerry.cli.api import Api, ApiFailure
from skerry.cli.documents import read_documents
from skerry.cli.objects import namespace_option, output_option
from skerry.cli.resources import Resource, Resources, path_of
from skerry.cli.text import dump
from skerry.machinery.merge import merge_patch

_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


@click.command()
@click.option("-f", "--filename", "files", multiple=True, required=True, metavar="FILE|DIR|-", help="What to apply.")
@namespace_option
@click.option("--dry-run", type=click.Choice(["server"]), help="Ask the server, change nothing.")
@output_option("json", "yaml", "name")
def apply(files: tuple[str, ...], namespace: str | None, dry_run: str | None, output: str | None) -> int:
    """Create or change objects from YAML files, as `kubectl apply` does.

    A field that an earlier apply set and this file no longer has is removed; what others set stays.
    """
    api = Api()
    resources = Resources(api)
    failed = 0
    for item in read_documents(files):
        try:
            kind = resources.of(item)
            result, word = _apply(api, kind, item, namespace, dry_run)
        except click.ClickException as error:
            error.show()
            failed += 1
            continue
        if output in {"json", "yaml"}:
            click.echo(dump(result, output))
            continue
        suffix = "" if output == "name" else f" {word}{' (server dry run)' if dry_run else ''}"
        click.echo(f"{kind.qualified}/{result['metadata']['name']}{suffix}")
    return 1 if failed else 0


def _apply(
    api: Api, kind: Resource, item: dict[str, Any], namespace: str | None, dry_run: str | None
) -> tuple[Any, str]:
    given = item.setdefault("metadata", {}).get("namespace")
    if kind.namespaced and given and namespace and given != namespace:
        raise click.ClickException(
            f'the namespace from the provided object "{given}" does not match the namespace "{namespace}". '
            f"You must pass '--namespace={given}' to perform this operation."
        )
    scope = given or namespace or api.context.namespace
    params = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
    one = path_of(kind, scope, item["metadata"].get("name", ""))
    marked = _marked(item)
    try:
        present = api.request("GET", one)
    except ApiFailure as error:
        if error.code != 404:
            raise
        return api.request("POST", path_of(kind, scope), params=params, body=marked), "created"
    patch = _removed(present, item, marked)
    if merge_patch(present, patch) == present:
        return present, "unchanged"
    return api.request(
        "PATCH", one, params=params, body=patch, content_type="application/merge-patch+json"
    ), "configured"


def _marked(item: dict[str, Any]) -> dict[str, Any]:
    annotations = item["metadata"].get("annotations") or {}
    plain = {**item, "metadata": {**item["metadata"], "annotations": annotations}}
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True) + "\n"
    return {**item, "metadata": {**item["metadata"], "annotations": {**annotations, _APPLIED: text}}}


def _removed(present: dict[str, Any], item: dict[str, Any], marked: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch: what the file says, and null for what the last apply set and the file lacks."""
    last = (present["metadata"].get("annotations") or {}).get(_APPLIED)
    patch: dict[str, Any] = _nulls(json.loads(last), item) if last else {}
    merged: dict[str, Any] = _over(patch, marked)
    return merged


def _nulls(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    gone: dict[str, Any] = {}
    for key, value in before.items():
        if key not in now:
            gone[key] = None
        elif isinstance(value, dict) and isinstance(now[key], dict) and (inner := _nulls(value, now[key])):
            gone[key] = inner
    return gone


def _over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in top.items():
        below = result.get(key)
        result[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
