"""Directories to objects: what is shipped, what a user may write, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry import manifests
from skerry.api.kinds import REGISTRY
from skerry.machinery import strict
from skerry.manifests.release import check_reference, split_reference

Json = dict[str, Any]
SHIPPED = manifests.packaged()
DIGEST = "sha256:" + "a" * 64
RELEASE = {"ovms-image": "quay.io/x/ovms:1", "kserve-agent": f"quay.io/x/agent@{DIGEST}"}

RUNTIME = """
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: r, namespace: elsewhere}
spec:
  containers: [{name: kserve-container, image: IMAGE}]
"""


def write(directory: Path, **files: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / f"{name}.yaml").write_text(text)
    return directory


def images(objects: list[Json]) -> list[str]:
    return [container["image"] for item in objects for container in item.get("spec", {}).get("containers", [])]


# --- what is shipped --------------------------------------------------------------------------------------------------


def shipped() -> list[Json]:
    release = manifests.load_release(SHIPPED / "release.json")
    directories = sorted(path for path in SHIPPED.iterdir() if path.is_dir())
    return [item for directory in directories for item in manifests.render(directory, release)]


def test_shipped_objects() -> None:
    assert [(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace")) for item in shipped()] == [
        ("Namespace", "redhat-ods-applications", None),
        ("ConfigMap", "inferenceservice-config", "redhat-ods-applications"),
        *[
            ("ServingRuntime", name, "redhat-ods-applications")
            for name in (
                "caikit-standalone-runtime",
                "caikit-tgis-runtime",
                "kserve-ovms",
                "vllm-cuda-runtime",
                "vllm-gaudi-runtime",
                "vllm-rocm-runtime",
            )
        ],
        *[
            ("ClusterServingRuntime", name, None)
            for name in ("kserve-lgbserver", "kserve-sklearnserver", "kserve-xgbserver")
        ],
    ]


def test_shipped_objects_are_well_formed() -> None:
    for item in shipped():
        kind = REGISTRY.by_kind(item["apiVersion"], item["kind"])
        assert kind is not None
        msgspec.convert(item, kind.model)
        assert strict.unknown_fields(item, kind.model, kind.open_fields) == []
        assert kind.validate(item, None) == []


def test_shipped_images_come_from_the_release_file() -> None:
    references = set(json.loads((SHIPPED / "release.json").read_text())["images"].values())
    assert set(images(shipped())) <= references
    for path in SHIPPED.rglob("*.yaml"):
        assert "quay.io" not in path.read_text()


def test_shipped_configuration_is_json_without_placeholders() -> None:
    data = next(item for item in shipped() if item["kind"] == "ConfigMap")["data"]
    for text in data.values():
        assert "$(" not in json.dumps(json.loads(text))


# --- what a user may write --------------------------------------------------------------------------------------------


def test_namespace_and_images(tmp_path: Path) -> None:
    write(
        tmp_path,
        kustomization=f"""
            namespace: ai-demo
            resources: [ns.yaml, runtime.yaml, base]
            images:
            - {{name: quay.io/x/ovms, newName: localhost:5000/ovms, newTag: "2"}}
            - {{name: busybox, digest: "{DIGEST}"}}
        """,
        ns="{apiVersion: v1, kind: Namespace, metadata: {name: any}}",
        runtime=RUNTIME.replace("IMAGE", "quay.io/x/ovms:1"),
    )
    write(
        tmp_path / "base",
        kustomization="resources: [a.yaml]",
        a=RUNTIME.replace("IMAGE", "busybox:1") + "---\n" + RUNTIME.replace("IMAGE", "other:3"),
    )
    objects = manifests.render(tmp_path, RELEASE)
    assert [item["metadata"].get("namespace", item["metadata"]["name"]) for item in objects] == ["ai-demo"] * 4
    assert images(objects) == ["localhost:5000/ovms:2", f"busybox@{DIGEST}", "other:3"]


def test_placeholders_are_resolved(tmp_path: Path) -> None:
    write(
        tmp_path,
        kustomization="resources: [runtime.yaml, config.yaml]",
        runtime=RUNTIME.replace("IMAGE", "ovms-image"),
        config="{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {agent: '[\"$(kserve-agent)\"]'}}",
    )
    runtime, config = manifests.render(tmp_path, {"release": {"base": "1"}, "images": RELEASE})
    assert images([runtime]) == ["quay.io/x/ovms:1"]
    assert json.loads(config["data"]["agent"]) == [f"quay.io/x/agent@{DIGEST}"]


def test_list_of_objects(tmp_path: Path) -> None:
    listed = "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Namespace, metadata: {name: a}}]}"
    write(tmp_path, kustomization="resources: [list.yaml]", list=listed)
    assert [item["kind"] for item in manifests.render(tmp_path, {})] == ["Namespace"]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kustomization", "text"),
    [
        ("patches: [{path: p.yaml}]", "patches is not supported, only images, namespace, resources"),
        ("{vars: [], commonLabels: {}}", "commonLabels, vars is not supported"),
        ("resources: runtime.yaml", "resources of its kustomization is not a list"),
        ("[]", "want one YAML map"),
        ("resources: [", "cannot read"),
        ("resources: [missing.yaml]", "cannot read"),
        ("resources: [.]", "it includes itself"),
        ("resources: [nameless.yaml]", "has no metadata.name"),
        ("resources: [kindless.yaml]", "has no apiVersion and kind"),
        ("resources: [key.yaml]", "the release file has no image new-image"),
        ("resources: [variable.yaml]", "cannot resolve $(nobody) in key a of ConfigMap c"),
        ("images: [{name: a, newName: 'a:1@b:2'}]", "is not an image name without tag and digest"),
        ("images: [{name: a, digest: 'repo:tag'}]", "is not a digest; want sha256: and 64 hexadecimal digits"),
        ("images: [{name: a, newTag: 'a b'}]", "is not a tag"),
        ("images: [{newTag: '1'}]", "an entry of images wants name"),
        ("images: [{name: a, tagSuffix: '1'}]", "an entry of images wants name"),
    ],
)
def test_refused(tmp_path: Path, kustomization: str, text: str) -> None:
    write(
        tmp_path,
        kustomization=kustomization,
        nameless="{apiVersion: v1, kind: Namespace, metadata: {}}",
        kindless="{apiVersion: v1}",
        key=RUNTIME.replace("IMAGE", "new-image"),
        variable="{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '$(nobody)'}}",
    )
    with pytest.raises(manifests.ManifestError) as refusal:
        manifests.render(tmp_path, RELEASE)
    assert text in str(refusal.value)


def test_directory_without_a_kustomization(tmp_path: Path) -> None:
    with pytest.raises(manifests.ManifestError, match="found none"):
        manifests.render(tmp_path, {})


def test_two_tags_joined_by_an_at_are_refused(tmp_path: Path) -> None:
    broken = "quay.io/x/ovms:fast@quay.io/x/ovms:fast"
    path = tmp_path / "release.json"
    path.write_text(json.dumps({"release": {"base": "1"}, "images": {"ovms-image": broken}}))
    with pytest.raises(manifests.ReleaseError) as refusal:
        manifests.load_release(path)
    assert str(refusal.value) == (
        f"cannot use image ovms-image of release file {path}: {broken!r} is not an image reference; "
        "what follows the @ must be sha256: and 64 hexadecimal digits"
    )
    write(tmp_path, kustomization="resources: [runtime.yaml]", runtime=RUNTIME.replace("IMAGE", broken))
    with pytest.raises(manifests.ReleaseError):
        manifests.render(tmp_path, {})


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"images": []}', '{"images": {"a": 1}}'])
def test_broken_release_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "release.json"
    path.write_text(content)
    with pytest.raises(manifests.ReleaseError):
        manifests.load_release(path)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("busybox", ("busybox", "")),
        ("localhost/ovms:test", ("localhost/ovms", ":test")),
        ("localhost:5000/a/b", ("localhost:5000/a/b", "")),
        (f"quay.io/a/b:1@{DIGEST}", ("quay.io/a/b", f":1@{DIGEST}")),
    ],
)
def test_references(reference: str, parts: tuple[str, str]) -> None:
    check_reference(reference, "it")
    assert split_reference(reference) == parts


@pytest.mark.parametrize("reference", ["", "a/B", "a b", "a:", "a@sha256:12", "http://a/b", "/a", None, 3])
def test_what_is_no_reference(reference: Any) -> None:
    with pytest.raises(manifests.ReleaseError, match="is not an image reference"):
        check_reference(reference, "it")
