"""`skerry` and kinds that a definition has made: named, printed and changed as with kubectl."""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import Kubectl, Said, serving
from tests.custom_resources.builders import DEFINITIONS, GROUP, crontab, definition, path, simple

from skerry.api.kinds import REGISTRY
from skerry.cli.resources import Resource, Resources
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Key, Store
from skerry.daemon.certificates import Pki
from skerry.kit.clock import SystemClock

pytestmark = pytest.mark.timeout(90)  # each run of the command is a process


@dataclass(frozen=True)
class Skerry:
    """The command line against one server."""

    program: Kubectl

    async def run(self, *words: str, stdin: str = "") -> Said:
        return await self.program.run("-m", "skerry", *words, stdin=stdin)

    async def __call__(self, *words: str, stdin: str = "") -> str:
        said = await self.run(*words, stdin=stdin)
        assert (said.code, said.err) == (0, ""), said
        return said.out


@pytest.fixture
async def skerry(store: Store, pki: Pki, tmp_path: Path) -> AsyncIterator[Skerry]:
    tokens = Tokens({token_hash(pki.admin_token.read_text()): "system:admin"})
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs))
    namespace = {"metadata": {"name": "default", "uid": "1"}, "status": {"phase": "Active"}}
    await store.create(Key("/namespaces", "", "default"), namespace)
    async with httpx2.AsyncClient(transport=InProcessTransport(app, "system:admin"), base_url="http://api") as http:
        for where, item in ((DEFINITIONS, definition()), (path(namespace="default"), crontab())):
            assert (await http.post(where, json=item)).status_code == 201
    async with serving(app, pki, tmp_path / "kubeconfig"):
        yield Skerry(Kubectl(sys.executable, tmp_path, tmp_path / "kubeconfig"))


async def test_the_columns_are_the_definitions(skerry: Skerry) -> None:
    head, row = (await skerry("get", "ct")).splitlines()
    assert head.split() == ["NAME", "SPEC", "REPLICAS", "LAST", "AGE"]
    assert row.startswith("my     * * * * */5   ")


def test_every_name_of_the_kind() -> None:
    kind = Resource(GROUP, "v1", "CronTab", "crontabs", "crontab", ("ct",), namespaced=True)
    names = ["crontabs", "crontab", "ct", f"crontabs.{GROUP}", f"crontab.{GROUP}", f"crontabs.v1.{GROUP}"]
    assert all(kind.is_called(name) for name in names)
    others = ["crontab.v1", "crontabs.example.com", f"crontabs.v2.{GROUP}", f"ct.{GROUP}", "cron", ""]
    assert not any(kind.is_called(name) for name in others)


async def test_every_form_of_output(skerry: Skerry) -> None:
    assert "IMAGE" in await skerry("get", "CronTab", "-o", "wide")
    assert await skerry("get", "ct", "-o", "name") == f"crontab.{GROUP}/my\n"
    assert json.loads(await skerry("get", "ct/my", "-o", "json"))["spec"]["cron"] == "* * * * */5"
    assert "kind: CronTab" in await skerry("get", "ct", "my", "-o", "yaml")
    assert json.loads(await skerry("get", "ct", "-o", "json"))["items"][0]["kind"] == "CronTab"
    assert (await skerry("get", f"crontabs.v1.{GROUP}", "-A")).startswith("NAMESPACE")


async def test_describe_and_delete(skerry: Skerry) -> None:
    assert f"Kind:         CronTab ({GROUP}/v1)" in await skerry("describe", "ct", "my")
    assert await skerry("delete", "ct", "my") == f'crontab.{GROUP} "my" deleted from default namespace\n'
    assert (await skerry.run("get", "ct")).err == "No resources found in default namespace.\n"


async def test_a_definition_and_its_objects_in_one_file(skerry: Skerry) -> None:
    lamp = {"apiVersion": f"{GROUP}/v1", "kind": "Lamp", "metadata": {"name": "one"}}
    documents = [json.dumps(item) for item in (crontab("other"), simple("lamps", "Lamp"), lamp)]
    said = await skerry("apply", "-f", "-", stdin="\n---\n".join(documents))
    assert said.splitlines()[1:] == [
        f"customresourcedefinition.apiextensions.k8s.io/lamps.{GROUP} created",
        f"lamp.{GROUP}/one created",
    ]


async def test_a_kind_that_there_is_not(skerry: Skerry) -> None:
    for words in (["get", "nope"], ["get", "pods,nope"], ["describe", "nope", "x"], ["delete", "nope", "x"]):
        said = await skerry.run(*words)
        assert (said.out, said.code) == ("", 1)
        assert said.err == 'Error: the server doesn\'t have a resource type "nope"\n'
    documents = [json.dumps(item) for item in ({**crontab(), "kind": "Nope"}, crontab("later"))]
    said = await skerry.run("apply", "-f", "-", stdin="\n---\n".join(documents))
    assert (said.out, said.code) == (f"crontab.{GROUP}/later created\n", 1), "the others are applied"
    assert f'no matches for kind "Nope" in version "{GROUP}/v1"' in said.err


async def test_what_is_there_is_printed_beside_what_is_not(skerry: Skerry) -> None:
    error = f'Error from server (NotFound): crontabs.{GROUP} "no" not found\n'
    said = await skerry.run("get", "ct", "no", "my")
    assert (said.err, said.code, said.out.splitlines()[1].split()[0]) == (error, 1, "my")
    said = await skerry.run("get", "ct", "my", "no", "-o", "name")
    assert said == (f"crontab.{GROUP}/my\n", error, 1)
    said = await skerry.run("get", "ct", "my", "no", "-o", "json")
    assert (said.err, said.code) == (error, 1)
    assert [one["metadata"]["name"] for one in json.loads(said.out)["items"]] == ["my"]
    said = await skerry.run("get", "pods/no", "ct/my", "ns/default")
    assert (said.err, said.code) == ('Error from server (NotFound): pods "no" not found\n', 1)
    assert [line.split()[0] for line in said.out.splitlines() if line] == [
        "NAME",
        f"crontab.{GROUP}/my",
        "NAME",
        "namespace/default",
    ]
    for output in ([], ["-o", "json"], ["-o", "name"]):
        assert await skerry.run("get", "ct", "no", *output) == ("", error, 1)


async def test_a_built_in_kind_comes_before_a_custom_one_of_its_name(skerry: Skerry) -> None:
    await skerry("apply", "-f", "-", stdin=json.dumps(simple("nodes", "Machine")))
    assert (await skerry.run("get", "nodes")).err == "No resources found.\n"
    assert (await skerry.run("get", f"nodes.{GROUP}")).err == "No resources found in default namespace.\n"
    assert (await skerry.run("get", "machine")).err == "No resources found in default namespace.\n"


class OldServer:
    """A server that does not know the aggregated form of discovery."""

    def request(self, _method: str, path: str, **_more: Any) -> Any:
        resource = {"name": "lamps", "singularName": "lamp", "namespaced": False, "kind": "Lamp", "shortNames": ["lp"]}
        answers: dict[str, Any] = {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": [{"name": "x.io", "versions": [{"groupVersion": "x.io/v2"}]}]},
            "/api/v1": {"groupVersion": "v1", "resources": [{**resource, "name": "lamps/status"}]},
            "/apis/x.io/v2": {"groupVersion": "x.io/v2", "resources": [resource]},
        }
        return answers[path]


def test_an_old_server_is_asked_group_by_group() -> None:
    lamp = Resource("x.io", "v2", "Lamp", "lamps", "lamp", ("lp",), namespaced=False)
    old: Any = OldServer()
    assert [Resources(old).named(word) for word in ("lp", "lamps.x.io")] == [lamp, lamp]
    assert Resources(old).of({"apiVersion": "x.io/v2", "kind": "Lamp"}) == lamp
