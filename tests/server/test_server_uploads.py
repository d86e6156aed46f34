"""Inference requests that are files: pictures, npy arrays and forms, with the command lines of the documentation."""

import io
import json
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.server import harness
from tests.server.harness import Reply, Server, serving

from skerry.server.errors import InvalidRequest
from skerry.server.rest import npy
from skerry.server.rest.multipart import read_parts

ROW = np.array([[1, 2, 3, 4]], np.float32)
REFERENCE = (Path(__file__).parents[2] / "docs/reference/model-server.md").read_text()
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


def written(array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy advises against versions that old readers do not know
        np.lib.format.write_array(stream, array, version, allow_pickle=False)
    return stream.getvalue()


def form(*parts: tuple[str, bytes]) -> bytes:
    blocks = [
        b"--edge\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    ]
    return b"".join(blocks) + b"--edge--\r\n"


@pytest.fixture(scope="module")
def camera(room: Path) -> Iterator[Server]:
    """Pictures of any number, 4 by 4, come back as they were understood."""
    model = harness.save(harness.echo({"picture": ((-1, 4, 4, 3), ov.Type.f32)}), room / "camera")
    with serving(room, model, "--layout=NHWC", name="camera") as server:
        yield server


@pytest.fixture(scope="module")
def pair(room: Path) -> Iterator[Server]:
    kinds: dict[str, Any] = {"numbers": ((1, 2), ov.Type.f32), "text": ((-1,), ov.Type.string)}
    model = harness.save(harness.echo(kinds), room / "pair")
    with serving(room, model, name="pair") as server:
        yield server


def picture(kind: str, shade: int) -> bytes:
    encoded = cv2.imencode(kind, np.full((4, 4, 3), shade, np.uint8))[1]
    return bytes(encoded.tobytes())


# The command lines of the documentation.


def documented(server: Server, directory: Path, marker: str) -> Reply:
    """Run the documented command line that has this text, on this server, in a directory with its files."""
    [line] = [line.strip() for line in REFERENCE.splitlines() if line.strip().startswith("curl ") and marker in line]
    line = re.sub(
        r"http://localhost:8888/v2/models/[^/]+/",
        f"http://{server.address}:{server.port}/v2/models/{server.model}/",
        line,
    )
    words = f"{line} -w '\\n%{{http_code}}' --max-time 20"
    done = subprocess.run(["bash", "-c", words], cwd=directory, capture_output=True, timeout=30, check=True)
    body, _, status = done.stdout.rpartition(b"\n")
    return Reply(int(status), {}, body)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@needs_curl
def test_curl_sends_a_picture(camera: Server, tmp_path: Path) -> None:
    for kind in ("jpeg", "png"):
        (tmp_path / f"bee.{kind}").write_bytes(picture(f".{kind}", 200))
        reply = documented(camera, tmp_path, f"image/{kind}")
        assert (reply.status, reply.json["outputs"][0]["shape"]) == (200, [1, 4, 4, 3])
        assert reply.json["outputs"][0]["data"] == pytest.approx([200] * 48, abs=2)


@needs_curl
def test_curl_sends_an_array(tiny: Server, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROW)
    reply = documented(tiny, tmp_path, "application/octet-stream")
    assert reply.json["outputs"][0]["data"] == pytest.approx(harness.iris_answer(ROW)[0], abs=1e-6)


@needs_curl
def test_curl_sends_forms(camera: Server, pair: Server, tiny: Server, tmp_path: Path) -> None:
    (tmp_path / "bee.jpeg").write_bytes(picture(".jpeg", 100))
    (tmp_path / "coffee.png").write_bytes(picture(".png", 30))
    two = documented(camera, tmp_path, "picture=@coffee.png").json["outputs"][0]
    assert two["shape"] == [2, 4, 4, 3]
    assert two["data"] == pytest.approx([100] * 48 + [30] * 48, abs=2)
    np.save(tmp_path / "numbers.npy", np.array([[5, 6]], np.float32))
    mixed = documented(pair, tmp_path, "numbers=@numbers.npy").json["outputs"]
    assert [(output["name"], output["data"]) for output in mixed] == [("numbers", [5, 6]), ("text", ["a [text]"])]
    values = documented(tiny, tmp_path, "x=[[")
    assert (values.status, values.json["outputs"][0]["shape"]) == (200, [1, 3])


# Arrays.


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_and_order(tiny: Server, version: tuple[int, int]) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    for array in (ROW, np.asfortranarray(ROW), ROW.astype(">f4")):
        reply = tiny.infer(written(array, version), headers=headers)
        assert reply.json["outputs"][0]["data"] == pytest.approx(harness.iris_answer(ROW)[0], abs=1e-6)


@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, min_side=0)), st.booleans())
def test_reads_as_numpy_does(array: np.ndarray[Any, Any], fortran: bool) -> None:
    data = written(np.asfortranarray(array) if fortran else array)
    try:
        tensor = npy.read_array(memoryview(data), "x")
    except InvalidRequest as why:
        assert array.dtype.kind in "cmMSUVO", why  # noqa: PT017 - only what the protocol has no type for
        return
    assert isinstance(tensor.values, np.ndarray)
    np.testing.assert_array_equal(tensor.values.reshape(tensor.shape), array)


@given(st.binary(max_size=200), st.integers(0, 150))
def test_hostile_arrays_are_refused(noise: bytes, position: int) -> None:
    good = written(ROW)
    for data in (npy.MAGIC + noise, good[:position], good[:position] + noise + good[position + len(noise) :]):
        try:
            npy.read_array(memoryview(data), "x")
        except InvalidRequest:
            continue


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (ROW.astype(np.float64), "Invalid input precision - Expected: FP32; Actual: FP64; input name: x"),
        (ROW[0], "Invalid number of shape dimensions - Expected: (1,4); Actual: (4); input name: x"),
        (np.array(["a"]), "cannot read the npy array: its header is not understood"),
        (np.zeros(1, np.complex64), "values of type <c8 have no datatype"),
    ],
)
def test_an_array_must_fit(tiny: Server, array: np.ndarray[Any, Any], text: str) -> None:
    reply = tiny.infer(written(array), headers={"Content-Type": "application/octet-stream"})
    assert reply.status == 400
    assert text in reply.json["error"]


def test_an_array_may_not_lie(tiny: Server) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    huge = written(ROW).replace(b"(1, 4), ", b"(9999999999, 99999999999)")
    for data in (written(ROW)[:-1], written(ROW) + b"\0", huge, written(np.zeros(1, "V8"))):
        reply = tiny.infer(data, headers=headers)
        assert reply.status == 400
        assert reply.json["error"].startswith("cannot read the npy array")


def test_octet_stream_may_still_be_json(tiny: Server) -> None:
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
    assert tiny.infer(body, headers={"Content-Type": "application/octet-stream"}).status == 200


# Forms.


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (form(('name="y"', b"[[1, 2, 3, 4]]")), "the form has parts y; the model's inputs are x"),
        (form(), "Required input: x; the form has no such part"),
        (form(('name="x"', b"[[1]]"), ('name="x"', b"[[1]]")), "2 parts for input x"),
        (form(('name="x"', b"hello")), "neither a picture, an npy array nor JSON values"),
        (form(('name="x"', b'{"b64": "AA=="}')), "takes numbers, no pictures"),
        (form(('name="x"', b"[[1, 2, 3]]")), "Invalid input shape - Expected: (1,4); Actual: (1,3)"),
        (form(("", b"[[1, 2, 3]]")), "part 0 has no name"),
        (b"--edge\r\nContent-Disposition: form-data; name=x\r\n\r\n[[1, 2, 3, 4]]\r\n--edge", "two hyphens"),
        (b"--edge\r\nContent-Disposition: form-data; name=x\r\n\r\n[[1, 2, 3, 4]]", "does not end with the boundary"),
        (b"--edge\r\n" + b"a: b\r\n" * 2000 + b"\r\n1\r\n--edge--", "do not end"),
        (b"", "does not begin with its boundary"),
    ],
)
def test_faults_of_forms(tiny: Server, body: bytes, text: str) -> None:
    reply = tiny.infer(body, headers=FORM)
    assert reply.status == 400
    assert text in reply.json["error"]


def test_limits_of_forms(tiny: Server) -> None:
    part = ('name="x"', b"1")
    assert tiny.infer(form(*[part] * 1025), headers=FORM).status == 413
    assert tiny.infer(form(part), headers={"Content-Type": "multipart/form-data"}).status == 400


def test_strings_of_a_form(pair: Server) -> None:
    numbers = ('name="numbers"', b"[[1, 2]]")
    plain = pair.infer(form(numbers, ('name="text"', b'["a"]'), ('name="text"', b"b")), headers=FORM).json
    assert plain["outputs"][1]["data"] == ['["a"]', "b"]
    typed = pair.infer(
        form(numbers, ('name="text"\r\nContent-Type: application/json', b'["a", "b"]')), headers=FORM
    ).json
    assert typed["outputs"][1]["data"] == ["a", "b"]


def test_a_picture_that_is_none(camera: Server) -> None:
    for headers, body in (
        ({"Content-Type": "image/png"}, b"no"),
        (FORM, form(('name="picture"; filename="p"', b"no"))),
    ):
        reply = camera.infer(body, headers=headers)
        assert reply.status == 400
        assert reply.json["error"].startswith("Image parsing failed")


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_any_bytes_as_a_form(noise: bytes, boundary: bytes) -> None:
    for body in (noise, b"--b\r\n" + noise, form(('name="x"', noise)).replace(b"edge", b"b")):
        for kind in (b"multipart/form-data; boundary=b", b"multipart/form-data; boundary=" + boundary):
            try:
                parts = read_parts(body, kind)
            except InvalidRequest:
                continue
            assert sum(len(part.data) for part in parts) <= len(body)


@given(
    st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters='\r\n"\\%'), min_size=1), st.binary()))
)
def test_forms_come_back(content: list[tuple[str, bytes]]) -> None:
    content = [(name, data) for name, data in content if b"\r\n--edge" not in b"\r\n" + data]
    parts = read_parts(
        form(*[(f'name="{name}"', data) for name, data in content]), b"multipart/form-data; boundary=edge"
    )
    assert [(part.name, bytes(part.data)) for part in parts] == content
