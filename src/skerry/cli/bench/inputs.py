"""What is sent: tensors of the model's shapes with random values, or what files hold."""

import ast
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from skerry.cli.bench.metadata import Declared, Model
from skerry.cli.bench.tensors import Tensor, flat, made_up, packed, swapped, with_lengths

_PICTURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"RIFF", b"II*\x00", b"MM\x00*")
_NPY: Final = b"\x93NUMPY"
_KINDS: Final = {"b": "BOOL", "u": "UINT", "i": "INT", "f": "FP"}


@dataclass(frozen=True)
class Inputs:
    """The tensors of every request; `document` is a JSON request that was given whole."""

    tensors: tuple[Tensor, ...]
    document: bytes | None = None

    def describe(self) -> str:
        parts = [f"{one.name} {one.datatype} {list(one.shape)}" for one in self.tensors[:4]]
        more = [f"{len(self.tensors) - 4} more"] if len(self.tensors) > 4 else []
        return ", ".join(parts + more)


def inputs_of(model: Model, files: Sequence[str], shapes: Sequence[str], batch: int) -> Inputs:
    """Make the inputs of a model; raises `click.ClickException` with what does not fit."""
    if len(files) == 1 and (document := _document(files[0])) is not None:
        return document
    if not model.inputs:
        raise click.UsageError(f"{model.name} does not declare its inputs: give a whole request, --input request.json")
    given = {}
    for word in files:
        name, path = _named(word, model)
        given[name] = _from_file(name, path)
    wanted = {}
    for word in shapes:
        name, text = _named(word, model)
        wanted[name] = _shape(text)
    return Inputs(tuple(given.get(one.name) or _random(one, wanted, batch) for one in model.inputs))


def _document(word: str) -> Inputs | None:
    """A whole request, when the file is JSON."""
    content = _read(Path(word)) if Path(word).exists() else b""
    if content.lstrip()[:1] != b"{":
        return None
    try:
        listed = json.loads(content)["inputs"]
        tensors = [packed(one["name"], one["datatype"], tuple(one["shape"]), flat(one["data"])) for one in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise click.ClickException(
            f"cannot use {word}: {error!r}; want an inference request with name, shape, datatype and data of each input"
        ) from error
    return Inputs(tuple(tensors), content)


def _named(word: str, model: Model) -> tuple[str, str]:
    """Split `NAME=VALUE`; a value alone is for the model's only input."""
    name, sign, value = word.partition("=")
    names = [one.name for one in model.inputs]
    if sign and name in names:
        return name, value
    if len(names) == 1:
        return names[0], word
    raise click.UsageError(f"say for which input {word} is, as NAME={word}; the model has: {', '.join(names)}")


def _from_file(name: str, path: str) -> Tensor:
    content = _read(Path(path))
    if content.startswith(_NPY):
        return _npy(name, path, content)
    if content.startswith(_PICTURES):
        return Tensor(name, "BYTES", (1,), with_lengths([content]))
    raise click.ClickException(f"cannot tell what {path} is: want a picture, an .npy array or a JSON inference request")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from error


def _npy(name: str, path: str, content: bytes) -> Tensor:
    """The format is a magic number, a version, the length of a Python literal, the literal, the values."""
    wide = content[6] > 1
    (size,) = struct.unpack_from("<I" if wide else "<H", content, 8)
    start = (12 if wide else 10) + size
    try:
        header = ast.literal_eval(content[start - size : start].decode())
        order, kind, width = header["descr"][0], header["descr"][1], int(header["descr"][2:])
        datatype = "BOOL" if kind == "b" else f"{_KINDS[kind]}{width * 8}"
        if header["fortran_order"]:
            raise click.ClickException(f"cannot use {path}: save np.ascontiguousarray(…), not Fortran's order")
    except (ValueError, SyntaxError, KeyError, TypeError, IndexError) as error:
        raise click.ClickException(f"cannot use {path}: {error}; want an array of numbers") from error
    raw = swapped(content[start:], width) if order == ">" else content[start:]
    return Tensor(name, datatype, tuple(header["shape"]), raw)


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.strip("[]() ").split(",") if size.strip())
    except ValueError:
        raise click.UsageError(f"{text} is no shape: want for example --shape 1,3,224,224") from None


def _random(declared: Declared, wanted: Mapping[str, tuple[int, ...]], batch: int) -> Tensor:
    shape = wanted.get(declared.name)
    if shape is None:
        sizes: list[Any] = list(declared.shape)
        if any(size < 0 for size in sizes[1:]):
            raise click.UsageError(
                f"input {declared.name} has the shape {sizes}: say what to send with --shape {declared.name}=N,N,…"
            )
        shape = tuple([batch if sizes[0] < 0 else sizes[0], *sizes[1:]] if sizes else ())
    return made_up(declared.name, declared.datatype, shape)
