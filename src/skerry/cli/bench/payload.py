"""The bytes of a request, in each of the protocol's forms."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import click

from skerry.cli.bench import grpc, protobuf, rest
from skerry.cli.bench.client import Client, Sink, run
from skerry.cli.bench.inputs import Inputs
from skerry.cli.bench.metadata import SERVICE, Model, answered
from skerry.cli.bench.target import Target


@dataclass(frozen=True)
class Payload:
    """A request that has been answered once."""

    encoding: str
    size: int
    make: Callable[[Sink], Client]


def payload_of(target: Target, model: Model, inputs: Inputs, encoding: str) -> Payload:
    """Make the request and try it; raises `click.ClickException` with the server's words when it is refused."""
    if target.grpc:
        return _grpc_payload(target, model, inputs)
    automatic = ["json"] if inputs.document else ["binary", "json"]
    said = ""
    for form in automatic if encoding == "auto" else [encoding]:
        try:
            return _rest_payload(target, model, inputs, form)
        except click.ClickException as error:
            said = said or error.message
    raise click.ClickException(said)


def _rest_payload(target: Target, model: Model, inputs: Inputs, form: str) -> Payload:
    raw, size = _rest_request(target, model, inputs, form)
    status, body = run(target, lambda: rest.ask(target, raw))
    if status != 200:
        raise click.ClickException(f"{model.name} {answered(status, body)}")
    return Payload(form, size, lambda sink: rest.RestClient(sink, raw))


def _grpc_payload(target: Target, model: Model, inputs: Inputs) -> Payload:
    message, path = protobuf.infer_request(model.name, model.version, inputs.tensors), f"{SERVICE}ModelInfer"
    try:
        run(target, lambda: grpc.ask(target, path, message))
    except grpc.Refused as error:
        raise click.ClickException(f"{model.name} answered {error}") from error
    return Payload("grpc", len(message), lambda sink: grpc.GrpcClient(sink, target, path, message))


def _rest_request(target: Target, model: Model, inputs: Inputs, form: str) -> tuple[bytes, int]:
    path = f"{target.model_path(model.name, model.version)}/infer"
    tensors = [{"name": one.name, "shape": one.shape, "datatype": one.datatype} for one in inputs.tensors]
    if form == "json":
        filled = [one | {"data": tensor.values()} for one, tensor in zip(tensors, inputs.tensors, strict=True)]
        body = inputs.document or json.dumps({"inputs": filled}).encode()
        return rest.request(target, "POST", path, body, {"content-type": "application/json"}), len(body)
    sized = [
        one | {"parameters": {"binary_data_size": len(tensor.raw)}}
        for one, tensor in zip(tensors, inputs.tensors, strict=True)
    ]
    header = json.dumps({"inputs": sized, "parameters": {"binary_data_output": True}}).encode()
    body = b"".join([header, *(one.raw for one in inputs.tensors)])
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(header))}
    return rest.request(target, "POST", path, body, headers), len(body)
