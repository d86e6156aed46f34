"""CORS, and a server whose models are not for clients to change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server import harness
from tests.server.harness import Server, serving

PAGE = {"Origin": "https://app.example"}
LIST = "--allowed_origins=https://app.example, https://b.example"


@pytest.fixture(scope="module")
def shared(room: Path) -> Iterator[Server]:
    model = harness.save(harness.iris(), room / "cors-iris")
    options = (LIST, "--allowed_methods=GET, POST", "--allow_credentials", "--model_control_mode=none")
    with serving(room, model, *options) as server:
        yield server


def test_off_unless_asked_for(tiny: Server) -> None:
    assert not [name for name in tiny.ask("GET", "/v2", headers=PAGE).headers if name.startswith("access-control")]
    assert tiny.ask("OPTIONS", "/v2", headers=PAGE).status == 405


def test_a_page_on_the_list(shared: Server) -> None:
    for path, status in (("/v2", 200), ("/v2/models/nobody", 404)):
        reply = shared.ask("GET", path, headers=PAGE)
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert reply.headers["vary"] == "origin"
        assert "inference-header-content-length" in reply.headers["access-control-expose-headers"]


def test_a_preflight(shared: Server) -> None:
    reply = shared.ask("OPTIONS", "/v2/models/tiny/infer", headers=PAGE | {"Access-Control-Request-Method": "POST"})
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert reply.headers["access-control-allow-methods"] == "GET, POST"
    assert reply.headers["access-control-allow-headers"] == "*"


def test_any_other_page(shared: Server) -> None:
    for headers in ({"Origin": "https://evil.example"}, {}):
        for method in ("GET", "OPTIONS"):
            reply = shared.ask(method, "/v2", headers=headers)
            assert reply.status == 200
            assert "access-control-allow-origin" not in reply.headers
            assert reply.headers["vary"] == "origin"


def test_every_page(room: Path) -> None:
    with serving(room, room / "cors-iris", "--allowed_origins=*") as server:
        assert server.ask("GET", "/v2", headers=PAGE).headers["access-control-allow-origin"] == "*"
        request = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
        assert server.infer(request, headers=PAGE).headers["access-control-allow-origin"] == "*"


def test_models_are_not_for_clients(shared: Server) -> None:
    for what in ("load", "unload"):
        reply = shared.ask("POST", f"/v2/repository/models/tiny/{what}")
        assert reply.status == 403
        assert reply.json["error"] == f"cannot {what} tiny: this server was started with --model_control_mode=none"
    [entry] = shared.ask("POST", "/v2/repository/index").json
    assert (entry["name"], entry["state"]) == ("tiny", "READY")
    assert shared.ask("POST", "/v1/config/reload").status == 200
