"""KServe's own definitions: accepted over the built-in kinds, which stay as they are; the others become kinds."""

import gc
import json
from typing import Any

import httpx2
import msgspec
from tests.apiserver.kubectl import Kubectl
from tests.custom_resources.builders import DEFINITIONS, simple
from tests.custom_resources.large import large_definition
from tests.custom_resources.test_custom_definitions import create

from skerry.api.crd import native
from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer

ISVCS = "inferenceservices.serving.kserve.io"
ISVC = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "demo"},
    "spec": {"predictor": {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "oci://example.com/m:1"}}},
}


def of_kserve() -> dict[str, Any]:
    """A megabyte and more, as KServe's is, with the conversion webhook that it is shipped with."""
    made = large_definition(group="serving.kserve.io", plural="inferenceservices", kind="InferenceService")
    made["spec"]["conversion"] = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1beta1"]}}
    made["spec"]["names"]["shortNames"] = ["isvc"]
    return made


async def test_built_in_kinds_have_definitions(http: httpx2.AsyncClient) -> None:
    for item in native.definitions(REGISTRY):
        made = await create(http, item)
        conditions = {each["type"]: each["status"] for each in made["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}
    names = [item["metadata"]["name"] for item in (await http.get(DEFINITIONS)).json()["items"]]
    assert names == [
        "clusterservingruntimes.serving.kserve.io",
        ISVCS,
        "routes.route.openshift.io",
        "servingruntimes.serving.kserve.io",
    ]
    again = [await http.post(DEFINITIONS, json=item) for item in native.definitions(REGISTRY)]
    assert {reply.status_code for reply in again} == {409}, "what is there stays"


async def test_kserves_definition_changes_nothing_but_itself(http: httpx2.AsyncClient, app: ApiServer) -> None:
    for item in native.definitions(REGISTRY):
        await create(http, item)
    revision = app.registry.revision
    body = msgspec.json.encode(of_kserve())
    assert len(body) > 1_000_000
    headers = {"content-type": "application/apply-patch+yaml"}
    applied = await http.patch(f"{DEFINITIONS}/{ISVCS}?fieldManager=kserve&force=true", content=body, headers=headers)
    assert applied.status_code == 200, applied.text[:500]
    assert "warning" not in applied.headers
    assert applied.json()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert app.registry.revision == revision
    where = "/apis/serving.kserve.io/v1beta1/namespaces/a/inferenceservices"
    made = await create(http, ISVC, where)
    assert made["spec"]["predictor"]["model"]["modelFormat"] == {"name": "onnx"}
    headers = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = (await http.get(where, headers=headers)).json()
    assert [each["name"] for each in table["columnDefinitions"]][:3] == ["Name", "URL", "Ready"]


async def test_a_large_schema_is_not_kept(http: httpx2.AsyncClient, app: ApiServer) -> None:
    await create(http, large_definition())
    where = "/apis/stable.example.com/v1beta1/namespaces/a/bigservices"
    item = {**ISVC, "apiVersion": "stable.example.com/v1beta1", "kind": "BigService"}
    assert (await http.get(where)).json()["items"] == []
    gc.collect()
    before = len(gc.get_objects())
    await create(http, item, where)
    wrong = {**item, "metadata": {"name": "wrong"}, "spec": {"predictor": {"minReplicas": "one"}}}
    reply = await http.post(where, json=wrong)
    assert reply.status_code == 422
    assert "spec.predictor.minReplicas in body must be of type integer" in reply.json()["message"]
    while_busy = len(gc.get_objects())
    assert while_busy - before > 5_000, "the schema lingers for the next request"
    app._definitions._schemas.let_go()
    del reply
    gc.collect()
    assert len(gc.get_objects()) - before < 1_000


async def test_a_kind_that_is_not_built_in_becomes_one(http: httpx2.AsyncClient) -> None:
    item = simple("trainedmodels", "TrainedModel", shortNames=["tm"])
    item["metadata"]["name"], item["spec"]["group"] = "trainedmodels.serving.kserve.io", "serving.kserve.io"
    item["spec"]["versions"][0]["name"] = "v1alpha1"
    await create(http, item)
    model = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "TrainedModel",
        "metadata": {"name": "m"},
        "spec": {"x": 1},
    }
    made = await create(http, model, "/apis/serving.kserve.io/v1alpha1/namespaces/a/trainedmodels")
    assert made["spec"] == {"x": 1}
    group = (await http.get("/apis/serving.kserve.io")).json()
    assert [each["version"] for each in group["versions"]] == ["v1beta1", "v1alpha1"]


async def test_kubectl_applies_a_large_definition(kubectl: Kubectl) -> None:
    text = json.dumps(of_kserve())
    applied = await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    assert applied == f"customresourcedefinition.apiextensions.k8s.io/{ISVCS} serverside-applied\n"
    assert "NAME" in await kubectl("get", "crd", ISVCS)


async def test_kubectl_creates_and_replaces_a_large_definition(one_kubectl: Kubectl) -> None:
    text = json.dumps(of_kserve())
    created = await one_kubectl("create", "-f", "-", stdin=text)
    assert created == f"customresourcedefinition.apiextensions.k8s.io/{ISVCS} created\n"
    replaced = await one_kubectl("replace", "-f", "-", stdin=text)
    assert replaced == f"customresourcedefinition.apiextensions.k8s.io/{ISVCS} replaced\n"
