"""What kubectl prints of what is there, by an older and a newer version of it.

    the server       api-resources, api-versions, explain in both forms, version, cluster-info, config view
    objects          output formats, columns, selectors, sorting, labels, managed fields, watches
    descriptions     of every kind, with its events

Text is that of the same kubectl against a real server, where it comes from the server.
"""

import re

import pytest
import yaml
from tests.conformance.ctl import Ctl
from tests.e2e.running import eventually

pytestmark = pytest.mark.e2e

OBJECTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: first, labels: {tier: b}}
data: {k: one}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: second, labels: {tier: a}, annotations: {note: said}}
data: {k: two}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: "example.com/nowhere:1", ports: [{containerPort: 80}]}]
"""


def test_what_the_server_has(ctl: Ctl) -> None:
    # The first of a name: metrics.k8s.io has pods and nodes of its own.
    listed = {line.split()[0]: line.split() for line in reversed(ctl.lines("api-resources"))}
    assert listed["NAME"] == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    assert listed["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert listed["nodes"] == ["nodes", "no", "v1", "false", "Node"]
    assert listed["inferenceservices"][1:] == ["isvc", "serving.kserve.io/v1beta1", "true", "InferenceService"]
    wide = ctl("api-resources", "--api-group=apps", "-o", "wide")
    assert re.search(r"deployments +deploy +apps/v1 +true +Deployment +create,delete,.*,watch +all\n", wide)
    assert set(ctl.lines("api-resources", "--namespaced=false", "-o", "name")) >= {"namespaces", "nodes"}
    assert ctl.lines("api-versions") == sorted(ctl.lines("api-versions"))
    assert {"v1", "apps/v1", "serving.kserve.io/v1beta1"} <= set(ctl.lines("api-versions"))
    version = yaml.safe_load(ctl.run("version", "-o", "yaml").stdout)
    assert (version["serverVersion"]["major"], version["serverVersion"]["minor"]) == ("1", "35")
    info = re.sub(r"\x1b\[[0-9;]*m", "", ctl("cluster-info"))
    assert re.match(r"Kubernetes control plane is running at https://127\.0\.0\.1:\d+\n", info)
    assert "token: REDACTED" in ctl("config", "view")
    assert ctl("get", "--raw", "/readyz") == "ok"


def test_explanations(ctl: Ctl) -> None:
    text = ctl("explain", "deployment.spec.strategy")
    assert text.startswith(
        "GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\nFIELD: strategy <DeploymentStrategy>"
    )
    assert "  rollingUpdate\t<RollingUpdateDeployment>\n" in text
    tree = ctl("explain", "pod", "--recursive")
    assert "\n  spec\t<PodSpec>\n    activeDeadlineSeconds\t<integer>\n" in tree
    assert "FIELD: modelFormat <ModelFormat>" in ctl("explain", "isvc.spec.predictor.model.modelFormat")
    missing = 'error: field "nope" does not exist\n'
    assert ctl.refused("explain", "pod.spec.nope") == missing
    older = ctl("explain", "deployment.spec.strategy", "--output=plaintext-openapiv2")
    assert older.startswith("KIND:     Deployment\nVERSION:  apps/v1\n\nRESOURCE: strategy <Object>\n\nDESCRIPTION:\n")
    assert "\n   rollingUpdate\t<Object>\n" in older
    both = ctl("explain", "pod.spec.containers.env", "--recursive", "--output=plaintext-openapiv2")
    assert "   valueFrom\t<Object>\n      configMapKeyRef\t<Object>\n         key\t<string>\n" in both
    assert "name\t<string>" in ctl(
        "explain", "isvc.spec.predictor.model", "--recursive", "--output=plaintext-openapiv2"
    )


def test_every_form_of_output(ctl: Ctl) -> None:
    ctl("create", "-f", "-", stdin=OBJECTS)
    maps = ("get", "configmaps", "-l", "tier")
    assert ctl.lines(*maps, "--sort-by={.data.k}", "-o", "name") == ["configmap/first", "configmap/second"]
    assert ctl.lines(*maps, "--sort-by={.metadata.labels.tier}", "-o", "name") == [
        "configmap/second",
        "configmap/first",
    ]
    assert ctl(*maps, "-o", "jsonpath={range .items[*]}{.metadata.name}={.data.k};{end}") == "first=one;second=two;"
    template = '{{range .items}}{{.metadata.name}} {{len .data}}{{"\\n"}}{{end}}'
    assert ctl(*maps, "-o", f"go-template={template}") == "first 1\nsecond 1\n"
    shown = ctl.lines(*maps, "-o", "custom-columns=NAME:.metadata.name,NOTE:.metadata.annotations.note")
    assert [line.split() for line in shown] == [["NAME", "NOTE"], ["first", "<none>"], ["second", "said"]]
    table = ctl.lines(*maps, "--show-labels", "-L", "tier")
    assert table[0].split() == ["NAME", "DATA", "AGE", "TIER", "LABELS"]
    assert table[1].split()[3:] == ["b", "tier=b"]
    assert ctl.lines(*maps, "--no-headers")[0].split()[:2] == ["first", "1"]
    assert ctl.lines("get", "cm", "--field-selector", "metadata.name=second", "-o", "name") == ["configmap/second"]
    refused = ctl.refused("get", "cm", "--field-selector", "data.k=one")
    assert "field label not supported: data.k" in refused
    assert "managedFields" not in ctl("get", "cm", "first", "-o", "yaml")
    owners = ctl.item("cm", "first", "--show-managed-fields")["metadata"]["managedFields"]
    assert [(one["manager"], one["operation"]) for one in owners] == [("kubectl-create", "Update")]
    assert ctl.lines("get", "cm/first", "cm/second", "-o", "name") == ["configmap/first", "configmap/second"]
    assert ctl.run("get", "pods").stderr == f"No resources found in {ctl.namespace} namespace.\n"


def test_descriptions_of_every_kind(ctl: Ctl) -> None:
    """Of each kind that is there: kubectl has a describer of its own for most, and a general one for the others."""
    ctl("apply", "-f", "-", stdin=WEB)
    ctl("expose", "deployment", "web", "--port=80")
    ctl("create", "secret", "generic", "hidden", "--from-literal=k=v")
    eventually(lambda: ctl.lines("get", "pods", "-o", "name"), "a pod")
    pod = eventually(
        lambda: find(ctl("describe", "pods", "-l", "app=web"), r"Warning +Failed +\S+ +kubelet"), "its event"
    )
    assert pod
    described = {
        "deployment/web": (r"Replicas: +1 desired \| 1 updated \| 1 total", r"ScalingReplicaSet"),
        "replicaset": (r"Controlled By:  Deployment/web", r"SuccessfulCreate"),
        "service/web": (r"Selector: +app=web", r"TargetPort: +80/TCP"),
        "secret/hidden": (r"Type: +Opaque", r"k:  1 bytes"),
        "configmap/kube-root-ca.crt": (r"ca.crt:\n----\n",),
        "serviceaccount/default": (r"Name: +default",),
        "endpointslice": (r"AddressType: +IPv4",),
        "node": (r"Ready +True", r"Allocated resources:"),
        "ns/default": (r"Status: +Active",),
        "clusterservingruntime": (r"Kind: +ClusterServingRuntime", r"Supported Model Formats:"),
    }
    for what, patterns in described.items():
        text = ctl.run("describe", *what.split("/")).stdout
        for pattern in patterns:
            assert find(text, pattern), (what, pattern, text)
    events = ctl("events", "--for", "deployment/web")
    assert find(events, r"Normal +ScalingReplicaSet +Deployment/web +Scaled up replica set web-\w+ from 0 to 1")
    assert ctl.lines("get", "events", "--field-selector", "reason=ScalingReplicaSet", "-o", "name")


def find(text: str, pattern: str) -> bool:
    return re.search(pattern, text) is not None


def test_a_watch_prints_each_change(ctl: Ctl) -> None:
    """The end of the watch is the object's own: kubectl ends with its time, and has printed every state before."""
    ctl("create", "configmap", "seen", "--from-literal=k=v")
    ctl("label", "configmap", "seen", "step=1")
    words = ("get", "cm", "-l", "step", "--watch", "--output-watch-events", "--request-timeout=1s", "--no-headers")
    assert ctl.run(*words).stdout.split()[:3] == ["ADDED", "seen", "1"]
