"""What the server says of its model: name, inputs, shapes; over REST and over gRPC.

The list of models has a path of its own in every server, so the known ones are tried in turn: the repository index of
the protocol's extension, then what KServe's and OVMS's servers have.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import click

from skerry.cli.bench import grpc, protobuf, rest
from skerry.cli.bench.client import LOST, run
from skerry.cli.bench.target import Target

_LISTS: Final = (
    ("POST", "/v2/repository/index"),
    ("GET", "/v2/models"),
    ("GET", "/v1/models"),
    ("GET", "/v1/config"),
)
SERVICE: Final = "/inference.GRPCInferenceService/"


@dataclass(frozen=True)
class Declared:
    """An input as the model declares it; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """What is measured."""

    name: str
    version: str
    platform: str
    inputs: tuple[Declared, ...]


def model_of(target: Target, name: str | None, version: str) -> Model:
    """Ask for the metadata; without a name the server must have one model only."""

    async def asked() -> Model:
        if target.grpc:
            return await _model_grpc(target, name or _only(target, await _listed_grpc(target)), version)
        return await _model_rest(target, name or _only(target, await _listed_rest(target)), version)

    try:
        return run(target, asked)
    except (KeyError, TypeError, ValueError) as error:
        raise click.ClickException(
            f"{target.url} does not speak the Open Inference Protocol: its metadata are unreadable ({error!r})"
        ) from error
    except grpc.Refused as error:
        raise click.ClickException(f"{target.url} answered {error}") from error


def _only(target: Target, names: Iterable[str]) -> str:
    found = sorted(set(names))
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(f"{target.url} has several models: choose with --model one of {', '.join(found)}")
    raise click.UsageError(f"{target.url} does not tell its models; name one with --model")


async def _listed_rest(target: Target) -> list[str]:
    for method, path in _LISTS:
        body = b"{}" if method == "POST" else b""
        status, answer = await rest.ask(target, rest.request(target, method, target.prefix + path, body))
        if not status:
            raise click.ClickException(f"{target.url} {answered(status, answer)}; is that port HTTP's?")
        if status == 200 and (names := _names(json.loads(answer))):
            return names
    return []


def _names(listed: Any) -> list[str]:
    if isinstance(listed, list):
        return [one["name"] for one in listed]
    if isinstance(listed, dict) and isinstance(models := listed.get("models"), list):
        return [one if isinstance(one, str) else one["name"] for one in models]
    return list(listed)


async def _model_rest(target: Target, name: str, version: str) -> Model:
    path = target.model_path(name, version)
    status, answer = await rest.ask(target, rest.request(target, "GET", path))
    if status != 200:
        raise click.ClickException(f"{target.url}{path[len(target.prefix) :]} {answered(status, answer)}")
    said = json.loads(answer)
    inputs = tuple(Declared(one["name"], one["datatype"], tuple(map(int, one["shape"]))) for one in said["inputs"])
    return Model(name, version, said.get("platform", ""), inputs)


def answered(status: int, body: bytes) -> str:
    """What to say of a bad answer."""
    if not status:
        return "closed the connection without an answer"
    try:
        text = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        text = body[:300].decode(errors="replace").strip()
    return f"answered {status}: {text}" if text else f"answered {status}"


async def _listed_grpc(target: Target) -> list[str]:
    try:
        answer = await grpc.ask(target, f"{SERVICE}RepositoryIndex", b"")
    except grpc.Refused as error:
        if error.code == LOST or not error.code.startswith("gRPC"):
            raise click.ClickException(f"{target.url}: {error}; is that port gRPC's?") from error
        return []  # it has no such method
    models = [value for field, value in protobuf.fields(answer) if field == 1 and isinstance(value, bytes)]
    return [name for model in models for name in protobuf.strings(model, 1)]


async def _model_grpc(target: Target, name: str, version: str) -> Model:
    asked = protobuf.text(1, name) + (protobuf.text(2, version) if version else b"")
    answer = await grpc.ask(target, f"{SERVICE}ModelMetadata", asked)
    inputs = []
    for field, value in protobuf.fields(answer):
        if field == 4 and isinstance(value, bytes):
            (tensor,), (datatype,) = protobuf.strings(value, 1), protobuf.strings(value, 2)
            inputs.append(Declared(tensor, datatype, tuple(protobuf.signed(value, 3))))
    return Model(name, version, "".join(protobuf.strings(answer, 3)), tuple(inputs))
