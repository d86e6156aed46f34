"""The OpenAPI document against the routes, and a server against the document."""

import json
import urllib.parse
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.server.harness import Reply, Server
from tests.server.test_server_uploads import form, written

from skerry.server.rest.openapi import document, paths_of
from skerry.server.rest.openapi_schemas import PARAMETERS, SCHEMAS
from skerry.server.rest.routes import _FIXED, TEMPLATES, Endpoint, Route, Routes

DOCUMENT = json.loads(json.dumps(document()))
GOOD = {
    "id": "1",
    "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], "parameters": {}}],
    "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
    "parameters": {"a": 1},
}


def filled(path: str, name: str = "tiny", version: str = "1") -> str:
    return path.replace("{model_name}", name).replace("{model_version}", version)


# The document and the routes.


def test_every_endpoint_is_described() -> None:
    assert set(TEMPLATES) == set(Endpoint)
    assert set(DOCUMENT["paths"]) == {path for endpoint in Endpoint for path in paths_of(endpoint)}
    assert all(f"/{path}" in DOCUMENT["paths"] for path in _FIXED)


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_path_is_a_route(path: str) -> None:
    route = Routes().find(filled(path, "a b").replace(" ", "%20").encode())
    assert route is not None
    assert path in paths_of(route.endpoint)
    assert route.model == ("a b" if "{model_name}" in path else "")
    assert route.version == ("1" if "{model_version}" in path else "")
    described = DOCUMENT["paths"][path]
    assert {word.upper().encode() for word in described if word != "parameters"} == set(route.methods)


def test_versions_are_described_where_they_exist() -> None:
    for endpoint, template in TEMPLATES.items():
        versioned = filled(template.replace("{model_name}", "{model_name}/versions/2"))
        route = Routes().find(versioned.encode())
        known = route is not None and route.version == "2"
        assert (known and "{model_name}" in template) == (len(paths_of(endpoint)) == 2)


def test_the_document_is_well_formed() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    names = [
        each["operationId"] for path in DOCUMENT["paths"].values() for key, each in path.items() if key != "parameters"
    ]
    assert len(names) == len(set(names))
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    known = {f"#/components/schemas/{name}" for name in (*SCHEMAS, "Datatype")}
    known |= {f"#/components/parameters/{name}" for name in PARAMETERS}
    assert references(DOCUMENT) <= known


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(references(each) for each in value.values()))
    return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()


# A server and the document.


def conforms(path: str, method: str, reply: Reply) -> None:
    """The answer is one that the document has, with a body as it says."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    assert reply.status < 500 or reply.status == 503, reply.body
    assert str(reply.status) in responses, (path, method, reply.status, reply.body[:200])
    content = responses[str(reply.status)].get("content")
    if content is None:
        assert reply.body == b""
        return
    kind = reply.headers["content-type"].partition(";")[0]
    assert kind in content
    if kind != "application/json":
        return
    schema = {**content[kind]["schema"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(reply.json)
    if reply.status >= 400:
        assert list(reply.json) == ["error"]


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_what_is_asked_for_well(tiny: Server, path: str) -> None:
    bodies: dict[str, Any] = {"infer": GOOD, ":predict": {"instances": [[1, 2, 3, 4]]}}
    body = next((json.dumps(body).encode() for end, body in bodies.items() if path.endswith(end)), None)
    for name, expected in (("tiny", 200), ("nobody", 404)):
        for method in DOCUMENT["paths"][path]:
            if method == "parameters" or path.endswith("unload"):
                continue
            reply = tiny.ask(method.upper(), filled(path, name), body)
            conforms(path, method, reply)
            assert reply.status == (expected if "{" in path else 200)
        wrong = tiny.ask("PATCH", filled(path, name))
        assert (wrong.status, list(wrong.json)) == (405, ["error"])


def test_the_document_is_served(tiny: Server) -> None:
    assert tiny.get("/openapi.json").json == DOCUMENT


# Anything at all: the answer is one of the document's, and never an error of the server.

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=4))
places = st.sampled_from([*DOCUMENT["paths"]])
names = st.sampled_from(["tiny", "nobody", "a%2Fb", "%00", "..", "x" * 300]) | texts.map(urllib.parse.quote)
versions = st.sampled_from(["1", "2", "0", "01", "9" * 30, "latest", "-1"]) | texts.map(urllib.parse.quote)


@st.composite
def mutated(draw: st.DrawFn, good: Any) -> Any:
    """A good document with one thing wrong, somewhere."""
    if isinstance(good, dict) and good and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(good)))
        if not draw(st.integers(0, 6)):
            return {name: value for name, value in good.items() if name != key}
        return good | {key: draw(mutated(good[key]))}
    if isinstance(good, list) and good and draw(st.integers(0, 5)):
        index = draw(st.integers(0, len(good) - 1))
        if not draw(st.integers(0, 6)):
            return [*good, *good]
        return [*good[:index], draw(mutated(good[index])), *good[index + 1 :]]
    return draw(anything)


v1_bodies = mutated({"instances": [{"x": [1, 2, 3, 4]}]}) | mutated({"inputs": {"x": [[1, 2, 3, 4]]}})
bodies = st.one_of(
    (mutated(GOOD) | anything | v1_bodies).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=100),
    st.just(b""),
)


@FUZZ
@given(places, names, versions, bodies, st.sampled_from(["GET", "POST", "HEAD"]))
def test_any_path_name_and_body(tiny: Server, path: str, name: str, version: str, body: bytes, method: str) -> None:
    described = DOCUMENT["paths"][path]
    method = method if method.lower() in described else next(key for key in described if key != "parameters").upper()
    if path.endswith(("load", "reload")):  # these change the server that other tests use
        return
    target = filled(path, name, version)
    reply = tiny.ask(method, target, body)
    if Routes().find(target.encode()) is None or path not in paths_of(found(target).endpoint):
        assert reply.status < 500, reply.body  # no path, or one of another endpoint
        return
    conforms(path, method, reply)


def found(target: str) -> Route:
    route = Routes().find(target.encode())
    assert route is not None
    return route


INFER = "/v2/models/{model_name}/infer"


@settings(FUZZ, max_examples=150)
@given(mutated(GOOD), st.binary(max_size=40), st.integers(-5, 300) | st.binary(max_size=8), st.booleans())
def test_binary_requests_that_lie(tiny: Server, document_: Any, tail: bytes, length: Any, honest: bool) -> None:
    text = json.dumps(document_).encode()
    said = str(len(text)) if honest else length.hex() if isinstance(length, bytes) else str(length)
    conforms(INFER, "POST", tiny.infer(text + tail, headers={"Inference-Header-Content-Length": said}))


files = st.sampled_from([written(np.ones((1, 4), np.float32)), b"\x89PNG\r\n\x1a\n", b"[[1, 2, 3, 4]]"])
kinds = st.sampled_from(
    ["image/png", "image/jpeg", "application/octet-stream", "multipart/form-data; boundary=edge", "text/plain", "x"]
)


@settings(FUZZ, max_examples=150)
@given(kinds, files, st.integers(0, 200), st.binary(max_size=10), st.booleans())
def test_files_that_are_broken(tiny: Server, kind: str, file: bytes, cut: int, noise: bytes, as_form: bool) -> None:
    body = form(('name="x"; filename="x"', file)) if as_form else file
    body = body[:cut] + noise + body[cut + len(noise) :]
    conforms(INFER, "POST", tiny.infer(body, headers={"Content-Type": kind}))


@settings(FUZZ, max_examples=60)
@given(st.sampled_from(["gzip", "deflate", "br", "identity", "gzip, gzip", ""]), st.binary(max_size=60), st.booleans())
def test_compressed_bodies_that_are_not(tiny: Server, encoding: str, noise: bytes, begins_well: bool) -> None:
    body = (b"\x1f\x8b\x08\x00" if begins_well else b"") + noise
    conforms(INFER, "POST", tiny.infer(body, headers={"Content-Encoding": encoding}))


def test_the_server_is_as_it_was(tiny: Server) -> None:
    assert tiny.process.poll() is None
    assert tiny.infer(GOOD).status == 200
    assert "request broke" not in tiny.errors.with_suffix(".log").read_text()
    assert "inference broke" not in tiny.errors.with_suffix(".log").read_text()
