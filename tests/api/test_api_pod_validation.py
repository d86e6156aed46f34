"""What is wrong with a pod, in the words of a real API server."""

from typing import Any

import pytest
from tests.api.judging import Json, changed, complaints

GOOD: Json = {
    "spec": {
        "initContainers": [{"name": "first", "image": "i"}],
        "containers": [
            {
                "name": "c",
                "image": "i",
                "ports": [
                    {"name": "http", "containerPort": 80},
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                ],
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "any thing", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a.b/c']"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                    {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k.y_z"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}],
                "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "x/y"}],
                "resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}},
                "readinessProbe": {"httpGet": {"port": "http", "httpHeaders": [{"name": "X-A", "value": "1"}]}},
                "livenessProbe": {"exec": {"command": ["true"]}},
                "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
    }
}


def wrong(path: str, value: Any) -> list[str]:
    return complaints("po", changed(GOOD, f"spec.{path}", value))


def test_a_good_pod() -> None:
    assert complaints("po", GOOD) == []


C = "containers.0"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("containers", [], "spec.containers: Required value"),
        (f"{C}.name", "", "spec.containers[0].name: Required value"),
        (f"{C}.name", "A", f'spec.containers[0].name: Invalid value: "A": {LABEL}'),
        (f"{C}.name", "first", 'spec.containers[0].name: Duplicate value: "first"'),
        (f"{C}.image", "", "spec.containers[0].image: Required value"),
        (
            f"{C}.image",
            " i",
            'spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace',
        ),
        (
            f"{C}.imagePullPolicy",
            "Maybe",
            (
                'spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": '
                'supported values: "Always", "IfNotPresent", "Never"'
            ),
        ),
        (
            f"{C}.ports.0.containerPort",
            70000,
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (f"{C}.ports.0.containerPort", 0, "spec.containers[0].ports[0].containerPort: Required value"),
        (f"{C}.ports.1.name", "http", 'spec.containers[0].ports[1].name: Duplicate value: "http"'),
        (
            f"{C}.ports.1.protocol",
            "ICMP",
            'spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
        ),
        (f"{C}.env.0.name", "", "spec.containers[0].env[0].name: Required value"),
        (
            f"{C}.env.0.name",
            "A=B",
            (
                'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must '
                "consist only "
                "of printable ASCII characters other than '='"
            ),
        ),
        (
            f"{C}.env.1.valueFrom",
            {},
            (
                'spec.containers[0].env[1].valueFrom: Invalid value: "": must specify one of: '
                "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            ),
        ),
        (
            f"{C}.env.1.value",
            "x",
            'spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
        ),
        (
            f"{C}.env.1.valueFrom.secretKeyRef",
            {"name": "s", "key": "k"},
            (
                'spec.containers[0].env[1].valueFrom: Invalid value: "": '
                "may not have more than one field specified at a time"
            ),
        ),
        (
            f"{C}.env.3.valueFrom.secretKeyRef.key",
            "",
            "spec.containers[0].env[3].valueFrom.secretKeyRef.key: Required value",
        ),
        (f"{C}.volumeMounts.0.name", "w", 'spec.containers[0].volumeMounts[0].name: Not found: "w"'),
        (f"{C}.volumeMounts.0.mountPath", "", "spec.containers[0].volumeMounts[0].mountPath: Required value"),
        (
            f"{C}.volumeMounts",
            [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}],
            'spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
        ),
        (
            f"{C}.volumeMounts.0.subPath",
            "/x",
            'spec.containers[0].volumeMounts[0].subPath: Invalid value: "/x": must be a relative path',
        ),
        (
            f"{C}.volumeMounts.0.subPath",
            "a/../b",
            "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"a/../b\": must not contain '..'",
        ),
        (
            f"{C}.resources.requests.cpu",
            "3",
            'spec.containers[0].resources.requests: Invalid value: "3": must be less than or equal to cpu limit of 2',
        ),
        (
            f"{C}.resources.requests",
            {"nvidia.com/gpu": "2"},
            'spec.containers[0].resources.requests: Invalid value: "2": must be equal to nvidia.com/gpu limit of 1',
        ),
        (
            f"{C}.resources.limits.memory",
            "-1",
            'spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            f"{C}.resources.limits.memroy",
            "1",
            (
                'spec.containers[0].resources.limits[memroy]: Invalid value: "memroy": '
                "must be a standard resource for containers"
            ),
        ),
        (f"{C}.readinessProbe", {}, "spec.containers[0].readinessProbe: Required value: must specify a handler type"),
        (
            f"{C}.readinessProbe.exec",
            {"command": ["a"]},
            "spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
        ),
        (
            f"{C}.readinessProbe.httpGet.port",
            0,
            "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            f"{C}.readinessProbe.httpGet.scheme",
            "FTP",
            (
                'spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: '
                '"HTTP", "HTTPS"'
            ),
        ),
        (
            f"{C}.readinessProbe.periodSeconds",
            -1,
            "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            f"{C}.livenessProbe.successThreshold",
            2,
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            "initContainers.0.livenessProbe",
            {"exec": {"command": ["a"]}},
            (
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without "
                "restartPolicy=Always"
            ),
        ),
        (
            "restartPolicy",
            "Sometimes",
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
        ),
        (
            "activeDeadlineSeconds",
            0,
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "terminationGracePeriodSeconds",
            -1,
            "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        ("volumes.0.name", "v_", f'spec.volumes[0].name: Invalid value: "v_": {LABEL}'),
    ],
)
def test_one_mistake_one_complaint(path: str, value: Any, message: str) -> None:
    found = wrong(path, value)
    assert message in found
    # A limit is a request too, and a volume of another name leaves its mount behind.
    assert len(found) == (2 if "limits" in path or path == "volumes.0.name" else 1)


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (
            {"emptyDir": {}, "secret": {"secretName": "a"}},
            ".secret: Forbidden: may not specify more than 1 volume type",
        ),
        ({"secret": {}}, ".secret.secretName: Required value"),
        ({"configMap": {}}, ".configMap.name: Required value"),
        ({"persistentVolumeClaim": {"claimName": ""}}, ".persistentVolumeClaim.claimName: Required value"),
        ({"image": {}}, ".image.reference: Required value"),
        (
            {"configMap": {"name": "a", "defaultMode": 512}},
            ".configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            {"configMap": {"name": "a", "items": [{"key": "k", "path": "../x"}]}},
            ".configMap.items[0].path: Invalid value: \"../x\": must not start with '..'",
        ),
        (
            {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "spec.nodeName"}}]}},
            (
                '.downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: '
                '"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"'
            ),
        ),
        (
            {"hostPath": {"path": "/a/../b"}},
            ".hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            {"emptyDir": {"medium": "Tape"}},
            '.emptyDir.medium: Unsupported value: "Tape": supported values: "HugePages", "Memory"',
        ),
        (
            {"projected": {"sources": [{"secret": {}}, {"serviceAccountToken": {}}]}},
            ".projected.sources[0].secret.name: Required value",
        ),
    ],
)
def test_volumes(volume: Json, message: str) -> None:
    assert f"spec.volumes[0]{message}" in wrong("volumes", [{"name": "v", **volume}])


def test_two_containers_may_not_take_one_port_of_the_host() -> None:
    containers = [
        {"name": name, "image": "i", "ports": [{"containerPort": 80, "hostPort": 8080}]} for name in ("a", "b")
    ]
    assert wrong("containers", containers) == ['spec.containers[1].ports[0].hostPort: Duplicate value: "TCP//8080"']


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{C}.image", "other"),
        ("initContainers.0.image", "other"),
        ("tolerations", [{"key": "a"}]),
        ("activeDeadlineSeconds", 10),
    ],
)
def test_what_may_change_in_a_pod(path: str, value: Any) -> None:
    assert complaints("po", changed(GOOD, f"spec.{path}", value), GOOD) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{C}.name", "other"),
        (f"{C}.command", ["x"]),
        ("restartPolicy", "Never"),
        ("terminationGracePeriodSeconds", 5),
        ("volumes", []),
    ],
)
def test_what_may_not_change_in_a_pod(path: str, value: Any) -> None:
    found = complaints("po", changed(GOOD, f"spec.{path}", value), GOOD)
    assert len(found) == 1
    assert found[0].startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    )


def test_a_deadline_may_only_come_nearer() -> None:
    old = changed(GOOD, "spec.activeDeadlineSeconds", 10)
    assert complaints("po", changed(GOOD, "spec.activeDeadlineSeconds", 5), old) == []
    assert complaints("po", changed(GOOD, "spec.activeDeadlineSeconds", 11), old) == [
        "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"
    ]


def test_a_toleration_stays() -> None:
    old = changed(GOOD, "spec.tolerations", [{"key": "a"}])
    assert complaints("po", GOOD, old) == [
        "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    ]


def test_an_update_does_not_judge_again_what_was_let_in() -> None:
    old = changed(GOOD, "spec.containers.0.volumeMounts.0.name", "gone")
    assert complaints("po", changed(old, "metadata.labels", {"a": "b"}), old) == []
