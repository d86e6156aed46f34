"""What is wrong with the other built-in kinds, in the words of a real API server."""

import base64
from typing import Any

import pytest
from tests.api.judging import Json, changed, complaints

from skerry.api.kinds import REGISTRY

DEPLOYMENT: Json = {
    "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {
            "metadata": {"labels": {"app": "a", "more": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    }
}


@pytest.mark.parametrize("short_name", ["deploy", "rs"])
def test_a_good_workload(short_name: str) -> None:
    assert complaints(short_name, DEPLOYMENT) == []
    assert complaints(short_name, changed(DEPLOYMENT, "spec.replicas", 0), DEPLOYMENT) == []


@pytest.mark.parametrize("short_name", ["deploy", "rs"])
@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.replicas", -1, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("spec.selector", None, "spec.selector: Required value"),
        ("spec.selector", {}, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        (
            "spec.selector.matchExpressions",
            [{"key": "a", "operator": "Equals"}],
            'spec.selector.matchExpressions[0].operator: Invalid value: "Equals": not a valid selector operator',
        ),
        (
            "spec.selector.matchExpressions",
            [{"key": "a", "operator": "In"}],
            (
                "spec.selector.matchExpressions[0].values: Required value: "
                "must be specified when `operator` is 'In' or 'NotIn'"
            ),
        ),
        (
            "spec.selector.matchExpressions",
            [{"key": "a", "operator": "Exists", "values": ["x"]}],
            (
                "spec.selector.matchExpressions[0].values: Forbidden: "
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            ),
        ),
        ("spec.template.spec.containers", [], "spec.template.spec.containers: Required value"),
        (
            "spec.template.spec.restartPolicy",
            "Never",
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        (
            "spec.template.spec.activeDeadlineSeconds",
            5,
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
    ],
)
def test_workloads(short_name: str, path: str, value: Any, message: str) -> None:
    assert message in complaints(short_name, changed(DEPLOYMENT, path, value))


def test_the_selector_must_choose_the_template() -> None:
    found = complaints("deploy", changed(DEPLOYMENT, "spec.template.metadata.labels", {"app": "b"}))
    assert len(found) == 1
    assert found[0].startswith("spec.template.metadata.labels: Invalid value: {")
    assert found[0].endswith("}: `selector` does not match template `labels`")


def test_the_selector_stays() -> None:
    new = changed(DEPLOYMENT, "spec.selector.matchLabels", {"more": "b"})
    found = complaints("deploy", new, DEPLOYMENT)
    assert len(found) == 1
    assert found[0].startswith("spec.selector: Invalid value: {")
    assert found[0].endswith("}: field is immutable")


ROLLING = "spec.strategy.rollingUpdate"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "spec.strategy.type",
            "Blue",
            'spec.strategy.type: Unsupported value: "Blue": supported values: "Recreate", "RollingUpdate"',
        ),
        (
            "spec.strategy",
            {"type": "Recreate", "rollingUpdate": {}},
            f"{ROLLING}: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            ROLLING,
            {"maxSurge": 0, "maxUnavailable": 0},
            f"{ROLLING}.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            ROLLING,
            {"maxSurge": "0%", "maxUnavailable": "0%"},
            f'{ROLLING}.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
        ),
        (
            ROLLING,
            {"maxUnavailable": "101%"},
            f'{ROLLING}.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
        ),
        (
            ROLLING,
            {"maxSurge": "half"},
            (
                f'{ROLLING}.maxSurge: Invalid value: "half": a valid percent string must be a numeric string '
                f"followed by "
                "an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            ),
        ),
        (ROLLING, {"maxSurge": -1}, f"{ROLLING}.maxSurge: Invalid value: -1: must be greater than or equal to 0"),
        (
            "spec.minReadySeconds",
            600,
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ),
    ],
)
def test_deployment_strategies(path: str, value: Any, message: str) -> None:
    assert complaints("deploy", changed(DEPLOYMENT, path, value)) == [message]


SERVICE: Json = {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "http"}]}}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.ports", [], "spec.ports: Required value"),
        (
            "spec.ports.0.port",
            0,
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "spec.ports.0.protocol",
            "HTTP",
            'spec.ports[0].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP"',
        ),
        (
            "spec.ports.0.targetPort",
            70000,
            "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "spec.ports.0.targetPort",
            "UP",
            (
                'spec.ports[0].targetPort: Invalid value: "UP": '
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
            ),
        ),
        ("spec.ports", [{"port": 80, "name": "a"}, {"port": 81}], "spec.ports[1].name: Required value"),
        (
            "spec.ports",
            [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}],
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        (
            "spec.ports.0.nodePort",
            30000,
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            "spec.type",
            "Ingress",
            (
                'spec.type: Unsupported value: "Ingress": '
                'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ),
        ),
        (
            "spec.clusterIP",
            "nowhere",
            (
                'spec.clusterIPs[0]: Invalid value: "nowhere": '
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ),
        ),
        (
            "spec.externalIPs",
            ["x"],
            'spec.externalIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
        ),
        (
            "metadata.name",
            "1st",
            (
                'metadata.name: Invalid value: "1st": a DNS-1035 label must consist of lower case alphanumeric '
                "characters or "
                "'-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
                "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            ),
        ),
    ],
)
def test_services(path: str, value: Any, message: str) -> None:
    assert complaints("svc", SERVICE) == []
    found = complaints("svc", changed(SERVICE, path, value))
    assert message in found
    assert all(error.startswith(message.partition(":")[0]) for error in found)


def test_two_ports_of_one_number() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 80}, {"name": "c", "port": 80, "protocol": "UDP"}]
    found = complaints("svc", changed(SERVICE, "spec.ports", ports))
    assert len(found) == 1
    assert found[0].startswith("spec.ports[1]: Duplicate value: {")


def test_services_that_need_no_ports() -> None:
    assert complaints("svc", {"spec": {"clusterIP": "None"}}) == []
    assert complaints("svc", {"spec": {"type": "ExternalName", "externalName": "a.example"}}) == []
    assert complaints("svc", {"spec": {"type": "ExternalName"}}) == ["spec.externalName: Required value"]
    assert complaints("svc", {"spec": {"type": "NodePort", "clusterIP": "None"}}) == [
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"
    ]


def test_the_address_of_a_service_stays() -> None:
    old = changed(SERVICE, "spec.clusterIP", "None")
    assert complaints("svc", SERVICE, old) == []
    assert complaints("svc", old, SERVICE) == []
    assert complaints("svc", changed(SERVICE, "spec.clusterIP", "10.43.0.9"), old) == [
        'spec.clusterIPs[0]: Invalid value: ["10.43.0.9"]: may not change once set'
    ]


def test_config_map() -> None:
    key = (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
        "'KEY_NAME',  "
        "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )
    assert complaints("cm", {"data": {"a.b_C-1": ""}, "binaryData": {"b": "/wA="}}) == []
    assert complaints("cm", {"data": {"a b": ""}}) == [f'data[a b]: Invalid value: "a b": {key}']
    assert complaints("cm", {"data": {"a": ""}, "binaryData": {"a": ""}}) == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]
    assert complaints("cm", {"data": {"a": 1}}) == ["data[a]: Invalid value: 1: must be a string"]
    assert complaints("cm", {"data": {"a": "x" * 1048577}}) == ["[]: Too long: may not be more than 1048576 bytes"]
    assert complaints("cm", {"binaryData": {"a": "?"}}) == ["binaryData[a]: Invalid value: illegal base64 data"]


@pytest.mark.parametrize("short_name", ["cm", "secrets"])
def test_what_is_sealed_stays(short_name: str) -> None:
    old = {"data": {"a": "eA=="}, "immutable": True}
    why = "Forbidden: field is immutable when `immutable` is set"
    assert complaints(short_name, {**old, "metadata": {"labels": {"a": "b"}}}, old) == []
    assert complaints(short_name, {"data": {"a": "eQ=="}}, old) == [f"immutable: {why}", f"data: {why}"]
    assert complaints(short_name, {"data": {"a": "eQ=="}}, {"data": old["data"]}) == []


def test_secret() -> None:
    assert complaints("secrets", {"data": {"a": "eA=="}}) == []
    assert complaints("secrets", {"data": {"a": "not base64"}}) == ["data[a]: Invalid value: illegal base64 data"]
    assert complaints("secrets", {"type": "b"}, {"type": "a"}) == ['type: Invalid value: "b": field is immutable']
    large = base64.b64encode(bytes(1048580)).decode()
    assert complaints("secrets", {"data": {"a": large}}) == ["[]: Too long: may not be more than 1048576 bytes"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("kubernetes.io/tls", ["data[tls.crt]", "data[tls.key]"]),
        ("kubernetes.io/dockerconfigjson", ["data[.dockerconfigjson]"]),
        ("kubernetes.io/basic-auth", ["data[username]", "data[password]"]),
        ("kubernetes.io/ssh-auth", ["data[ssh-privatekey]"]),
        (
            "kubernetes.io/service-account-token",
            ["metadata.annotations[kubernetes.io/service-account.name]"],
        ),
        ("anything/else", []),
    ],
)
def test_what_a_secret_of_a_type_needs(kind: str, fields: list[str]) -> None:
    assert complaints("secrets", {"type": kind}) == [f"{field}: Required value" for field in fields]


CLAIM: Json = {
    "spec": {
        "storageClassName": "skerry-local",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
}


def test_persistent_volume_claim() -> None:
    assert complaints("pvc", CLAIM) == []
    assert complaints("pvc", {"spec": {}}) == [
        "spec.accessModes: Required value: at least 1 access mode is required",
        "spec.resources[storage]: Required value",
    ]
    assert complaints("pvc", changed(CLAIM, "spec.accessModes", ["Some"])) == [
        (
            'spec.accessModes: Unsupported value: "Some": supported values: '
            '"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'
        )
    ]
    assert complaints("pvc", changed(CLAIM, "spec.resources.requests.storage", "0")) == [
        'spec.resources[storage]: Invalid value: "0": must be greater than zero'
    ]


def test_what_may_change_in_a_claim() -> None:
    why = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName"
    larger = changed(CLAIM, "spec.resources.requests.storage", "2Gi")
    assert complaints("pvc", changed(CLAIM, "spec.volumeName", "pv"), CLAIM) == []
    bound = changed(CLAIM, "status.phase", "Bound")
    assert complaints("pvc", larger, bound) == []
    for old, new in (
        (CLAIM, larger),
        (CLAIM, changed(CLAIM, "spec.accessModes", ["ReadOnlyMany"])),
        (changed(CLAIM, "spec.volumeName", "pv"), changed(CLAIM, "spec.volumeName", "other")),
    ):
        found = complaints("pvc", new, old)
        assert [error[: len(why)] for error in found] == [why]


def test_namespace() -> None:
    assert complaints("ns", {"metadata": {"name": "a-1"}}) == []
    found = complaints("ns", {"metadata": {"name": "a.b"}})
    assert [error[:60] for error in found] == ['metadata.name: Invalid value: "a.b": a lowercase RFC 1123 la']


def test_endpoint_slice() -> None:
    good: Json = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.1.0.1"]}],
        "ports": [{"port": 80}, {"name": "a", "port": 81}],
    }
    assert complaints("endpointslices", good) == []
    assert complaints("endpointslices", changed(good, "addressType", "MAC")) == [
        'addressType: Unsupported value: "MAC": supported values: "FQDN", "IPv4", "IPv6"'
    ]
    assert complaints("endpointslices", changed(good, "addressType", "FQDN"), good) == [
        'addressType: Invalid value: "FQDN": field is immutable'
    ]
    assert complaints("endpointslices", changed(good, "endpoints.0.addresses", [])) == [
        "endpoints[0].addresses: Required value: must contain at least 1 address"
    ]
    assert complaints("endpointslices", changed(good, "endpoints.0.addresses", ["x"])) == [
        'endpoints[0].addresses[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
    ]
    assert complaints("endpointslices", changed(good, "ports.1.name", "")) == ['ports[1].name: Duplicate value: ""']


def test_endpoints() -> None:
    good: Json = {"subsets": [{"addresses": [{"ip": "127.1.0.1"}], "ports": [{"port": 80}]}]}
    assert complaints("ep", good) == []
    assert complaints("ep", {"subsets": [{}]}) == [
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"
    ]
    assert complaints("ep", changed(good, "subsets.0.ports", [{"port": 0}, {"name": "b", "port": 1}])) == [
        "subsets[0].ports[0].name: Required value",
        "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    ]


def test_events() -> None:
    good = {"involvedObject": {"kind": "Pod", "namespace": "a"}}
    assert complaints("ev", good) == []
    assert complaints("ev", {"involvedObject": {"namespace": "b"}}) == [
        'involvedObject.namespace: Invalid value: "b": does not match event.namespace'
    ]
    kind = REGISTRY.by_plural("events.k8s.io", "v1", "events")
    assert kind is not None
    assert [str(error) for error in kind.validate({"metadata": {"name": "x"}}, None)] == [
        "reportingController: Required value",
        "reason: Required value",
        "action: Required value",
        'type: Invalid value: "": has invalid value',
    ]


JOB: Json = {
    "metadata": {"uid": "u"},
    "spec": {
        "completions": 1,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
    },
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.parallelism", -1, "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
        ("spec.backoffLimit", -1, "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"),
        (
            "spec.template.spec.restartPolicy",
            None,
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
        (
            "spec.completionMode",
            "Odd",
            'spec.completionMode: Unsupported value: "Odd": supported values: "Indexed", "NonIndexed"',
        ),
        ("spec.podFailurePolicy", {"rules": []}, "spec.podFailurePolicy: Forbidden: not served here; use backoffLimit"),
        ("spec.template.spec.containers", [], "spec.template.spec.containers: Required value"),
    ],
)
def test_jobs(path: str, value: Any, message: str) -> None:
    assert complaints("job", JOB) == []
    assert message in complaints("job", changed(JOB, path, value))


def test_what_of_a_job_stays() -> None:
    for path, value in (
        ("spec.completions", 5),
        ("spec.template.spec.containers.0.image", "j"),
        ("spec.completionMode", "Indexed"),
    ):
        found = complaints("job", changed(JOB, path, value), JOB)
        assert any(each.endswith("field is immutable") for each in found), path
    for path, value in (("spec.parallelism", 3), ("spec.suspend", True), ("spec.ttlSecondsAfterFinished", 9)):
        assert complaints("job", changed(JOB, path, value), JOB) == []


def test_indexes_need_a_number_and_short_names() -> None:
    indexed = changed(changed(JOB, "spec.completionMode", "Indexed"), "spec.parallelism", 2)
    indexed = changed(indexed, "spec.completions", None)
    assert complaints("job", indexed) == ["spec.completions: Required value: when completion mode is Indexed"]
    long = changed(changed(indexed, "spec.completions", 100), "metadata.name", "x" * 62)
    assert any("must be no more than 63 characters" in each for each in complaints("job", long))


HPA: Json = {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}}
POLICY = {"type": "Pods", "value": 1, "periodSeconds": 15}
RULES = "spec.behavior.scaleUp"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.minReplicas", 0, "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"),
        ("spec.maxReplicas", 0, "spec.maxReplicas: Invalid value: 0: must be greater than 0"),
        ("spec.minReplicas", 4, "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"),
        ("spec.scaleTargetRef", {}, "spec.scaleTargetRef.kind: Required value"),
        ("spec.metrics", [{}], "spec.metrics[0].type: Required value: must specify a metric source type"),
        (
            "spec.metrics",
            [{"type": "Resource"}],
            "spec.metrics[0].resource: Required value: must populate information for the given metric source",
        ),
        (
            "spec.metrics",
            [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}],
            (
                "spec.metrics[0].resource.target.averageUtilization: Required value: "
                "must set either a target raw value or a target utilization"
            ),
        ),
        (
            "spec.metrics",
            [{"type": "ContainerResource", "containerResource": {"name": "cpu", "target": {"type": "Utilization"}}}],
            "spec.metrics[0].containerResource.container: Required value: must specify a container name",
        ),
        (RULES, {"policies": []}, f"{RULES}.policies: Required value: must specify at least one Policy"),
        (
            RULES,
            {"stabilizationWindowSeconds": 3601},
            f"{RULES}.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        ),
        (
            RULES,
            {"policies": [{**POLICY, "periodSeconds": 1801}]},
            f"{RULES}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ),
        (
            RULES,
            {"policies": [{**POLICY, "value": 0}]},
            f"{RULES}.policies[0].value: Invalid value: 0: must be greater than zero",
        ),
        (
            RULES,
            {"selectPolicy": "Mean"},
            f'{RULES}.selectPolicy: Unsupported value: "Mean": supported values: "Disabled", "Max", "Min"',
        ),
    ],
)
def test_autoscalers(path: str, value: Any, message: str) -> None:
    assert complaints("hpa", HPA) == []
    assert message in complaints("hpa", changed(HPA, path, value))


def test_an_event_goes_on_in_its_series_only() -> None:
    kind = REGISTRY.by_plural("events.k8s.io", "v1", "events")
    assert kind is not None
    told = {"reason": "R", "action": "A", "type": "Normal", "reportingController": "c", "regarding": {"name": "p"}}
    old: Json = {"metadata": {"name": "x"}, **told}
    again = {**old, "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}, "note": "longer"}
    assert kind.validate(again, old) == []
    assert [str(error) for error in kind.validate({**again, "series": {"count": 1}}, old)] == [
        'series.count: Invalid value: "": should be at least 2'
    ]
    other = {**old, "regarding": {"name": "q"}, "reason": "S", "reportingController": "d"}
    assert [str(error) for error in kind.validate(other, old)] == [
        'involvedObject: Invalid value: {"name":"q"}: field is immutable',
        'reason: Invalid value: "S": field is immutable',
        'reportingController: Invalid value: "d": field is immutable',
    ]
