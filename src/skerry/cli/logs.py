"""`skerry logs`: what a pod wrote."""

import sys
from collections.abc import Mapping

import click

from skerry.cli.api import Api
from skerry.cli.objects import namespace_option
from skerry.cli.resources import path_of, resource_named


@click.command()
@click.argument("target", metavar="POD | isvc/NAME | deployment/NAME")
@namespace_option
@click.option("-c", "--container", help="Which container; needed when the pod has several.")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-p", "--previous", is_flag=True, help="The run before the last restart.")
@click.option("--tail", type=int, help="The last lines only.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
def logs(
    target: str,
    namespace: str | None,
    container: str | None,
    follow: bool,
    previous: bool,
    tail: int | None,
    timestamps: bool,
) -> int:
    """Print the logs of a pod, or of the pod behind a model: `skerry logs isvc/resnet -f`."""
    api = Api()
    scope = namespace or api.context.namespace
    pod = _pod(api, target, scope)
    params = _given(
        container=container,
        follow="true" if follow else None,
        previous="true" if previous else None,
        tailLines=str(tail) if tail is not None else None,
        timestamps="true" if timestamps else None,
    )
    for chunk in api.stream(f"{path_of(resource_named('pods'), scope, pod)}/log", params):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return 0


def _given(**values: str | None) -> Mapping[str, str]:
    return {key: value for key, value in values.items() if value is not None}


def _pod(api: Api, target: str, scope: str) -> str:
    word, slash, name = target.partition("/")
    if not slash:
        return target
    kind = resource_named(word)
    if kind.plural == "pods":
        return name
    selector = f"serving.kserve.io/inferenceservice={name}"
    if kind.plural != "inferenceservices":
        item = api.request("GET", path_of(kind, scope, name))
        labels = ((item.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = api.request("GET", path_of(resource_named("pods"), scope), params={"labelSelector": selector})["items"]
    if not pods:
        raise click.ClickException(f"{target} has no pod; `skerry describe {target} -n {scope}` tells why")
    newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])
    return str(newest["metadata"]["name"])
