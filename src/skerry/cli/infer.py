"""`skerry infer`: a picture, a JSON request or text to a model, an answer that people can read.

What the walkthrough does with `printf`, `tac` and `xxd`: a JSON header, the length of the picture as four bytes, the
picture. The request goes through the gateway with the host of the model's Route (or of its Service when there is none).
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import httpx2

from skerry.cli.api import Api, ApiFailure
from skerry.cli.objects import namespace_option, output_option
from skerry.cli.resources import path_of, resource_named
from skerry.cli.text import dump
from skerry.daemon.lock import read_facts
from skerry.daemon.paths import paths

_IMAGE_STARTS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"RIFF", b"II*\x00", b"MM\x00*")


@dataclass(frozen=True)
class Payload:
    """A request body; `header_length` is set for the binary tensor extension."""

    body: bytes
    header_length: int | None


@click.command()
@click.argument("model")
@click.argument("file", metavar="FILE|-")
@namespace_option
@click.option("--top", default=5, show_default=True, help="How many classes to print.")
@click.option("--labels", type=click.Path(exists=True, dir_okay=False), help="File with one class name a line.")
@click.option("--input", "input_name", help="Name of the model's input; else its first.")
@click.option("--gateway", metavar="URL", help="Gateway address; else that of the platform on this machine.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for the answer.")
@output_option("json", "yaml")
def infer(
    model: str,
    file: str,
    namespace: str | None,
    top: int,
    labels: str | None,
    input_name: str | None,
    gateway: str | None,
    timeout: float,
    output: str | None,
) -> int:
    """Send FILE to the InferenceService MODEL and print the answer.

    A picture (JPEG, PNG, …) is sent as it is, a .json file as an Open Inference Protocol request:

        skerry infer -n ai-demo ovms-resnet50 bee.jpeg --labels labels.txt
    """
    content = sys.stdin.buffer.read() if file == "-" else _read(file)
    api = Api()
    scope = namespace or api.context.namespace
    host = _host(api, scope, model)
    with httpx2.Client(base_url=_gateway(gateway), headers={"host": host}, timeout=timeout, trust_env=False) as http:
        payload = _payload(http, model, scope, content, input_name)
        started = time.perf_counter()
        answer = _post(http, model, scope, payload)
        took = time.perf_counter() - started
    if output:
        click.echo(dump(answer, output))
    else:
        _print(answer, top, Path(labels).read_text().splitlines() if labels else [], took)
    return 0


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from error


def _gateway(given: str | None) -> str:
    if given:
        return given
    facts = read_facts(paths().daemon_facts)
    if facts is None:
        raise click.ClickException("skerry does not run here; start it with `skerry up -d`, or name a --gateway")
    return facts.gateway_url


def _host(api: Api, scope: str, model: str) -> str:
    """Return the host under which the gateway knows the model."""
    try:
        api.request("GET", path_of(resource_named("isvc"), scope, model))
    except ApiFailure as error:
        if error.code != 404:
            raise
        known = api.request("GET", path_of(resource_named("isvc"), scope))["items"]
        names = ", ".join(item["metadata"]["name"] for item in known) or "none"
        raise click.ClickException(f'there is no model "{model}" in namespace {scope}; there is: {names}') from None
    service = f"{model}-predictor"
    for route in api.request("GET", path_of(resource_named("routes"), scope))["items"]:
        ingress = (route.get("status") or {}).get("ingress") or []
        if route["spec"]["to"]["name"] == service and ingress:
            return str(ingress[0]["host"])
    return f"{service}.{scope}.svc.cluster.local"


def _payload(http: httpx2.Client, model: str, scope: str, content: bytes, input_name: str | None) -> Payload:
    if content.lstrip()[:1] == b"{":
        return Payload(content, None)
    if not content.startswith(_IMAGE_STARTS):
        raise click.ClickException("cannot tell what this file is: want a picture or a JSON inference request")
    name = input_name or _first_input(http, model, scope)
    header = json.dumps({"inputs": [{"name": name, "shape": [1], "datatype": "BYTES"}]}).encode()
    return Payload(header + len(content).to_bytes(4, "little") + content, len(header))


def _first_input(http: httpx2.Client, model: str, scope: str) -> str:
    response = _send(http, "GET", f"/v2/models/{model}", None, {})
    if response.is_success:
        return str(response.json()["inputs"][0]["name"])
    raise _refused(response, model, scope)


def _post(http: httpx2.Client, model: str, scope: str, payload: Payload) -> Any:
    headers = {"content-type": "application/json"}
    if payload.header_length is not None:
        headers = {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(payload.header_length),
        }
    response = _send(http, "POST", f"/v2/models/{model}/infer", payload.body, headers)
    if response.is_success:
        return response.json()
    raise _refused(response, model, scope)


def _send(http: httpx2.Client, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> httpx2.Response:
    try:
        return http.request(method, path, content=body, headers=headers)
    except httpx2.TimeoutException as error:
        raise click.ClickException(f"no answer within the time-out: {error}; give a longer --timeout") from error
    except httpx2.HTTPError as error:
        raise click.ClickException(f"cannot reach the gateway {http.base_url}: {error}") from error


def _refused(response: httpx2.Response, model: str, scope: str) -> click.ClickException:
    if response.status_code == 503:
        return click.ClickException(
            f"the model is not ready (503); `skerry describe isvc {model} -n {scope}` tells why"
        )
    try:
        text = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        text = response.text[:300]
    hint = ""
    if "number of channels" in text or "NHWC layout" in text:
        hint = "\nThe model takes channels first; for pictures give it the argument --layout=NHWC:NCHW"
    return click.ClickException(f"the model answered {response.status_code}: {text}{hint}")


def _print(answer: dict[str, Any], top: int, labels: list[str], took: float) -> None:
    for tensor in answer["outputs"]:
        data = tensor.get("data") or []
        click.echo(f"{tensor['name']}  {tensor['datatype']} {tensor['shape']}")
        if not data or not all(isinstance(value, int | float) for value in data):
            click.echo(f"  {json.dumps(data)[:2000]}")
            continue
        for index in sorted(range(len(data)), key=lambda one: -data[one])[:top]:
            label = f"  {labels[index]}" if index < len(labels) else ""
            click.echo(f"  {index:>6}  {data[index]:.4f}{label}")
    click.echo(f"answered in {took * 1000:.1f} ms", err=True)
