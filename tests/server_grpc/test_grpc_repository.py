"""The repository over gRPC: every version with its state, as over REST; and a server that is not for changing."""

from pathlib import Path

import grpc
import pytest
from tests.server import harness
from tests.server_grpc.declared import declared
from tests.server_grpc.served import method, serving

INDEX = ("inference.RepositoryIndexRequest", "inference.RepositoryIndexResponse")


def test_every_version_and_state(room: Path) -> None:
    repository = room / "versions"
    for version in (1, 2):
        harness.save(harness.iris((-1, 4)), repository, version)
    (repository / "3").mkdir()
    (repository / "3" / "model.xml").write_text("<no")
    (repository / "3" / "model.bin").touch()
    with serving(room, repository, '--model_version_policy={"all": {}}') as server, server.channel() as channel:
        ask = method(channel, "RepositoryIndex", *INDEX)
        found = [(each.name, each.version, each.state) for each in ask(declared(INDEX[0])()).models]
        assert found == [("tiny", "1", "READY"), ("tiny", "2", "READY"), ("tiny", "3", "UNAVAILABLE")]
        assert "3" in ask(declared(INDEX[0])()).models[2].reason
        assert [each.version for each in ask(declared(INDEX[0])(ready=True)).models] == ["1", "2"]
        rest = server.process.ask("POST", "/v2/repository/index").json
        assert [(each["name"], each["version"], each["state"]) for each in rest] == found


@pytest.mark.parametrize("what", ["Load", "Unload"])
def test_models_are_not_for_clients(room: Path, what: str) -> None:
    model = harness.save(harness.iris((-1, 4)), room / "fixed")
    with serving(room, model, "--model_control_mode=none") as server, server.channel() as channel:
        kinds = (f"inference.RepositoryModel{what}Request", f"inference.RepositoryModel{what}Response")
        with pytest.raises(grpc.RpcError, match="model_control_mode=none") as caught:
            method(channel, f"RepositoryModel{what}", *kinds)(declared(kinds[0])(repository_name="tiny"))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert server.process.get("/v2/models/tiny/ready").status == 200
