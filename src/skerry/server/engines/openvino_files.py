"""Which file OpenVINO is to load, and the plain faults of such a file.

OpenVINO asks every one of its readers in turn whether a file is theirs. For a file that is nobody's, that ends in a
screen of text of the TensorFlow reader on standard error, and in a list of readers instead of a reason. So what can be
told from a few bytes is told here: whether the file begins as its kind does, and whether it is there to its end. ONNX
and TensorFlow's are protocol buffers, and their outermost fields say their lengths: walking over them touches a page
for each, not the weights.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from skerry.server.errors import LoadError

SUFFIXES: Final = (".xml", ".onnx", ".pdmodel", ".pb", ".tflite")  # in OVMS's order
SAVED_MODEL: Final = "saved_model.pb"
_IR: Final = re.compile(rb"<net\b[^>]*\bversion=")
_TEXT_GRAPH: Final = re.compile(rb"\s*(?:node|library|versions)\s*[:{]|\s*#")
_HEAD_BYTES: Final = 4096
_TFLITE: Final = b"TFL3"  # the identifier of the FlatBuffer
_ONNX_GRAPH: Final = 7
_TF_NODE: Final = 1
_TF_FIELDS: Final = frozenset({1, 2, 3, 4, 5})
_SAVED_MODEL_FIELDS: Final = frozenset({(1, 0), (2, 2)})
_FIXED_BYTES: Final = {1: 8, 5: 4}
_MOST_VARINT_BYTES: Final = 10
_MOST_FIELDS: Final = 1 << 18  # a graph has one for each of its nodes; beyond that nothing is judged
# What people have instead, and how they get something that can be loaded.
_INSTEAD: Final = {
    **dict.fromkeys((".pt", ".pth", ".pt2"), "PyTorch's own files need PyTorch; save it with torch.onnx.export"),
    **dict.fromkeys((".h5", ".keras"), "Keras' own files need Keras; save it with model.export(directory)"),
    ".pdiparams": "the weights of a .pdmodel that is missing; Paddle 3 writes it with FLAGS_enable_pir_api=0",
    ".bin": "the weights of an .xml that is missing",
}


def model_file(version: Path) -> Path:
    """Return what to load: the first kind that the directory holds, in OVMS's order; or a file given by itself.

    A SavedModel is its directory.
    """
    if version.is_file():
        return _checked(version)
    try:
        files = sorted(version.iterdir())
    except OSError as why:
        raise LoadError(f"cannot load {version}: {why.strerror}") from None
    # TensorFlow and Keras write other .pb files beside a SavedModel's: fingerprint.pb, keras_metadata.pb.
    files.sort(key=lambda file: file.name != SAVED_MODEL)
    for suffix in SUFFIXES:
        for file in files:
            if file.suffix == suffix:
                return _checked(file)
    held = ", ".join(file.name for file in files) or "nothing"
    hints = [_INSTEAD[file.suffix] for file in files if file.suffix in _INSTEAD]
    hint = f" ({hints[0]})" if hints else ""
    raise LoadError(f"cannot load {version}: it holds no model ({', '.join(SUFFIXES)}), only {held}{hint}")


def _checked(file: Path) -> Path:
    """Find the plain faults; raises `LoadError`."""
    if file.suffix not in SUFFIXES:
        hint = _INSTEAD.get(file.suffix, f"known are {', '.join(SUFFIXES)}")
        raise LoadError(f"cannot load {file}: it is of no format that OpenVINO reads ({hint})")
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
            if not head:
                raise LoadError(f"cannot load {file}: the file is empty")
            if file.suffix == ".onnx" or (file.suffix == ".pb" and not _TEXT_GRAPH.match(head)):
                _check_message(file, set(islice(_fields(stream, file.stat().st_size), _MOST_FIELDS)))
    except OSError as why:
        raise LoadError(f"cannot load {file}: {why.strerror}") from None
    except _NotWhole as why:
        kind = "ONNX" if file.suffix == ".onnx" else "TensorFlow"
        raise LoadError(f"cannot load {file}: it is no {kind} model, or a part of one: {why}") from None
    if file.suffix == ".tflite" and head[4:8] != _TFLITE:
        raise LoadError(f"cannot load {file}: it is no TensorFlow Lite model (there is no {_TFLITE.decode()} in it)")
    if file.suffix == ".xml":
        _check_ir(file, head)
    return file.parent if file.name == SAVED_MODEL else file


def _check_ir(file: Path, head: bytes) -> None:
    if not _IR.search(head):
        raise LoadError(f"cannot load {file}: it is no OpenVINO model (there is no <net … version=…> in it)")
    if not file.with_suffix(".bin").exists():
        raise LoadError(f"cannot load {file}: its weights, {file.with_suffix('.bin').name}, are missing")


def _check_message(file: Path, fields: set[tuple[int, int]]) -> None:
    """Judge a protocol buffer by the numbers and kinds of its outermost fields."""
    if file.suffix == ".onnx":
        if (_ONNX_GRAPH, 2) not in fields:
            raise LoadError(f"cannot load {file}: it is no ONNX model (there is no graph in it)")
        return
    if fields == _SAVED_MODEL_FIELDS:
        if file.name != SAVED_MODEL:
            raise LoadError(f"cannot load {file}: it is a SavedModel, whose file is to be called {SAVED_MODEL}")
        return
    if file.name == SAVED_MODEL:
        raise LoadError(f"cannot load {file}: it is no SavedModel")
    if (_TF_NODE, 2) not in fields or not _TF_FIELDS.issuperset(number for number, _ in fields):
        raise LoadError(f"cannot load {file}: it is no TensorFlow graph (a frozen GraphDef)")


class _NotWhole(Exception):
    """The bytes are no protocol buffer to their end."""


def _fields(stream: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """The outermost fields of a protocol buffer: number and wire type; the values are skipped."""
    offset = 0
    while offset < size:
        start = offset
        tag, offset = _varint(stream, offset)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _, offset = _varint(stream, offset)
        elif kind == 2:
            length, offset = _varint(stream, offset)
            offset += length
        elif kind in _FIXED_BYTES:
            offset += _FIXED_BYTES[kind]
        else:
            raise _NotWhole(f"byte {start} begins nothing that is known")
        if not number:
            raise _NotWhole(f"byte {start} begins nothing that is known")
        if offset > size:
            raise _NotWhole(f"what begins at byte {start} would end at byte {offset}, and the file does at {size}")
        yield number, kind


def _varint(stream: BinaryIO, offset: int) -> tuple[int, int]:
    """The number at an offset, and the offset behind it."""
    stream.seek(offset)
    number = 0
    for place, byte in enumerate(stream.read(_MOST_VARINT_BYTES)):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, offset + place + 1
    raise _NotWhole(f"the number at byte {offset} does not end")
