"""Pictures: the right answer with the right probability, and OVMS's numbers on the way to it."""

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from tests.server import harness
from tests.server.harness import Reply, Server, serving

from skerry.server.errors import InvalidRequest
from skerry.server.pictures import decode
from skerry.server.tensors import Dim, TensorSpec

ROOT = Path(__file__).parents[2]
WALKTHROUGH_HEADER = b'{"inputs" : [{"name": "0", "shape": [1], "datatype": "BYTES"}]}'


@pytest.fixture(scope="module")
def ovms(room: Path, classifier: Path) -> Iterator[Server]:
    """Started as the walkthrough's ServingRuntime starts it."""
    options = ["--target_device=AUTO", "--file_system_poll_wait_seconds=0", "--metrics_enable", "--layout=NHWC:NCHW"]
    with serving(room, classifier / "model", *options, name="ovms-resnet50") as server:
        yield server


def walkthrough_body(picture: bytes) -> bytes:
    return WALKTHROUGH_HEADER + len(picture).to_bytes(4, "little") + picture


def assert_best(reply: Reply, expected: int, probability: float) -> None:
    assert reply.status == 200, reply.body
    values = reply.json["outputs"][0]["data"]
    assert values.index(max(values)) == expected
    assert max(values) == pytest.approx(probability, abs=0.01)


def example() -> Any:
    """The build script, as a module."""
    spec = importlib.util.spec_from_file_location("efficientnet_build", ROOT / "examples/efficientnet/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CAT = ("skimage/data/chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb")
CAMERA = ("skimage/data/camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a")


@pytest.fixture(scope="module")
def cached(classifier: Path) -> dict[str, Path]:
    """More pictures of the package that carries the demo's."""
    build = example()
    found = {"coffee": build.fetch(build.PICTURE, classifier.parent)}
    for name, (member, digest) in {"cat": CAT, "camera": CAMERA}.items():
        found[name] = build.fetch(build.Source("scikit-image", member, digest), classifier.parent)
    return found


def test_the_walkthroughs_metadata(ovms: Server) -> None:
    assert ovms.get("/v2/models/ovms-resnet50").body == (
        b'{"name":"ovms-resnet50","versions":["1"],"platform":"OpenVINO",'
        b'"inputs":[{"name":"0","datatype":"FP32","shape":[1,224,224,3]}],'
        b'"outputs":[{"name":"1463","datatype":"FP32","shape":[1,1000]}]}'
    )


def test_the_walkthroughs_bee(ovms: Server) -> None:
    bee = ROOT.parent / "shared" / "data" / "bee.jpeg"
    if not bee.exists():
        pytest.skip("the walkthrough's picture is not beside the checkout")
    # curl names the type of a form, and OVMS does not look at it.
    headers = {
        "Inference-Header-Content-Length": str(len(WALKTHROUGH_HEADER)),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    reply = ovms.infer(walkthrough_body(bee.read_bytes()), headers=headers)
    assert list(reply.json) == ["model_name", "model_version", "outputs"]
    assert_best(reply, 309, 0.96)


@pytest.mark.parametrize(
    ("name", "expected", "probability"), [("coffee", 967, 0.91), ("camera", 872, 0.96), ("cat", 285, 0.79)]
)
def test_what_is_in_the_picture(
    ovms: Server, cached: dict[str, Path], name: str, expected: int, probability: float
) -> None:
    """Channels swapped, or another normalisation, still find the class: the probability tells."""
    pixels = cv2.imread(str(cached[name]), cv2.IMREAD_COLOR)  # the camera is grey; a photograph has three channels
    assert pixels is not None
    png = cv2.imencode(".png", pixels)[1].tobytes()
    headers = {"Inference-Header-Content-Length": str(len(WALKTHROUGH_HEADER))}
    assert_best(ovms.infer(walkthrough_body(png), headers=headers), expected, probability)


def test_a_jpeg_by_itself(ovms: Server, classifier: Path) -> None:
    reply = ovms.infer((classifier / "coffee.jpg").read_bytes(), headers={"Content-Type": "image/jpeg"})
    assert_best(reply, 967, 0.90)


def test_pixels_as_numbers_give_what_the_picture_gives(ovms: Server, classifier: Path) -> None:
    picture = (classifier / "coffee.jpg").read_bytes()
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    tensor = cv2.resize(pixels.astype(np.float32), (224, 224))[None]
    header = {"inputs": [{"name": "0", "shape": [1, 224, 224, 3], "datatype": "FP32"}]}
    as_binary = ovms.infer_binary(header, tensor.tobytes()).json["outputs"][0]["data"]
    as_json = ovms.infer({"inputs": [header["inputs"][0] | {"data": tensor.tolist()}]}).json["outputs"][0]["data"]
    as_picture = ovms.infer(picture, headers={"Content-Type": "image/jpeg"}).json["outputs"][0]["data"]
    assert as_binary == as_json == as_picture


def test_two_names_for_the_same_error(ovms: Server) -> None:
    headers = {"Inference-Header-Content-Length": str(len(WALKTHROUGH_HEADER))}
    for picture, text in ((b"rubbish", "Image parsing failed"), (b"", "Bytes contents is empty")):
        reply = ovms.infer(walkthrough_body(picture), headers=headers)
        assert reply.status == 400
        assert reply.json["error"].startswith(text)
    failures = ovms.counted(
        'ovms_requests_fail{api="KServe",interface="REST",method="ModelInfer",name="ovms-resnet50",version="1"}'
    )
    assert failures == 2


def test_a_batch_that_does_not_fit(ovms: Server) -> None:
    header = {"inputs": [{"name": "0", "shape": [2], "datatype": "BYTES"}]}
    reply = ovms.infer_binary(header, b"\0\0\0\0" * 2)
    assert reply.json["error"] == "Invalid input batch size - Expected: 1; Actual: 2; input name: 0"


# The numbers, against OpenCV called by hand.


def spec(height: Dim, width: Dim, *, datatype: str = "FP32", layout: str = "NHWC", channels: int = 3) -> TensorSpec:
    dims = (Dim(0, None) if layout == "N..." else Dim(1, 8), height, width, Dim(channels, channels))
    return TensorSpec(name="x", datatype=datatype, dims=dims, layout=layout)


def exactly(size: int) -> Dim:
    return Dim(size, size)


def photograph(height: int = 30, width: int = 40, channels: int = 3, dtype: Any = np.uint8) -> Any:
    noise = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (height, width, channels), dtype)
    return cv2.GaussianBlur(noise, (0, 0), 2).reshape(height, width, channels)


def png(pixels: Any) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def decoded(pictures: list[bytes], to: TensorSpec) -> Any:
    values, shape = decode(pictures, to)
    return values.reshape(shape)


def test_floats_are_resized_as_floats() -> None:
    pixels = photograph()
    got = decoded([png(pixels)], spec(exactly(17), exactly(23)))
    assert got.shape == (1, 17, 23, 3)
    assert np.array_equal(got[0], cv2.resize(pixels.astype(np.float32), (23, 17)))
    assert not np.array_equal(got[0], cv2.resize(pixels, (23, 17)).astype(np.float32))  # the tempting way


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "UINT16", "INT16", "INT32", "FP16", "FP64"])
def test_every_pixel_type(datatype: str) -> None:
    pixels = photograph()
    same = decoded([png(pixels)], spec(exactly(30), exactly(40), datatype=datatype))[0]
    top = 127 if datatype == "INT8" else 255
    assert np.array_equal(same, np.minimum(pixels, top).astype(same.dtype))
    small = decoded([png(pixels)], spec(exactly(10), exactly(10), datatype=datatype))[0]
    reference = cv2.resize(np.minimum(pixels, top).astype(np.float64), (10, 10))
    assert np.abs(small.astype(np.float64) - reference).max() <= 1


def test_colours_stay_blue_green_red_and_depth_is_not_scaled() -> None:
    blue = np.zeros((4, 4, 3), np.uint8)
    blue[:, :, 0] = 200
    assert decoded([png(blue)], spec(exactly(4), exactly(4)))[0, 0, 0].tolist() == [200, 0, 0]
    deep = np.full((4, 4, 3), 40_000, np.uint16)
    assert decoded([png(deep)], spec(exactly(4), exactly(4))).max() == 40_000


def test_grey_and_alpha_are_not_converted() -> None:
    grey = decoded([png(photograph(channels=1))], spec(exactly(9), exactly(9), channels=1))
    assert grey.shape == (1, 9, 9, 1)
    for channels in (1, 4):
        with pytest.raises(InvalidRequest, match=f"Expected: 3; Actual: {channels}; input name: x"):
            decode([png(photograph(channels=channels))], spec(exactly(9), exactly(9)))


def test_a_range_takes_what_fits_and_the_nearer_end_otherwise() -> None:
    between = Dim(20, 35)
    assert decoded([png(photograph(30, 40))], spec(between, between)).shape == (1, 30, 35, 3)
    assert decoded([png(photograph(10, 22))], spec(between, between)).shape == (1, 20, 22, 3)


def test_a_free_size_is_the_first_pictures_and_all_must_agree() -> None:
    free = Dim(0, None)
    two = [png(photograph(8, 9)), png(photograph(8, 9))]
    assert decoded(two, spec(free, free)).shape == (2, 8, 9, 3)
    with pytest.raises(InvalidRequest, match="required to have the same resolution"):
        decode([two[0], png(photograph(8, 10))], spec(free, free))


def test_the_default_layout_does_not_resize() -> None:
    assert decoded([png(photograph(8, 9))], spec(exactly(8), exactly(9), layout="N...")).shape == (1, 8, 9, 3)
    with pytest.raises(InvalidRequest, match="Expected: 8x8; Actual: 8x9; input name: x; pictures are resized when"):
        decode([png(photograph(8, 9))], spec(exactly(8), exactly(8), layout="N..."))


def test_a_picture_that_claims_to_be_huge_is_refused() -> None:
    header = bytearray(png(photograph(4, 4)))
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(InvalidRequest, match="Image parsing failed"):
        decode([bytes(header)], spec(exactly(4), exactly(4)))


def test_pictures_need_a_layout_that_takes_them(room: Path) -> None:
    model = harness.echo({"x": ((1, 3, 8, 8), ov.Type.f32)})
    header = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES"}]}
    data = png(photograph(8, 8))
    with serving(room, harness.save(model, room / "planes"), "--layout=NCHW") as server:
        error = server.infer_binary(header, len(data).to_bytes(4, "little") + data).json["error"]
        assert error.startswith("Received binary image input but resource not configured to accept NHWC layout")
        assert "start the server with --layout=NHWC:NCHW" in error


def test_a_picture_by_itself_needs_a_model_for_it(tiny: Server) -> None:
    reply = tiny.infer(png(photograph()), headers={"Content-Type": "image/png"})
    assert (reply.status, "does not take a picture by itself" in reply.json["error"]) == (415, True)


def test_opencv_is_told_its_limit_before_it_is_imported() -> None:
    assert json.loads(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]) == 1 << 26
