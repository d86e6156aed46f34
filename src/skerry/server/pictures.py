"""From encoded pictures to a tensor, with OVMS's numbers.

The order matters for the values: decode as stored (blue, green, red; grey stays one channel; alpha stays a fourth),
convert to the model's element type without any scaling, then resize in that type, bilinear. Resizing bytes and
converting after it, or another library's "bilinear", gives other numbers and in the end other probabilities.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from skerry.server.errors import InvalidRequest
from skerry.server.layouts import resizes_pictures
from skerry.server.tensors import DTYPES, Array, Dim, TensorSpec

_PIXEL_TYPES: Final = frozenset({"FP32", "FP64", "FP16", "INT8", "UINT8", "INT16", "UINT16", "INT32"})
# What cv2.resize takes; the others are resized as doubles and converted after it.
_RESIZABLE: Final = frozenset({"FP32", "FP64", "UINT8", "INT16", "UINT16"})
# A small file can claim a huge picture; as floats this many pixels are 800 MB for a moment.
_MOST_PIXELS: Final = 1 << 26
_importing: Final = threading.Lock()


def opencv() -> Any:
    """Import OpenCV late: it costs 16 MiB and 0.1 s, and only servers that get pictures need it."""
    with _importing:
        os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(_MOST_PIXELS))
        import cv2

        cv2.setNumThreads(1)  # pictures of a request are small; threads of another pool would only compete
    return cv2


def decode(pictures: Sequence[bytes], spec: TensorSpec) -> tuple[Array, tuple[int, ...]]:
    """Return the flat values and the shape, `[N, H, W, C]`."""
    if spec.datatype not in _PIXEL_TYPES:
        raise InvalidRequest(f"Invalid input precision - {spec.datatype} cannot hold pictures; input name: {spec.name}")
    first = _pixels(pictures[0], spec, 0)
    channels = spec.dims[3] if spec.dims[3].fixed else Dim(first.shape[2], first.shape[2])
    height, width = (_target(dim, size) for dim, size in zip(spec.dims[1:3], first.shape[:2], strict=True))
    resizable = resizes_pictures(spec.layout) and all(dim.high is not None for dim in spec.dims)
    batch = np.empty((len(pictures), height, width, channels.low), DTYPES[spec.datatype])
    for index, data in enumerate(pictures):
        pixels = first if index == 0 else _pixels(data, spec, index)
        if not channels.accepts(pixels.shape[2]):
            raise InvalidRequest(
                "Invalid number of channels in binary input"
                f" - Expected: {channels}; Actual: {pixels.shape[2]}; input name: {spec.name}; picture {index}"
            )
        if pixels.shape[:2] != (height, width) and not resizable:
            raise _wrong_size(spec, pixels, (height, width), index)
        batch[index] = _fitted(pixels, spec.datatype, (height, width))
    return batch.reshape(-1), batch.shape


def _pixels(data: bytes, spec: TensorSpec, index: int) -> Array:
    """Decode one picture to rows, columns, channels."""
    if not data:
        raise InvalidRequest(f"Bytes contents is empty - input name: {spec.name}; picture {index}")
    cv2 = opencv()
    try:
        pixels: Array | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # dimensions beyond OpenCV's limit
        pixels = None
    if pixels is None:
        raise InvalidRequest(
            f"Image parsing failed - the {len(data)} bytes of picture {index} are in no format that OpenCV knows;"
            f" input name: {spec.name}"
        )
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _target(dim: Dim, size: int) -> int:
    """A fixed size as it is, any size as it comes, a range to its nearer end."""
    low = max(size, dim.low)
    return low if dim.high is None else min(low, dim.high)


def _wrong_size(spec: TensorSpec, pixels: Array, wanted: tuple[int, int], index: int) -> InvalidRequest:
    actual = f"{pixels.shape[0]}x{pixels.shape[1]}"
    if index:
        return InvalidRequest(
            "Binary input images for this endpoint are required to have the same resolution"
            f" - picture {index} is {actual}; input name: {spec.name}"
        )
    return InvalidRequest(
        f"Invalid input shape - Expected: {wanted[0]}x{wanted[1]}; Actual: {actual}; input name: {spec.name};"
        " pictures are resized when the server is started with a --layout that begins NHWC"
    )


def _fitted(pixels: Array, datatype: str, size: tuple[int, int]) -> Array:
    """Convert, then resize."""
    if pixels.shape[:2] == size:
        return _converted(pixels, DTYPES[datatype])
    converted = _converted(pixels, DTYPES[datatype])
    working = converted if datatype in _RESIZABLE else converted.astype(np.float64)
    resized: Array = opencv().resize(working, (size[1], size[0]))
    resized = resized if resized.ndim == 3 else resized[:, :, None]  # OpenCV drops a single channel
    return _converted(resized, DTYPES[datatype])


def _converted(pixels: Array, dtype: np.dtype[Any]) -> Array:
    """The values as they are; integers that do not fit are cut at the type's end, as OpenCV does."""
    if dtype == pixels.dtype or dtype.kind == "f" or np.can_cast(pixels.dtype, dtype):
        return pixels.astype(dtype, copy=False)
    bounds = np.iinfo(dtype)
    return np.clip(np.rint(pixels), bounds.min, bounds.max).astype(dtype)
