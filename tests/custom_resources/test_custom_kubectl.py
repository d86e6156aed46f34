"""Two real kubectls and definitions: what people type, and what they see."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver.kubectl import Kubectl, kubectls
from tests.custom_resources.builders import GROUP, crontab, definition, version

pytestmark = pytest.mark.skipif(not kubectls(), reason="kubectl is not installed")


async def with_definition(kubectl: Kubectl) -> Kubectl:
    item = definition(
        version(selectableFields=[{"jsonPath": ".spec.policy"}]), version("v1beta1", storage=False, deprecated=True)
    )
    out = await kubectl("create", "-f", "-", stdin=json.dumps(item))
    assert out == f"customresourcedefinition.apiextensions.k8s.io/crontabs.{GROUP} created\n"
    return kubectl


@pytest.fixture
async def with_crontabs(kubectl: Kubectl) -> Kubectl:
    return await with_definition(kubectl)


@pytest.fixture
async def one_with_crontabs(one_kubectl: Kubectl) -> Kubectl:
    return await with_definition(one_kubectl)


async def get(kubectl: Kubectl, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await kubectl("get", *arguments, "-o", "json"))
    return found


async def test_definitions(one_with_crontabs: Kubectl) -> None:
    kubectl = one_with_crontabs
    lines = (await kubectl("get", "crd")).splitlines()
    assert lines[0].split() == ["NAME", "CREATED", "AT"]
    assert re.fullmatch(rf"crontabs\.{GROUP} +\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[1])
    name = f"crd/crontabs.{GROUP}"
    waited = await kubectl("wait", "--for=condition=established", name, "--timeout=5s")
    assert waited == f"customresourcedefinition.apiextensions.k8s.io/crontabs.{GROUP} condition met\n"
    described = await kubectl("describe", name)
    assert "Initial Names Accepted" not in described
    for text in (
        "Type:                  Established",
        "Reason:                NoConflicts",
        "List Kind:",
        "Stored Versions:",
    ):
        assert text in described
    explained = await kubectl("explain", "crd.spec.versions.schema.openAPIV3Schema.properties")
    assert "FIELD: properties <map[string]JSONSchemaProps>" in explained
    assert "<CustomResourceDefinitionNames> -required-" in await kubectl("explain", "crd.spec")


async def test_resources_are_found_by_all_their_names(one_with_crontabs: Kubectl) -> None:
    kubectl = one_with_crontabs
    table = await kubectl("api-resources", "--api-group", GROUP, "-o", "wide")
    words = table.splitlines()[1].split()
    assert words[:5] == ["crontabs", "ct", f"{GROUP}/v1", "true", "CronTab"]
    assert words[-1] == "all"
    await kubectl("create", "-f", "-", stdin=json.dumps(crontab()))
    for name in ("ct", "crontab", "crontabs", f"crontabs.{GROUP}", f"crontabs.v1.{GROUP}", "CronTab"):
        assert (await kubectl("get", name, "-o", "name")) == f"crontab.{GROUP}/my\n"
    assert "crontab.stable.example.com/my" in await kubectl("get", "all")


async def test_explain(with_crontabs: Kubectl) -> None:
    explained = await with_crontabs("explain", "crontabs")
    assert f"GROUP:      {GROUP}\nKIND:       CronTab\nVERSION:    v1\n" in explained
    assert "A job that runs now and then." in explained
    spec = await with_crontabs("explain", "crontabs.spec")
    assert "What is wanted." in spec
    assert re.search(r"cron\t<string> -required-\n +When\.", spec)
    assert re.search(r"env\t<\[\]Object>", spec)
    assert "metadata\t<ObjectMeta>" in await with_crontabs("explain", "crontabs", "--recursive")


async def test_create_get_and_columns(with_crontabs: Kubectl) -> None:
    kubectl = with_crontabs
    said = await kubectl.run("create", "-f", "-", stdin=json.dumps(crontab(replicas=2)))
    assert (said.code, said.out) == (0, f"crontab.{GROUP}/my created\n")
    head, row = (await kubectl("get", "ct")).splitlines()
    assert head.split() == ["NAME", "SPEC", "REPLICAS", "LAST", "AGE"]
    assert re.fullmatch(r"my +\* \* \* \* \*/5 +2 +\d+s", row)
    assert (await kubectl("get", "ct", "-o", "wide")).splitlines()[0].split()[3] == "IMAGE"
    refused = await kubectl.refused("create", "-f", "-", stdin=json.dumps(crontab("bad", cron="x", replicas=99)))
    assert refused.startswith(
        'The CronTab "bad" is invalid: \n* spec.cron: Invalid value: "x": spec.cron in body should'
    )
    assert "* spec.replicas: Invalid value: 99: spec.replicas in body should be less than or equal to 10" in refused
    unknown = await kubectl.refused("create", "-f", "-", stdin=json.dumps(crontab("bad", bogus=1)))
    assert 'strict decoding error: unknown field "spec.bogus"' in unknown
    deprecated = await kubectl.run("get", f"crontabs.v1beta1.{GROUP}", "my")
    assert f"Warning: {GROUP}/v1beta1 CronTab is deprecated; use {GROUP}/v1 CronTab" in deprecated.err


async def test_apply_patch_edit_and_delete(with_crontabs: Kubectl, tmp_path: Path) -> None:
    kubectl = with_crontabs
    name = f"crontab.{GROUP}/my"
    assert await kubectl("apply", "-f", "-", stdin=json.dumps(crontab(replicas=2))) == f"{name} created\n"
    assert await kubectl("apply", "-f", "-", stdin=json.dumps(crontab(replicas=2))) == f"{name} unchanged\n"
    assert await kubectl("apply", "-f", "-", stdin=json.dumps(crontab(replicas=3))) == f"{name} configured\n"
    assert "replicas: 3" in await kubectl("get", "ct", "my", "-o", "yaml")
    server = await kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(crontab(replicas=4))
    )
    assert server == f"{name} serverside-applied\n"
    merged = await kubectl("patch", "ct", "my", "--type=merge", "-p", '{"spec":{"replicas":5}}')
    assert merged == f"{name} patched\n"
    patch = '[{"op":"test","path":"/spec/replicas","value":5},{"op":"replace","path":"/spec/replicas","value":6}]'
    assert await kubectl("patch", "ct", "my", "--type=json", "-p", patch) == f"{name} patched\n"
    strategic = await kubectl.refused("patch", "ct", "my", "-p", '{"spec":{"replicas":7}}')
    assert (
        "application/strategic-merge-patch+json is not supported" in strategic
        or "the body of the request was in an unknown format" in strategic
    )
    status = await kubectl(
        "patch", "ct", "my", "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Up"}}'
    )
    assert status == f"{name} patched\n"
    assert await kubectl("label", "ct", "my", "a=b") == f"{name} labeled\n"
    assert await kubectl("get", "ct", "-l", "a=b", "-o", "name") == f"{name}\n"
    assert await kubectl("get", "ct", "--field-selector", "spec.policy=Allow", "-o", "name") == ""
    assert await kubectl("scale", "ct", "my", "--replicas=7") == f"{name} scaled\n"
    assert (await get(kubectl, "ct", "my"))["spec"]["replicas"] == 7
    assert (
        await kubectl("wait", "ct", "my", "--for=jsonpath={.status.phase}=Up", "--timeout=5s")
        == f"{name} condition met\n"
    )
    assert await kubectl("delete", "ct", "my") == f'crontab.{GROUP} "my" deleted' + (
        " from default namespace\n" if "from default" in await deleted_words(kubectl) else "\n"
    )


async def test_edit(with_crontabs: Kubectl) -> None:
    kubectl = with_crontabs
    await kubectl("create", "-f", "-", stdin=json.dumps(crontab(replicas=2)))
    with_editor = Kubectl("/usr/bin/env", kubectl.home, kubectl.kubeconfig)
    edit = ("KUBE_EDITOR=sed -i s/replicas:.2/replicas:\\ 3/", kubectl.program, "edit", "crontabs", "my")
    assert await with_editor(*edit) == f"crontab.{GROUP}/my edited\n"
    assert (await get(kubectl, "ct", "my"))["spec"]["replicas"] == 3


async def deleted_words(kubectl: Kubectl) -> str:
    """How this kubectl says that something was deleted: newer ones name the namespace."""
    await kubectl("create", "configmap", "probe")
    return await kubectl("delete", "configmap", "probe")


async def test_watch(one_with_crontabs: Kubectl) -> None:
    kubectl = one_with_crontabs
    async with kubectl.lines("get", "crontabs", "-w", "-o", "name") as lines:
        await kubectl("create", "-f", "-", stdin=json.dumps(crontab("one")))
        async with asyncio.timeout(10):
            assert await anext(lines) == f"crontab.{GROUP}/one"


async def test_yaml_of_several_documents(one_kubectl: Kubectl) -> None:
    """A definition and an object of it in one file: the first apply makes the kind, the second the object."""
    kubectl = one_kubectl
    both = yaml.safe_dump_all([definition(), crontab()])
    first = await kubectl.run("apply", "-f", "-", stdin=both)
    assert f"customresourcedefinition.apiextensions.k8s.io/crontabs.{GROUP} created" in first.out
    second = await kubectl("apply", "-f", "-", stdin=both)
    assert f"customresourcedefinition.apiextensions.k8s.io/crontabs.{GROUP} unchanged" in second
    assert f"crontab.{GROUP}/my" in second + first.out
    changed = definition()
    changed["spec"]["names"]["shortNames"] = ["cron"]
    assert "configured" in await kubectl("apply", "-f", "-", stdin=json.dumps(changed))
    replaced = await kubectl("replace", "-f", "-", stdin=json.dumps(definition()))
    assert "replaced" in replaced
