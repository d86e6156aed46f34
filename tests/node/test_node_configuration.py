"""From a container's spec to program, environment and paths."""

import base64
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import Container as ContainerModel
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret

from skerry.cluster.node import mounts
from skerry.cluster.node.containers import Mount
from skerry.cluster.node.environment import ConfigError, environment, surroundings
from skerry.cluster.node.expansion import expand
from skerry.cluster.node.mounts import MountError, PathRewriter
from skerry.cluster.node.native import NativeTable, NoCommand, NotNative, OtherCommand, program, repository, set_flags
from skerry.cluster.node.podfields import PodFacts
from skerry.cluster.node.volumes import Source

FACTS = PodFacts("skerry", "127.0.0.1", "127.2.0.1", {"cpu": "4", "memory": "8388608Ki"})
OVMS = "quay.io/modh/openvino_model_server@sha256:5d6a1b1d"


class Known:
    """ConfigMaps and Secrets of one namespace."""

    def __init__(self, **data: dict[str, str]) -> None:
        self._data = data

    def config_map(self, namespace: str, name: str) -> Any | None:
        return msgspec.convert({"data": self._data[name]}, type=ConfigMap) if name in self._data else None

    def secret(self, namespace: str, name: str) -> Any | None:
        if name not in self._data:
            return None
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in self._data[name].items()}
        return msgspec.convert({"data": encoded}, type=Secret)


def a_container(**fields: Any) -> Any:
    return msgspec.convert({"name": "main", **fields}, type=ContainerModel)


def a_pod(container: Any) -> Any:
    metadata = {"name": "bee", "namespace": "ai-demo", "uid": "u-1", "labels": {"app": "bee", "zone": 'a"b'}}
    pod = msgspec.convert({"metadata": metadata, "spec": {"containers": [{"name": "x"}]}}, type=Pod)
    assert pod.spec is not None
    pod.spec.containers = [container]
    return pod


def env_of(known: Known | None = None, **fields: Any) -> dict[str, str]:
    container = a_container(**fields)
    return environment(a_pod(container), container, known or Known(), FACTS)


# $(NAME)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$(NOPE)", "$(NOPE)"),
        ("$A $", "$A $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$($(A))", "$($(A))"),
        ("", ""),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert result == expand(text, {"A": "1", "B": "2"})


@given(st.text(alphabet="$()AB x", max_size=30))
def test_expansion_of_doubled_dollars_gives_the_text_back(text: str) -> None:
    assert text == expand(text.replace("$", "$$"), {"A": "1"})


# Environment


def test_values_refer_to_earlier_ones_only() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}]
    assert {"A": "1", "B": "1$(C)", "C": "3"} == env_of(env=env)


def test_fields_and_resources() -> None:
    def field(path: str) -> dict[str, Any]:
        return {"name": path, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    def limit(name: str, resource: str, divisor: str = "0") -> dict[str, Any]:
        return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}

    paths = {
        "metadata.name": "bee",
        "metadata.namespace": "ai-demo",
        "metadata.uid": "u-1",
        "metadata.labels['app']": "bee",
        "metadata.labels": 'app="bee"\nzone="a\\"b"',
        "spec.nodeName": "skerry",
        "status.podIP": "127.2.0.1",
        "status.hostIP": "127.0.0.1",
    }
    assert paths == env_of(env=[field(path) for path in paths])
    limits = [limit("cpu", "limits.cpu"), limit("mem", "limits.memory", "1Mi"), limit("req", "requests.cpu", "1m")]
    resources = {"limits": {"memory": "1500Ki"}, "requests": {"cpu": "250m"}}
    assert {"cpu": "4", "mem": "2", "req": "250"} == env_of(env=limits, resources=resources)
    with pytest.raises(ConfigError, match="unsupported fieldPath: spec.hostname"):
        env_of(env=[field("spec.hostname")])


def test_config_maps_and_secrets() -> None:
    known = Known(cm={"a": "1", "b": "2"}, sec={"p": "geheim"})
    env = [
        {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "a"}}},
        {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "p"}}},
        {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "no", "key": "p", "optional": True}}},
        {"name": "b", "value": "own"},
    ]
    sources = [{"configMapRef": {"name": "cm"}}, {"prefix": "S_", "secretRef": {"name": "sec"}}]
    expected = {"a": "1", "b": "own", "S_p": "geheim", "ONE": "1", "PASS": "geheim"}
    assert expected == env_of(known, env=env, envFrom=sources)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "a"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "no", "key": "a"}}, 'secret "no" not found'),
        ({"configMapKeyRef": {"name": "cm", "key": "z"}}, "couldn't find key z in ConfigMap ai-demo/cm"),
        ({"secretKeyRef": {"name": "cm", "key": "z"}}, "couldn't find key z in Secret ai-demo/cm"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        env_of(Known(cm={"a": "1"}), env=[{"name": "X", "valueFrom": source}])
    assert message == str(caught.value)


def test_a_missing_source_of_env_from() -> None:
    with pytest.raises(ConfigError, match='secret "no" not found'):
        env_of(envFrom=[{"secretRef": {"name": "no"}}])
    assert {} == env_of(envFrom=[{"secretRef": {"name": "no", "optional": True}}])


def test_the_surroundings() -> None:
    found = surroundings(a_pod(a_container()), "/home/x", ("127.0.0.1", 6443))
    assert (found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "6443")
    assert not [name for name in surroundings(a_pod(a_container()), "/", None) if name.startswith("KUBERNETES")]
    assert ("bee", "/home/x", "/home/x") == (found["HOSTNAME"], found["HOME"], found["TMPDIR"])


# Native images


@pytest.mark.parametrize(
    "image",
    [
        "quay.io/opendatahub/openvino_model_server:stable",
        "quay.io/opendatahub/openvino_model_server:2025.1-release",
        OVMS,
        "docker.io/openvino/model_server:2025.2-gpu",
        "openvino/model_server:latest",
        "registry.connect.redhat.com/intel/openvino/model_server",
        "registry.redhat.io/rhoai/odh-openvino-model-server-rhel9@sha256:00ff",
        "localhost:5000/mirror/openvino_model_server:1",
    ],
)
def test_every_name_of_the_model_server_is_native(image: str) -> None:
    assert "openvino-model-server" == NativeTable([]).find(image).name


def test_an_unknown_image_says_what_to_do() -> None:
    with pytest.raises(NotNative) as caught:
        NativeTable([]).find("docker.io/library/nginx:1.27")
    assert "image 'docker.io/library/nginx:1.27' is not native on this node" in str(caught.value)
    assert "images.d/" in str(caught.value)


def test_repositories() -> None:
    written = {
        "a/b:1": "a/b",
        "a/b": "a/b",
        "h:5000/a/b": "h:5000/a/b",
        "h:5000/a:2@sha256:1": "h:5000/a",
        "nginx:1": "nginx",
    }
    assert written == {image: repository(image) for image in written}


def test_the_model_server_is_bound_to_the_pods_address() -> None:
    entry = NativeTable([]).find(OVMS)
    args = ["--model_name=m", "--port=8001", "--grpc_bind_address=0.0.0.0", "--rest_bind_address", "0.0.0.0"]
    result = program(entry, OVMS, [], [*args, "--layout=NHWC:NCHW"], "127.2.0.1")
    assert [sys.executable, "-m", "skerry.server", "--model_control_mode=none"] == result.argv[:4]
    expected = ["--model_name=m", "--port=8001", "--grpc_bind_address=127.2.0.1", "--rest_bind_address", "127.2.0.1"]
    assert [*expected, "--layout=NHWC:NCHW"] == result.argv[4:]


def test_missing_flags_are_added() -> None:
    assert ["--a=1", "--b=2"] == set_flags(["--a=0"], {"--a": "1", "--b": "2"})
    assert ["--a", "1"] == set_flags(["--a"], {"--a": "1"})


def test_a_command_may_name_the_images_own_entrypoint_only() -> None:
    entry = NativeTable([]).find(OVMS)
    assert "--x" in program(entry, OVMS, ["/ovms/bin/ovms", "--x"], [], "127.2.0.1").argv
    with pytest.raises(OtherCommand, match="its program '/bin/sh' is not"):
        program(entry, OVMS, ["/bin/sh", "-c", "id"], [], "127.2.0.1")


def test_a_later_entry_wins_and_changes_are_seen(tmp_path: Path) -> None:
    table = NativeTable([tmp_path])
    assert "openvino-model-server" == table.find(OVMS).name
    mine = "images: [{name: mine, match: ['*/openvino_model_server'], command: [/opt/ovms]}]"
    (tmp_path / "10-mine.yaml").write_text(mine)
    assert "mine" == table.find(OVMS).name
    (tmp_path / "99-broken.yaml").write_text("images: [{nome: x}]")
    assert "mine" == table.find(OVMS).name, "a broken file does not take the others along"


# Mounts


def test_mounts_follow_the_volumes() -> None:
    sources = {"m": Source(Path("/store/x"), read_only=True), "w": Source(Path("/work"))}
    wanted = [
        {"name": "m", "mountPath": "/mnt/models", "subPath": "models"},
        {"name": "w", "mountPath": "/w", "readOnly": True},
        {"name": "w", "mountPath": "/v", "subPathExpr": "$(POD)/x"},
    ]
    found = mounts.plan(a_container(volumeMounts=wanted), sources, {"POD": "bee"})
    expected = [
        Mount("/store/x", "/mnt/models", read_only=True, sub_path="models"),
        Mount("/work", "/w", read_only=True),
        Mount("/work", "/v", read_only=False, sub_path="bee/x"),
    ]
    assert expected == found


@pytest.mark.parametrize("sub_path", ["../x", "/etc", "a/../../b"])
def test_sub_paths_stay_in_their_volume(sub_path: str) -> None:
    container = a_container(volumeMounts=[{"name": "w", "mountPath": "/w", "subPath": sub_path}])
    with pytest.raises(MountError, match="must stay in the volume"):
        mounts.plan(container, {"w": Source(Path("/work"))}, {})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("--model_path=/mnt/models", "--model_path=/store/image/models"),
        ("/mnt/models/1/m.xml", "/store/image/models/1/m.xml"),
        ("a=/mnt/models:b=/mnt/models,", "a=/store/image/models:b=/store/image/models,"),
        ('{"path": "/mnt/models"}', '{"path": "/store/image/models"}'),
        ("/mnt/models2", "/mnt/models2"),
        ("/other/mnt/models", "/other/mnt/models"),
        ("/mnt/models/sub/x", "/inner/x"),
        ("file:///mnt/models", "file:///store/image/models"),
        ("nothing", "nothing"),
    ],
)
def test_paths_are_rewritten_where_mounts_cannot_be_made(text: str, result: str) -> None:
    found = [Mount("/store/image", "/mnt/models", True, "models"), Mount("/inner", "/mnt/models/sub", True)]
    assert result == PathRewriter(found).text(text)


def test_an_image_without_a_program_runs_command_or_arguments() -> None:
    """`kubectl run NAME --image=localhost/skerry-shell -- sh -c …` sends only arguments."""
    image = "localhost/skerry-shell"
    entry = NativeTable([]).find(image)
    assert program(entry, image, [], ["sh", "-c", "true"], "127.0.0.9").argv == ["sh", "-c", "true"]
    assert program(entry, image, ["sh"], ["-c", "true"], "127.0.0.9").argv == ["sh", "-c", "true"]
    with pytest.raises(NoCommand, match="they say nothing"):
        program(entry, image, [], [], "127.0.0.9")
