"""What the server fills in, kind by kind; each expectation is what a real API server answers to the same manifest."""

import copy
from typing import Any

import pytest

from skerry.api.core import POD
from skerry.api.kinds import REGISTRY
from skerry.api.pods.defaults import pull_policy, quality_of_service

Json = dict[str, Any]


def filled(short_name: str, item: Json) -> Json:
    kind = REGISTRY.by_short_name(short_name)
    assert kind is not None
    item = {"metadata": {"name": "x"}, **copy.deepcopy(item)}
    kind.default(item)
    return item


def container(**more: Any) -> Json:
    return {"name": "c", "image": "i:1", **more}


DEFAULT_CONTAINER: Json = {
    "name": "c",
    "image": "i:1",
    "imagePullPolicy": "IfNotPresent",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
DEFAULT_TEMPLATE: Json = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": 30,
    "schedulerName": "default-scheduler",
    "securityContext": {},
}


def test_pod() -> None:
    item = filled("po", {"spec": {"containers": [container()]}})
    assert item["spec"] == {
        **DEFAULT_TEMPLATE,
        "containers": [DEFAULT_CONTAINER],
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "enableServiceLinks": True,
    }
    assert item["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


PATIENCE = [
    {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for state in ("not-ready", "unreachable")
]


def admitted(spec: Json, old: Json | None = None) -> Json:
    item: Json = {"metadata": {"name": "x"}, "spec": copy.deepcopy(spec)}
    POD.admit(item, None if old is None else {"metadata": {"name": "x"}, "spec": old})
    found: Json = item["spec"]
    return found


def test_a_new_pod_gets_a_priority_and_patience() -> None:
    assert admitted({}) == {"priority": 0, "preemptionPolicy": "PreemptLowerPriority", "tolerations": PATIENCE}
    assert admitted({"priorityClassName": "system-node-critical"})["priority"] == 2000001000
    assert "priority" not in admitted({"priorityClassName": "mine"})
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    assert admitted({"tolerations": [own]})["tolerations"] == [own, PATIENCE[1]]
    assert admitted({"tolerations": [{"operator": "Exists"}]})["tolerations"] == [{"operator": "Exists"}]


def test_a_changed_pod_keeps_what_it_was_given() -> None:
    before = admitted({})
    assert admitted({}, before) == before
    assert admitted({}, {}) == {}, "one of before there were these"


def test_what_is_set_stays() -> None:
    spec = {
        "containers": [container(imagePullPolicy="Never", terminationMessagePolicy="FallbackToLogsOnError")],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "serviceAccountName": "bob",
        "enableServiceLinks": False,
    }
    found = filled("po", {"spec": spec})["spec"]
    assert found["restartPolicy"] == "Never"
    assert found["terminationGracePeriodSeconds"] == 0
    assert found["serviceAccount"] == found["serviceAccountName"] == "bob"
    assert found["enableServiceLinks"] is False
    assert found["containers"][0]["imagePullPolicy"] == "Never"
    assert found["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_old_name_of_the_service_account_counts() -> None:
    found = filled("deploy", {"spec": {"template": {"spec": {"serviceAccount": "bob", "containers": []}}}})
    assert found["spec"]["template"]["spec"]["serviceAccountName"] == "bob"


def test_requests_follow_limits_in_pods_only() -> None:
    resources = {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "0.5"}}
    pod = filled("po", {"spec": {"containers": [container(resources=resources)]}})
    assert pod["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m", "memory": "1Gi"},
    }
    template = {"spec": {"containers": [container(resources=resources)]}}
    deployment = filled("deploy", {"spec": {"template": template}})
    shown = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert shown == {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1.2", "IfNotPresent"),
        ("nginx:1", "IfNotPresent"),
        ("nginx@sha256:0123", "IfNotPresent"),
        ("nginx:latest@sha256:0123", "Always"),
        ("nginx:1@sha256:0123", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_probes_ports_and_environment() -> None:
    item = container(
        ports=[{"containerPort": 80}],
        readinessProbe={"httpGet": {"port": 80}, "periodSeconds": 3},
        livenessProbe={"tcpSocket": {"port": 80}},
        startupProbe={"grpc": {"port": 9000}},
        lifecycle={"preStop": {"httpGet": {"port": 80}}},
        env=[
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
    )
    found = filled("po", {"spec": {"initContainers": [item], "containers": [container()]}})["spec"]["initContainers"][0]
    numbers = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    assert found["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert found["readinessProbe"] == {
        **numbers,
        "periodSeconds": 3,
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
    }
    assert found["livenessProbe"] == {**numbers, "tcpSocket": {"port": 80}}
    assert found["startupProbe"] == {**numbers, "grpc": {"port": 9000, "service": ""}}
    assert found["lifecycle"]["preStop"]["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTP"}
    assert found["env"][0]["valueFrom"]["fieldRef"] == {"fieldPath": "metadata.name", "apiVersion": "v1"}
    assert found["env"][1]["valueFrom"]["resourceFieldRef"] == {"resource": "limits.cpu", "divisor": "0"}


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"configMap": {"name": "a"}}, {"configMap": {"name": "a", "defaultMode": 420}}),
        ({"secret": {"secretName": "a"}}, {"secret": {"secretName": "a", "defaultMode": 420}}),
        ({"secret": {"secretName": "a", "defaultMode": 0}}, {"secret": {"secretName": "a", "defaultMode": 0}}),
        (
            {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {
                "downwardAPI": {
                    "defaultMode": 420,
                    "items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}],
                }
            },
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                }
            },
        ),
        ({"hostPath": {"path": "/a"}}, {"hostPath": {"path": "/a", "type": ""}}),
        ({"image": {"reference": "a:1"}}, {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}}),
        ({"image": {"reference": "a"}}, {"image": {"reference": "a", "pullPolicy": "Always"}}),
        ({"persistentVolumeClaim": {"claimName": "a"}}, {"persistentVolumeClaim": {"claimName": "a"}}),
    ],
)
def test_volumes(volume: Json, expected: Json) -> None:
    found = filled("po", {"spec": {"containers": [container()], "volumes": [{"name": "v", **volume}]}})
    assert found["spec"]["volumes"] == [{"name": "v", **expected}]


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ([{}], "BestEffort"),
        ([{"limits": {"nvidia.com/gpu": "1"}}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[Json], quality: str) -> None:
    assert quality_of_service({"containers": [container(resources=one) for one in resources]}) == quality


def test_deployment() -> None:
    item = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [container()]}}}}
    found = filled("deploy", item)
    assert found["spec"] == {
        "selector": {"matchLabels": {"a": "b"}},
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "template": {"metadata": {}, "spec": {**DEFAULT_TEMPLATE, "containers": [DEFAULT_CONTAINER]}},
    }
    assert "labels" not in found["metadata"]


def test_deployment_that_recreates_gets_no_rolling_update() -> None:
    found = filled("deploy", {"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}})
    assert found["spec"]["strategy"] == {"type": "Recreate"}
    assert found["spec"]["replicas"] == 0


def test_a_surge_of_zero_stays() -> None:
    found = filled("deploy", {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}})
    assert found["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "25%"}


def test_replica_set() -> None:
    assert filled("rs", {"spec": {}})["spec"]["replicas"] == 1


def test_headless_service() -> None:
    found = filled("svc", {"spec": {"clusterIP": "None", "ports": [{"port": 80}]}})
    assert found["spec"] == {
        "clusterIP": "None",
        "clusterIPs": ["None"],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }
    assert found["status"] == {"loadBalancer": {}}


def test_a_service_without_an_address_gets_none_here() -> None:
    assert "clusterIP" not in filled("svc", {"spec": {"ports": [{"port": 80, "targetPort": "http"}]}})["spec"]


def test_other_services() -> None:
    outside = filled("svc", {"spec": {"type": "NodePort", "sessionAffinity": "ClientIP"}})["spec"]
    assert outside["externalTrafficPolicy"] == "Cluster"
    assert outside["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    external = filled("svc", {"spec": {"type": "ExternalName", "externalName": "a.example"}})["spec"]
    assert external == {"type": "ExternalName", "externalName": "a.example", "sessionAffinity": "None"}


def test_secret() -> None:
    found = filled("secrets", {"data": {"a": "eA=="}, "stringData": {"a": "y", "b": "ß"}})
    assert found["data"] == {"a": "eQ==", "b": "w58="}
    assert found["type"] == "Opaque"
    assert "stringData" not in found


def test_namespace() -> None:
    found = filled("ns", {"metadata": {"name": "x", "labels": {"a": "b"}}})
    assert found["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "x"}
    assert found["spec"] == {"finalizers": ["kubernetes"]}
    assert found["status"] == {"phase": "Active"}


def test_a_dying_namespace_does_not_get_its_finalizer_back() -> None:
    item = {"metadata": {"name": "x", "deletionTimestamp": "now"}, "spec": {}, "status": {"phase": "Terminating"}}
    found = filled("ns", item)
    assert found["spec"] == {}
    assert found["status"] == {"phase": "Terminating"}


def test_persistent_volume_claim() -> None:
    found = filled("pvc", {"spec": {"resources": {"requests": {"storage": "1024Mi"}}}})
    assert found["spec"] == {
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "skerry-local",
        "volumeMode": "Filesystem",
    }
    for kept in ({"storageClassName": ""}, {"volumeName": "mine"}):
        assert filled("pvc", {"spec": kept})["spec"] == {**kept, "volumeMode": "Filesystem"}
    assert found["status"] == {"phase": "Pending"}


def test_route() -> None:
    backends = [{"name": "b", "weight": 0}]
    found = filled("routes", {"spec": {"to": {"name": "a"}, "alternateBackends": backends, "tls": {}}})
    assert found["spec"] == {
        "to": {"name": "a", "kind": "Service", "weight": 100},
        "alternateBackends": [{"name": "b", "kind": "Service", "weight": 0}],
        "wildcardPolicy": "None",
        "tls": {"termination": "edge"},
    }


def test_endpoints_and_slices() -> None:
    assert filled("ep", {"subsets": [{"ports": [{"port": 1}]}]})["subsets"][0]["ports"][0]["protocol"] == "TCP"
    assert filled("endpointslices", {"ports": [{"port": 1}]})["ports"] == [{"name": "", "port": 1, "protocol": "TCP"}]


@pytest.mark.parametrize("kind", list(REGISTRY), ids=lambda kind: f"{kind.group}/{kind.kind}")
@pytest.mark.parametrize("spec", [{}, {"spec": None, "status": None}, {"spec": {}}])
def test_defaults_can_fill_next_to_nothing_and_fill_it_once(kind: Any, spec: Json) -> None:
    item = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x"}, **copy.deepcopy(spec)}
    kind.default(item)
    once = copy.deepcopy(item)
    kind.default(item)
    assert item == once


def test_nulls_count_as_absent() -> None:
    spec = {"containers": [container(resources=None, ports=None, env=None)], "volumes": None, "restartPolicy": None}
    item: Json = {"metadata": {"name": "x"}, "spec": spec, "status": None}
    POD.default(item)
    assert item["spec"]["restartPolicy"] == "Always"
    assert item["spec"]["containers"][0]["resources"] == {}


def test_job() -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [container()]}}
    item = filled("job", {"metadata": {"name": "j", "uid": "u"}, "spec": {"template": template}})
    labels = {
        "batch.kubernetes.io/controller-uid": "u",
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": "u",
        "job-name": "j",
    }
    assert item["metadata"]["labels"] == labels
    assert item["spec"] == {
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "completions": 1,
        "manualSelector": False,
        "parallelism": 1,
        "podReplacementPolicy": "TerminatingOrFailed",
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
        "suspend": False,
        "template": {
            "metadata": {"labels": labels},
            "spec": {**DEFAULT_TEMPLATE, "restartPolicy": "Never", "containers": [DEFAULT_CONTAINER]},
        },
    }
    queue = filled("job", {"metadata": {"name": "j"}, "spec": {"parallelism": 3, "template": template}})
    assert "completions" not in queue["spec"]
    assert "selector" not in queue["spec"], "a name without a uid selects nothing"


def test_autoscaler() -> None:
    item = filled("hpa", {"spec": {"maxReplicas": 3, "behavior": {"scaleDown": {"selectPolicy": "Min"}}}})
    target = {"type": "Utilization", "averageUtilization": 80}
    pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
    share = {"type": "Percent", "value": 100, "periodSeconds": 15}
    assert item["spec"] == {
        "maxReplicas": 3,
        "minReplicas": 1,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, share]},
            "scaleDown": {"selectPolicy": "Min", "policies": [share]},
        },
    }
    assert "behavior" not in filled("hpa", {"spec": {"maxReplicas": 3}})["spec"]
