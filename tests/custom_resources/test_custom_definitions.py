"""Definitions over HTTP: what is refused, what is served, when it is served no more."""

import asyncio
from typing import Any

import httpx2
import msgspec
import pytest
from tests.apiserver.conftest import no_logs
from tests.custom_resources.builders import DEFINITIONS, GROUP, crontab, definition, path, simple, version

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Key, Store
from skerry.kit.clock import SystemClock

AGGREGATED = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


async def create(http: httpx2.AsyncClient, item: dict[str, Any], where: str = DEFINITIONS) -> dict[str, Any]:
    reply = await http.post(where, json=item)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def refused(http: httpx2.AsyncClient, item: dict[str, Any], where: str = DEFINITIONS) -> list[str]:
    reply = await http.post(where, json=item)
    assert reply.status_code == 422, reply.text
    return [f"{cause['field']}: {cause['message']}" for cause in reply.json()["details"]["causes"]]


def conditions(item: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in item["status"]["conditions"]}


async def test_a_definition_is_established_and_served_at_once(http: httpx2.AsyncClient) -> None:
    before = await http.get("/apis", headers=AGGREGATED)
    index = (await http.get("/openapi/v3")).json()["paths"]
    made = await create(http, definition())
    assert conditions(made) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert made["status"]["acceptedNames"] == {
        "plural": "crontabs",
        "singular": "crontab",
        "shortNames": ["ct"],
        "kind": "CronTab",
        "listKind": "CronTabList",
        "categories": ["all"],
    }
    assert made["status"]["storedVersions"] == ["v1"]
    assert made["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert made["metadata"]["generation"] == 1
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert (await http.get(path())).json()["kind"] == "CronTabList"
    after = await http.get("/apis", headers=AGGREGATED)
    assert after.headers["etag"] != before.headers["etag"]
    found = (await http.get(f"/apis/{GROUP}/v1")).json()["resources"]
    assert [each["name"] for each in found] == ["crontabs", "crontabs/scale", "crontabs/status"]
    assert found[0]["shortNames"] == ["ct"]
    assert found[0]["categories"] == ["all"]
    assert (found[1]["group"], found[1]["version"], found[1]["kind"]) == ("autoscaling", "v1", "Scale")
    paths = (await http.get("/openapi/v3")).json()["paths"]
    assert set(paths) - set(index) == {f"apis/{GROUP}/v1"}
    assert paths["api/v1"] != index["api/v1"]


async def test_it_is_served_again_after_a_restart(http: httpx2.AsyncClient, store: Store) -> None:
    await create(http, definition())
    await create(http, crontab(), path())
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens({}), no_logs))
    transport = InProcessTransport(app, "admin")
    async with httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=10) as again:
        assert (await again.get(path("my"))).json()["spec"]["image"] == "example.com/cron:1"
        assert REGISTRY.by_kind(f"{GROUP}/v1", "CronTab") is None, "the kinds of one server are not those of another"
    await transport.aclose()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"metadata": {"name": "x"}}, 'metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group'),
        ({"group": "nodots"}, 'spec.group: Invalid value: "nodots": should be a domain with at least one dot'),
        ({"scope": "Galaxy"}, 'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'),
        (
            {"versions": [version(storage=False)]},
            (
                'spec.versions: Invalid value: [{"name":"v1","served":true,"storage":false}]: '
                "must have exactly one version marked as storage version"
            ),
        ),
        (
            {"versions": [version(), version()]},
            (
                'spec.versions: Invalid value: [{"name":"v1","served":true,"storage":true},'
                '{"name":"v1","served":true,"storage":true}]: must contain unique version names'
            ),
        ),
        (
            {"versions": [{"name": "v1", "served": True, "storage": True}]},
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            {
                "versions": [version(), version("v2", storage=False)],
                "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}},
            },
            (
                "spec.conversion.strategy: Forbidden: conversion webhooks are not called here: keep one version in "
                "spec.versions, or set the strategy to None where the versions have the same fields"
            ),
        ),
        (
            {"versions": [version(deprecationWarning="old")]},
            'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions',
        ),
        (
            {"versions": [version(additionalPrinterColumns=[{"name": "A", "type": "text", "jsonPath": ".a"}])]},
            (
                'spec.versions[0].additionalPrinterColumns[0].type: Invalid value: "text": '
                "must be one of boolean,date,integer,number,string"
            ),
        ),
        (
            {"group": "x.k8s.io"},
            (
                "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval "
                'annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111'
            ),
        ),
        (
            {"names": {"plural": "crontabs", "kind": "Cron_Tab", "shortNames": ["CT"]}},
            (
                'spec.names.shortNames[0]: Invalid value: "CT": a DNS-1035 label must consist of lower case '
                "alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric "
                "character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            ),
        ),
    ],
)
async def test_what_is_no_definition(http: httpx2.AsyncClient, change: dict[str, Any], complaint: str) -> None:
    item = definition()
    for key, value in change.items():
        if key == "metadata":
            item["metadata"] = value
        else:
            item["spec"][key] = value
    if "group" in change:
        item["metadata"]["name"] = f"crontabs.{change['group']}"
    assert complaint in await refused(http, item)


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"properties": {}}, "type: Required value: must not be empty at the root"),
        ({"type": "array", "items": {"type": "string"}}, 'type: Invalid value: "array": must be object at the root'),
        (
            {"type": "object", "properties": {"spec": {"properties": {}}}},
            "properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            {"type": "object", "properties": {"l": {"type": "array"}}},
            "properties[l].items: Required value: must be specified",
        ),
        (
            {"type": "object", "properties": {"s": {"type": "strin"}}},
            (
                'properties[s].type: Unsupported value: "strin": supported values: "array", "boolean", "integer", '
                '"number", "object", "string"'
            ),
        ),
        (
            {"type": "object", "properties": {"s": {"type": "string", "pattern": "(a"}}},
            (
                'properties[s].pattern: Invalid value: "(a": must be a valid regular expression, but isn\'t: '
                "error parsing regexp: missing closing ): `(a`"
            ),
        ),
        (
            {"type": "object", "properties": {"s": {"type": "object", "anyOf": [{"type": "object"}]}}},
            "properties[s].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "properties": {"s": {"type": "object", "not": {"properties": {"x": {"minLength": 1}}}}}},
            (
                "properties[s].properties[x]: Required value: because it is defined in "
                "spec.versions[0].schema.openAPIV3Schema.properties[s].not.properties[x]"
            ),
        ),
        (
            {
                "type": "object",
                "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
            },
            (
                "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
                "metadata is implicitly specified"
            ),
        ),
        (
            {"type": "object", "properties": {"n": {"type": "integer", "default": "x"}}},
            'properties[n].default: Invalid value: "string":  in body must be of type integer: "string"',
        ),
        (
            {
                "type": "object",
                "properties": {"l": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}},
            },
            (
                "properties[l].x-kubernetes-list-map-keys: Required value: "
                "must not be empty if x-kubernetes-list-type is map"
            ),
        ),
        (
            {
                "type": "object",
                "properties": {
                    "o": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}},
                        "additionalProperties": {"type": "string"},
                    }
                },
            },
            "properties[o].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            {"type": "object", "properties": {"o": {"type": "object", "$ref": "#/x"}}},
            "properties[o].$ref: Forbidden: $ref is not supported",
        ),
    ],
)
async def test_what_is_no_structural_schema(http: httpx2.AsyncClient, schema: dict[str, Any], complaint: str) -> None:
    assert f"spec.versions[0].schema.openAPIV3Schema.{complaint}" in await refused(
        http, simple("things", "Thing", schema)
    )


async def test_an_open_schema_of_the_documentation_is_structural(http: httpx2.AsyncClient) -> None:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "all": {
                        "x-kubernetes-int-or-string": True,
                        "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}],
                    },
                    "any": {"x-kubernetes-preserve-unknown-fields": True},
                    "pod": {
                        "type": "object",
                        "x-kubernetes-embedded-resource": True,
                        "x-kubernetes-preserve-unknown-fields": True,
                    },
                    "map": {"type": "object", "additionalProperties": {"type": "string", "nullable": True}},
                },
            },
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}},
        },
    }
    await create(http, simple("things", "Thing", schema))
    thing = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Thing",
        "metadata": {"name": "too-long"},
        "spec": {"map": {"a": None}},
    }
    assert await refused(http, thing, path(plural="things")) == [
        "metadata.name: Too long: may not be more than 5 bytes"
    ]
    thing["metadata"] = {"name": "fine"}
    made = await create(http, thing, path(plural="things"))
    assert made["spec"] == {"map": {"a": None}}


async def test_the_second_who_wants_a_name_waits_for_it(http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    other = definition(plural="clocktabs", kind="ClockTab")
    made = await create(http, other)
    assert conditions(made) == {
        "NamesAccepted": ("False", "ShortNamesConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert next(each["message"] for each in made["status"]["conditions"]) == '"ct" is already in use'
    assert (await http.get(path(plural="clocktabs"))).status_code == 404
    first = (await http.get(f"{DEFINITIONS}/crontabs.{GROUP}")).json()
    first["spec"]["names"]["shortNames"] = ["cron"]
    assert (await http.put(f"{DEFINITIONS}/crontabs.{GROUP}", json=first)).status_code == 200
    settled = (await http.get(f"{DEFINITIONS}/clocktabs.{GROUP}")).json()
    assert conditions(settled)["Established"] == ("True", "InitialNamesAccepted")
    assert settled["status"]["acceptedNames"]["shortNames"] == ["ct"]
    assert (await http.get(path(plural="clocktabs"))).status_code == 200


async def test_of_two_at_once_one_has_the_name(http: httpx2.AsyncClient) -> None:
    items = [definition(plural=f"{name}tabs", kind=f"{name.title()}Tab") for name in ("one", "two", "three")]
    made = [reply.json() for reply in await asyncio.gather(*(http.post(DEFINITIONS, json=item) for item in items))]
    assert sorted(conditions(item)["NamesAccepted"][0] for item in made) == ["False", "False", "True"]


async def test_a_slip_in_a_schema_is_named(http: httpx2.AsyncClient) -> None:
    inner = {"type": "object", "requierd": ["a"]}
    schema = {"type": "object", "properties": {"spec": {"type": "array", "items": inner}}}
    reply = await http.post(f"{DEFINITIONS}?fieldValidation=Strict", json=simple("things", "Thing", schema))
    where = "spec.versions[0].schema.openAPIV3Schema.properties.spec.items.requierd"
    assert reply.json()["message"].endswith(f'strict decoding error: unknown field "{where}"')
    wrong = {"type": "object", "properties": {"spec": "object"}}
    reply = await http.post(DEFINITIONS, json=simple("things", "Thing", wrong))
    assert reply.status_code == 400
    assert reply.json()["message"].endswith(
        "json: cannot unmarshal string into Go struct field "
        "JSONSchemaProps.spec.versions.schema.openAPIV3Schema.properties of type v1.JSONSchemaProps"
    )


async def test_what_lacks_nearly_everything_is_refused(http: httpx2.AsyncClient) -> None:
    specs: list[dict[str, Any]] = [{}, {"versions": [{"storage": True}]}, {"names": {}, "versions": [{}]}]
    for spec in specs:
        item = {"metadata": {"name": "x.y.z"}, "spec": spec}
        assert len(await refused(http, item)) > 1
    assert (await http.post(DEFINITIONS, json={"metadata": {"name": "x"}, "spec": 1})).status_code == 400


async def test_a_plural_may_be_that_of_a_built_in_kind(http: httpx2.AsyncClient) -> None:
    for plural, kind in (("pods", "Pod"), ("namespaces", "Namespace")):
        await create(http, simple(plural, kind))
    pod = {"apiVersion": f"{GROUP}/v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n"}}
    await create(http, pod, path(plural="pods"))
    assert (await http.delete(path("p", plural="pods"))).json()["kind"] == "Status", "no grace period holds it"


async def test_built_in_kinds_have_their_names(http: httpx2.AsyncClient) -> None:
    item = definition(plural="services", kind="InferenceService", group="serving.kserve.io")
    item["spec"]["names"]["shortNames"] = ["svc2"]
    made = await create(http, item)
    assert conditions(made)["NamesAccepted"] == ("False", "ListKindConflict")


async def test_a_changed_schema_holds_from_the_next_request_on(http: httpx2.AsyncClient) -> None:
    item = await create(http, definition())
    await create(http, crontab(replicas=9), path())
    schema = item["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    schema["replicas"]["maximum"] = 5
    schema["zone"] = {"type": "string", "default": "here"}
    del schema["image"]
    where = f"{DEFINITIONS}/crontabs.{GROUP}"
    changed = await http.put(where, json=item)
    assert changed.json()["metadata"]["generation"] == 2
    old = (await http.get(path("my"))).json()
    assert old["spec"] == {"cron": "* * * * */5", "replicas": 9, "zone": "here"}, "what is stored follows the schema"
    assert await refused(http, crontab("other", replicas=9), path()) == [
        "spec.replicas: Invalid value: 9: spec.replicas in body should be less than or equal to 5"
    ]
    old["spec"]["zone"] = "there"
    kept = await http.put(path("my"), json=old)
    assert kept.status_code == 200, "what was not changed is not held against anybody"


async def test_names_and_scope_stay(http: httpx2.AsyncClient) -> None:
    item = await create(http, definition())
    item["spec"]["scope"] = "Cluster"
    item["spec"]["names"]["kind"] = "Other"
    reply = await http.put(f"{DEFINITIONS}/crontabs.{GROUP}", json=item)
    causes = [cause["field"] for cause in reply.json()["details"]["causes"]]
    assert causes == ["spec.scope", "spec.names.kind"]
    item = (await http.get(f"{DEFINITIONS}/crontabs.{GROUP}")).json()
    item["spec"]["versions"][0]["name"] = "v2"
    reply = await http.put(f"{DEFINITIONS}/crontabs.{GROUP}", json=item)
    assert "must appear in spec.versions" in reply.json()["message"]


async def test_a_definition_that_is_deleted_takes_no_new_objects_and_goes_with_its_finalizer(
    http: httpx2.AsyncClient, store: Store
) -> None:
    await create(http, definition())
    where = f"{DEFINITIONS}/crontabs.{GROUP}"
    deleted = await http.delete(where)
    assert deleted.json()["metadata"]["deletionTimestamp"]
    assert (await http.post(path(), json=crontab())).status_code == 405
    config = msgspec.json.encode(crontab())
    applied = await http.patch(
        f"{path('my')}?fieldManager=x", content=config, headers={"content-type": "application/apply-patch+yaml"}
    )
    assert applied.status_code == 405
    assert (await http.get(path())).status_code == 200
    body = {"metadata": {"finalizers": None}}
    gone = await http.patch(where, json=body, headers={"content-type": "application/merge-patch+json"})
    assert gone.status_code == 200
    assert (await http.get(path())).status_code == 404
    assert (await http.get(f"/apis/{GROUP}")).status_code == 404
    assert store.get(Key("apiextensions.k8s.io/customresourcedefinitions", "", f"crontabs.{GROUP}")) is None


async def test_a_dry_run_serves_nothing(http: httpx2.AsyncClient) -> None:
    reply = await http.post(f"{DEFINITIONS}?dryRun=All", json=definition())
    assert reply.status_code == 201
    assert (await http.get(path())).status_code == 404


async def test_what_is_stored_and_not_acted_upon_is_said(http: httpx2.AsyncClient) -> None:
    item = definition()
    schema = item["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.replicas > 0"}]
    schema["properties"]["spec"]["properties"]["policy"] = {"type": "string", "pattern": r"^\p{Greek}+$"}
    reply = await http.post(DEFINITIONS, json=item)
    warnings = reply.headers["warning"]
    assert "CEL rules are stored and not evaluated here" in warnings
    assert "cannot be read here and is not checked" in warnings
    assert (await http.post(path(), json=crontab(policy="latin"))).status_code == 201
