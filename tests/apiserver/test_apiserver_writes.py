"""The rules of writes that all kinds share or that only some have, each with the words of the real server.

generation       which kinds count, and what counts
status           what a status may take with it, and that it is always there
immutable        what may not change, by kind
warnings         what is let in with a remark
sizes            of annotations, of an object, of a request
"""

import json
from typing import Any

import httpx2
import pytest

NS = "/api/v1/namespaces/a"
MAPS, PODS, SERVICES, NODES = f"{NS}/configmaps", f"{NS}/pods", f"{NS}/services", "/api/v1/nodes"
DEPLOYMENTS, SETS = "/apis/apps/v1/namespaces/a/deployments", "/apis/apps/v1/namespaces/a/replicasets"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices"
ISVCS = "/apis/serving.kserve.io/v1beta1/namespaces/a/inferenceservices"
MERGE = {"content-type": "application/merge-patch+json"}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x:1"}]}}
WORKLOAD = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
POD = {"containers": [{"name": "c", "image": "x:1"}]}
SERVICE = {"ports": [{"port": 80}]}
ISVC = {"predictor": {"model": {"modelFormat": {"name": "onnx"}, "storageUri": "oci://x/y:1"}}}
SLICE = {"addressType": "IPv4", "endpoints": []}

Http = httpx2.AsyncClient


async def made(http: Http, path: str, body: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    answer = await http.post(path, json={"metadata": {"name": "x", **meta}, **(body or {})})
    assert answer.status_code == 201, answer.text
    item: dict[str, Any] = answer.json()
    return item


async def patch(http: Http, path: str, body: Any) -> httpx2.Response:
    return await http.patch(path, content=json.dumps(body), headers=MERGE)


async def generation(http: Http, path: str, body: Any) -> int | None:
    answer = await patch(http, path, body)
    assert answer.status_code == 200, answer.text
    count: int | None = answer.json()["metadata"].get("generation")
    return count


@pytest.mark.parametrize(
    ("path", "body", "change"),
    [
        (MAPS, {"data": {"k": "v"}}, {"data": {"k": "w"}}),
        (SERVICES, {"spec": SERVICE}, {"spec": {"sessionAffinity": "ClientIP"}}),
        (NODES, {}, {"spec": {"unschedulable": True}}),
        (
            f"{NS}/persistentvolumeclaims",
            {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
            {"spec": {"volumeName": "v"}},
        ),
    ],
)
async def test_kinds_that_count_no_generations(http: Http, path: str, body: Any, change: Any) -> None:
    item = await made(http, path, body, generation=7)
    assert "generation" not in item["metadata"]
    assert await generation(http, f"{path}/x", change) is None


@pytest.mark.parametrize(
    ("path", "body", "change", "counted_meta", "other_meta"),
    [
        (DEPLOYMENTS, {"spec": WORKLOAD}, {"spec": {"replicas": 2}}, "annotations", "labels"),
        (SETS, {"spec": WORKLOAD}, {"spec": {"replicas": 2}}, None, "annotations"),
        (PODS, {"spec": POD}, {"spec": {"activeDeadlineSeconds": 9}}, None, "annotations"),
        (SLICES, SLICE, {"ports": [{"port": 1}]}, "labels", "annotations"),
        (ISVCS, {"spec": ISVC}, {"spec": {"predictor": {"minReplicas": 2}}}, None, "annotations"),
    ],
)
async def test_what_is_a_new_generation(
    http: Http, path: str, body: Any, change: Any, counted_meta: str | None, other_meta: str
) -> None:
    item = await made(http, path, body, generation=7)
    assert item["metadata"]["generation"] == 1
    assert await generation(http, f"{path}/x", {"metadata": {other_meta: {"n": "1"}}}) == 1
    assert await generation(http, f"{path}/x", change) == 2
    assert await generation(http, f"{path}/x", {**change, "metadata": {"generation": 9}}) == 2
    if counted_meta:
        assert await generation(http, f"{path}/x", {"metadata": {counted_meta: {"n": "2"}}}) == 3


async def test_a_deletion_that_waits_is_a_new_generation(http: Http) -> None:
    for path, body, counts in ((ISVCS, {"spec": ISVC}, 2), (MAPS, {}, None)):
        await made(http, path, body, finalizers=["example.com/hold"])
        marked = (await http.delete(f"{path}/x")).json()
        assert marked["metadata"].get("generation") == counts
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 0


async def test_a_status_is_always_there_in_kinds_of_kubernetes(http: Http) -> None:
    assert (await made(http, DEPLOYMENTS, {"spec": WORKLOAD, "status": {"replicas": 3}}))["status"] == {}
    assert (await made(http, SETS, {"spec": WORKLOAD}))["status"] == {"replicas": 0}
    assert "status" not in await made(http, ISVCS, {"spec": ISVC, "status": {"url": "http://x"}})


async def test_what_may_be_written_beside_a_status(http: Http) -> None:
    """Controllers note the revision of a Deployment so; a custom resource takes nothing but the status."""
    notes = {"annotations": {"n": "1"}, "labels": {"l": "1"}, "finalizers": ["example.com/hold"], "generation": 9}
    wanted = {"metadata": notes, "spec": {"replicas": 9}, "status": {"observedGeneration": 1}}
    for path, body, taken in (
        (DEPLOYMENTS, {"spec": WORKLOAD}, {"annotations"}),
        (SETS, {"spec": WORKLOAD}, {"annotations", "labels"}),
        (ISVCS, {"spec": ISVC}, set()),
    ):
        before = await made(http, path, body)
        written = (await patch(http, f"{path}/x/status", wanted)).json()
        assert written["status"]["observedGeneration"] == 1
        assert written["spec"] == before["spec"]
        added = {name for name in written["metadata"] if name not in before["metadata"]}
        assert added - {"managedFields"} == taken
        assert written["metadata"]["generation"] == 1
    refused = await patch(http, f"{SETS}/x/status", {"metadata": {"labels": {"l": "-"}}})
    assert (refused.status_code, refused.json()["details"]["causes"][0]["field"]) == (422, "metadata.labels")


NEVER = "field is immutable"


@pytest.mark.parametrize(
    ("path", "body", "change", "message"),
    [
        (
            DEPLOYMENTS,
            {"spec": WORKLOAD},
            {"spec": {"selector": {"matchLabels": {"c": "d"}}, "template": {"metadata": {"labels": {"c": "d"}}}}},
            (
                'Deployment.apps "x" is invalid: spec.selector: Invalid value: '
                f'{{"matchLabels":{{"a":"b","c":"d"}}}}: {NEVER}'
            ),
        ),
        (
            SETS,
            {"spec": WORKLOAD},
            {
                "spec": {
                    "selector": {"matchLabels": {"a": None, "c": "d"}},
                    "template": {"metadata": {"labels": {"c": "d"}}},
                }
            },
            f'ReplicaSet.apps "x" is invalid: spec.selector: Invalid value: {{"matchLabels":{{"c":"d"}}}}: {NEVER}',
        ),
        (
            SERVICES,
            {"spec": {**SERVICE, "clusterIP": "10.0.0.1"}},
            {"spec": {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}},
            'Service "x" is invalid: spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set',
        ),
        (
            f"{NS}/secrets",
            {"type": "Opaque"},
            {"type": "other"},
            f'Secret "x" is invalid: type: Invalid value: "other": {NEVER}',
        ),
        (
            MAPS,
            {"data": {"k": "v"}, "immutable": True},
            {"data": {"k": "w"}},
            'ConfigMap "x" is invalid: data: Forbidden: field is immutable when `immutable` is set',
        ),
        (
            SLICES,
            SLICE,
            {"addressType": "IPv6"},
            f'EndpointSlice.discovery.k8s.io "x" is invalid: addressType: Invalid value: "IPv6": {NEVER}',
        ),
        (
            NODES,
            {"spec": {"providerID": "p://1"}},
            {"spec": {"providerID": "p://2"}},
            (
                'Node "x" is invalid: spec.providerID: Forbidden: '
                'node updates may not change providerID except from "" to valid'
            ),
        ),
    ],
)
async def test_what_may_not_change(http: Http, path: str, body: Any, change: Any, message: str) -> None:
    await made(http, path, body)
    refused = await patch(http, f"{path}/x", change)
    assert (refused.status_code, refused.json()["message"]) == (422, message)


async def test_taints(http: Http) -> None:
    taint = {"key": "k", "effect": "NoSchedule"}
    await made(http, NODES, {"spec": {"taints": [taint]}})
    refused = await patch(http, f"{NODES}/x", {"spec": {"taints": [taint, taint, {"key": "k", "effect": "No"}]}})
    assert [(cause["reason"], cause["field"]) for cause in refused.json()["details"]["causes"]] == [
        ("FieldValueDuplicate", "spec.taints[1]"),
        ("FieldValueNotSupported", "spec.taints[2].effect"),
    ]


async def test_all_that_is_wrong_is_said_at_once_and_nothing_twice(http: Http) -> None:
    body = {"metadata": {"name": "X", "labels": {"a": "-", "b": "-"}}, "spec": {"ports": [{"port": 0}]}}
    refused = (await http.post(SERVICES, json=body)).json()
    fields = [cause["field"] for cause in refused["details"]["causes"]]
    assert fields == [
        "metadata.name",
        "metadata.labels",
        "metadata.labels",
        "spec.ports[0].port",
        "spec.ports[0].targetPort",
    ]
    assert refused["message"].count("metadata.labels: ") == 1


async def test_a_custom_resource_is_judged_after_its_metadata(http: Http) -> None:
    """As on a cluster, where KServe's webhook sees only what the server has let in."""
    refused = (await http.post(ISVCS, json={"metadata": {"name": "X_y"}, "spec": ISVC})).json()
    assert [cause["field"] for cause in refused["details"]["causes"]] == ["metadata.name"]


def warned(answer: httpx2.Response) -> str:
    assert answer.is_success, answer.text
    return answer.headers.get("warning", "")


async def test_warnings_of_pods_and_templates(http: Http) -> None:
    container = {
        "name": "c",
        "image": "x:1",
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}],
        "ports": [{"containerPort": 80}, {"name": "again", "containerPort": 80}],
        "resources": {"limits": {"memory": "100m"}},
    }
    spec = {
        "containers": [container],
        "nodeSelector": {"beta.kubernetes.io/arch": "amd64"},
        "imagePullSecrets": [{"name": "s"}, {"name": "s"}],
    }
    answer = await http.post(PODS, json={"metadata": {"name": "a.b"}, "spec": spec})
    texts = warned(answer)
    for text in (
        (
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
            "a DNS label is recommended: [a lowercase RFC 1123 label must consist of"
        ),
        'spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \\"kubernetes.io/arch\\" instead',
        'spec.imagePullSecrets[1].name: duplicate name \\"s\\"',
        'spec.containers[0].env[1]: hides previous definition of \\"A\\", which may be dropped when using apply',
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        'spec.containers[0].resources.limits[memory]: fractional byte value \\"100m\\" is invalid, must be an integer',
    ):
        assert text in texts
    assert texts.count("299 - ") == 7, texts  # the limit is the request as well
    assert "env[2]" not in texts
    assert warned(await patch(http, f"{PODS}/a.b", {"metadata": {"labels": {"a": "b"}}})) == ""
    twice = {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": "x:1", "env": container["env"]}]}}
    workload = {"metadata": {"name": "x"}, "spec": {**WORKLOAD, "template": twice}}
    assert "spec.template.spec.containers[0].env[1]: hides" in warned(await http.post(DEPLOYMENTS, json=workload))
    assert warned(await patch(http, f"{DEPLOYMENTS}/x", {"spec": {"replicas": 2}})) == ""


async def test_a_deprecated_version_says_so_in_every_answer(transport_from_outside: Http) -> None:
    http, text = transport_from_outside, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    path = f"{NS}/endpoints"
    assert text in warned(await http.post(path, json={"metadata": {"name": "x"}}))
    assert text in warned(await http.get(path))
    both = warned(await http.post(f"{path}?fieldValidation=Warn", json={"metadata": {"name": "y"}, "spec": 1}))
    assert both == f'299 - "unknown field \\"spec\\"", 299 - "{text}"'
    assert text in warned(await http.delete(f"{path}/x"))
    assert warned(await http.get(MAPS)) == ""


@pytest.fixture
def transport_from_outside(app: Any, http: Http) -> Http:
    """The server over ASGI as a socket's server calls it: what comes from inside is told of no deprecations."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://api", headers={"authorization": "Bearer secret"}
    )


async def test_finalizers_of_custom_resources_should_have_a_path(http: Http) -> None:
    body = {"metadata": {"name": "x", "finalizers": ["example.com"]}, "spec": ISVC}
    assert 'metadata.finalizers: \\"example.com\\": prefer a domain-qualified finalizer name including a path (/)' in (
        warned(await http.post(ISVCS, json=body))
    )
    assert warned(await patch(http, f"{ISVCS}/x", {"metadata": {"labels": {"a": "b"}}})) == ""
    assert warned(await http.post(MAPS, json={"metadata": {"name": "x", "finalizers": ["example.com"]}})) == ""


async def test_sizes(http: Http) -> None:
    notes = {"annotations": {"a": "x" * 262144}}
    refused = (await http.post(MAPS, json={"metadata": {"name": "x", **notes}})).json()
    assert refused["message"] == (
        'ConfigMap "x" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes'
    )
    await made(http, MAPS, annotations={"a": "x" * 262143})
    refused = (await http.post(MAPS, json={"metadata": {"name": "y"}, "data": {"k": "x" * (1 << 20) + "y"}})).json()
    assert "Too long: may not be more than 1048576 bytes" in refused["message"]
    # A kind without a limit of its own meets the database's.
    large = {"spec": {**ISVC, "transformer": {"containers": [{"name": "c", "image": "i", "args": ["x" * 1600000]}]}}}
    refused = (await http.post(ISVCS, json={"metadata": {"name": "x"}, **large})).json()
    assert refused == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "etcdserver: request is too large",
        "code": 500,
    }
    assert (await http.get(f"{ISVCS}/x")).status_code == 404
    over = await http.post(MAPS, content=b" " * (3 * 1024 * 1024 + 1), headers={"content-type": "application/json"})
    assert (over.status_code, over.json()["message"]) == (413, "Request entity too large: limit is 3145728")


async def test_a_failed_test_of_a_json_patch_is_a_message(http: Http) -> None:
    """Without details, since kubectl prints those in place of the message."""
    await made(http, MAPS)
    wanted = [{"op": "test", "path": "/data/k", "value": "v"}]
    headers = {"content-type": "application/json-patch+json"}
    refused = (await http.patch(f"{MAPS}/x", content=json.dumps(wanted), headers=headers)).json()
    assert (refused["code"], refused["reason"], refused.get("details")) == (422, "Invalid", None)
    assert refused["message"].startswith("the server rejected our request due to an error in our request: ")


async def test_a_dry_run_of_every_verb_changes_nothing(http: Http) -> None:
    await made(http, MAPS, {"data": {"k": "v"}})
    before = (await http.get(MAPS)).json()
    dry = {"dryRun": "All"}
    created = await http.post(MAPS, params=dry, json={"metadata": {"generateName": "g-"}})
    assert (created.status_code, created.json()["metadata"]["name"][:2]) == (201, "g-")
    assert "resourceVersion" not in created.json()["metadata"]
    assert (await http.post(MAPS, params=dry, json={"metadata": {"name": "x"}})).status_code == 409
    body = {"metadata": {"name": "x"}, "data": {"k": "w"}}
    replaced = await http.put(f"{MAPS}/x", params=dry, json=body)
    assert replaced.json()["data"] == {"k": "w"}
    merged = await http.patch(f"{MAPS}/x", params=dry, content=json.dumps({"data": {"z": "1"}}), headers=MERGE)
    assert merged.json()["data"] == {"k": "v", "z": "1"}
    apply = {"content-type": "application/apply-patch+yaml"}
    config = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}})
    for name in ("x", "new"):
        wanted = config.replace("new", name)
        applied = await http.patch(f"{MAPS}/{name}", params={**dry, "fieldManager": "t"}, content=wanted, headers=apply)
        assert applied.is_success, applied.text
    assert (await http.delete(f"{MAPS}/x", params=dry)).json()["status"] == "Success"
    assert len((await http.delete(MAPS, params=dry)).json()["items"]) == 1
    assert (await http.get(MAPS)).json()["items"] == before["items"]
    assert (await http.post(MAPS, params={"dryRun": "Some"}, json=body)).json()["message"] == (
        'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": supported values: "All"'
    )
