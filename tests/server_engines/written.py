"""The iris model of `harness`, y = softmax(x · W), in every format that OpenVINO reads, without their libraries.

ONNX, TensorFlow and Paddle keep their models in protocol buffers, TensorFlow Lite in a FlatBuffer. The numbers of the
fields are those of onnx.proto, graph.proto and saved_model.proto, framework.proto, and schema.fbs.
"""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import flatbuffers
import numpy as np
from tests.server.harness import IRIS_WEIGHTS

Field: TypeAlias = "tuple[int, int | str | bytes]"
_WEIGHTS: Final = IRIS_WEIGHTS.tobytes()
_FLOAT: Final = 1  # of ONNX and of TensorFlow


def message(*fields: Field) -> bytes:
    """A protocol buffer: numbers as varints, everything else with its length."""
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


# ONNX.


def onnx(*, external: str = "", operation: str = "Softmax") -> bytes:
    """`external` is the name of the file that holds the weights."""
    place = [(13, message((1, "location"), (2, external))), (14, 1)] if external else [(9, _WEIGHTS)]
    weights = message((1, 4), (1, 3), (2, _FLOAT), (8, "W"), *place)
    axis = message((1, "axis"), (3, 1), (20, 2))
    graph = message(
        (1, message((1, "x"), (1, "W"), (2, "scores"), (4, "MatMul"))),
        (1, message((1, "scores"), (2, "y"), (4, operation), (5, axis))),
        (2, "iris"),
        (5, weights),
        (11, _onnx_value("x", 1, 4)),
        (12, _onnx_value("y", 1, 3)),
    )
    return message((1, 8), (7, graph), (8, message((1, ""), (2, 13))))


def _onnx_value(name: str, *shape: int) -> bytes:
    dims = message(*((1, message((1, size))) for size in shape))
    return message((1, name), (2, message((1, message((1, _FLOAT), (2, dims))))))


# TensorFlow.


def frozen_graph() -> bytes:
    kind = _attribute("T", message((6, _FLOAT)))
    dtype = _attribute("dtype", message((6, _FLOAT)))
    weights = message((8, message((1, _FLOAT), (2, _tf_shape(4, 3)), (4, _WEIGHTS))))
    nodes = (
        message((1, "x"), (2, "Placeholder"), dtype, _attribute("shape", message((7, _tf_shape(1, 4))))),
        message((1, "W"), (2, "Const"), dtype, _attribute("value", weights)),
        message((1, "scores"), (2, "MatMul"), (3, "x"), (3, "W"), kind),
        message((1, "y"), (2, "Softmax"), (3, "scores"), kind),
    )
    return message(*((1, node) for node in nodes), (4, message((1, 1087), (2, 12))))


def saved_model() -> bytes:
    x, y = (message((1, f"{name}:0"), (2, _FLOAT), (3, _tf_shape(1, size))) for name, size in (("x", 4), ("y", 3)))
    signature = message(
        (1, message((1, "x"), (2, x))), (2, message((1, "probabilities"), (2, y))), (3, "tensorflow/serving/predict")
    )
    meta = message(
        (1, message((4, "serve"))), (2, frozen_graph()), (5, message((1, "serving_default"), (2, signature)))
    )
    return message((1, 1), (2, meta))


def _attribute(name: str, value: bytes) -> Field:
    return 5, message((1, name), (2, value))


def _tf_shape(*sizes: int) -> bytes:
    return message(*((2, message((1, size))) for size in sizes))


# Paddle.


def paddle() -> tuple[bytes, bytes]:
    """The program and its weights."""
    operations = (
        _paddle_operation("feed", {"X": ["feed"]}, "x", message((1, "col"), (2, 0), (3, 0))),
        _paddle_operation("matmul_v2", {"X": ["x"], "Y": ["W"]}, "scores"),
        _paddle_operation("softmax", {"X": ["scores"]}, "y", message((1, "axis"), (2, 0), (3, -1))),
        _paddle_operation("fetch", {"X": ["y"]}, "fetch", message((1, "col"), (2, 0), (3, 0))),
    )
    variables = (
        message((1, "feed"), (2, message((1, 9))), (3, 1)),
        message((1, "fetch"), (2, message((1, 10))), (3, 1)),
        _paddle_tensor("x", 1, 4),
        message((1, "W"), (2, message((1, 7), (3, message((1, _paddle_type(4, 3)))))), (3, 1)),
        _paddle_tensor("scores", 1, 3),
        _paddle_tensor("y", 1, 3),
    )
    block = message((1, 0), (2, -1), *((3, each) for each in variables), *((4, each) for each in operations))
    about = _paddle_type(4, 3)
    return message((1, block), (4, message((1, 2006000)))), struct.pack("<IQIi", 0, 0, 0, len(about)) + about + _WEIGHTS


def _paddle_type(*sizes: int) -> bytes:
    return message((1, 5), *((2, size) for size in sizes))


def _paddle_tensor(name: str, *sizes: int) -> bytes:
    return message((1, name), (2, message((1, 7), (3, message((1, _paddle_type(*sizes)))))))


def _paddle_operation(kind: str, inputs: dict[str, list[str]], output: str, *attributes: bytes) -> bytes:
    given = ((1, message((1, name), *((2, each) for each in names))) for name, names in inputs.items())
    made = (2, message((1, "Out"), (2, output)))
    return message(*given, made, (3, kind), *((4, attribute) for attribute in attributes))


# TensorFlow Lite.


def tflite() -> bytes:
    builder = flatbuffers.Builder(1024)
    transposed = np.ascontiguousarray(IRIS_WEIGHTS.T).tobytes()
    buffers = _offsets(builder, [_table(builder, 1), _table(builder, 1, o0=builder.CreateByteVector(transposed))])
    tensors = [("x", [1, 4], 0), ("W", [3, 4], 1), ("scores", [1, 3], 0), ("y", [1, 3], 0)]
    named = _offsets(builder, [_tflite_tensor(builder, *tensor) for tensor in tensors])
    dense, softmax = _table(builder, 4), _table(builder, 1, f0=1.0)
    operators = _offsets(
        builder,
        [_tflite_operator(builder, 0, [0, 1, -1], [2], 8, dense), _tflite_operator(builder, 1, [2], [3], 9, softmax)],
    )
    inputs, outputs, name = _numbers(builder, [0]), _numbers(builder, [3]), builder.CreateString("main")
    graphs = _offsets(builder, [_table(builder, 5, o0=named, o1=inputs, o2=outputs, o3=operators, o4=name)])
    codes = _offsets(builder, [_table(builder, 4, b0=code, i3=code) for code in (9, 25)])  # FULLY_CONNECTED, SOFTMAX
    builder.Finish(_table(builder, 8, u0=3, o1=codes, o2=graphs, o4=buffers), b"TFL3")
    return bytes(builder.Output())


def _tflite_tensor(builder: Any, name: str, shape: Sequence[int], buffer: int) -> int:
    text, sizes = builder.CreateString(name), _numbers(builder, shape)
    return _table(builder, 8, o0=sizes, u2=buffer, o3=text)


def _tflite_operator(
    builder: Any, code: int, inputs: Sequence[int], outputs: Sequence[int], kind: int, options: int
) -> int:
    taken, given = _numbers(builder, inputs), _numbers(builder, outputs)
    return _table(builder, 9, u0=code, o1=taken, o2=given, b3=kind, o4=options)


def _table(builder: Any, size: int, **slots: float) -> int:
    """A table; the letter says the kind of a slot (offset, unsigned, integer, byte, float), the number which it is."""
    add: dict[str, Callable[[int, Any, Any], None]] = {
        "o": builder.PrependUOffsetTRelativeSlot,
        "u": builder.PrependUint32Slot,
        "i": builder.PrependInt32Slot,
        "b": builder.PrependUint8Slot,
        "f": builder.PrependFloat32Slot,
    }
    builder.StartObject(size)
    for slot, value in slots.items():
        add[slot[0]](int(slot[1:]), value, 0)
    end: int = builder.EndObject()
    return end


def _offsets(builder: Any, tables: Sequence[int]) -> int:
    return _vector(builder, builder.PrependUOffsetTRelative, tables)


def _numbers(builder: Any, values: Sequence[int]) -> int:
    return _vector(builder, builder.PrependInt32, values)


def _vector(builder: Any, prepend: Callable[[int], None], values: Sequence[int]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        prepend(value)
    end: int = builder.EndVector()
    return end


# Files.


def write(directory: Path, kind: str) -> Path:
    """Write the model of a kind into a directory; return the file that one would name."""
    directory.mkdir(parents=True, exist_ok=True)
    if kind == "paddle":
        program, weights = paddle()
        (directory / "model.pdiparams").write_bytes(weights)
        content, name = program, "model.pdmodel"
    else:
        name, make = {
            "onnx": ("model.onnx", onnx),
            "frozen graph": ("model.pb", frozen_graph),
            "saved model": ("saved_model.pb", saved_model),
            "tflite": ("model.tflite", tflite),
        }[kind]
        content = make()
    file = directory / name
    file.write_bytes(content)
    return file
