"""A directory with a kustomization.yaml, rendered to objects.

Understood is what the manifests of AI model serving need: `resources` (files and directories), `namespace`, and
`images` (newName, newTag, digest). Any other field is refused by name: to ignore a patch would apply what its author
did not mean.

Image keys of the release are resolved after `images`: in `image:` fields of containers, and as `$(key)` in the texts
of a ConfigMap, which is how MicroShift's `inferenceservice-config` names images.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from skerry.api.registry import Object
from skerry.manifests.errors import ManifestError
from skerry.manifests.release import check_digest, check_name, check_reference, check_tag, split_reference

KUSTOMIZATION_NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata", "resources", "namespace", "images"})
_IMAGE_FIELDS: Final = frozenset({"name", "newName", "newTag", "digest"})
_CONTAINER_LISTS: Final = frozenset({"containers", "initContainers"})
_VARIABLE: Final = re.compile(r"\$\(([A-Za-z0-9][A-Za-z0-9._-]*)\)")
_CLUSTER_SCOPED: Final = frozenset(
    {
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterServingRuntime",
        "ClusterStorageContainer",
        "CustomResourceDefinition",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "RuntimeClass",
        "SecurityContextConstraints",
        "StorageClass",
        "ValidatingWebhookConfiguration",
    }
)


def render(directory: Path, release: Mapping[str, Any]) -> list[Object]:
    """Return the objects of the directory, in the order of its files; raises `ManifestError`.

    `release` maps image keys to references; a whole release document is taken too.
    """
    images = release["images"] if isinstance(release.get("images"), dict) else release
    objects = _collect(directory, ())
    for item in objects:
        _resolve(item, images, f"{item.get('kind')} {item.get('metadata', {}).get('name')} in {directory}")
    return objects


def _collect(directory: Path, above: tuple[Path, ...]) -> list[Object]:
    directory = directory.resolve()
    if directory in above:
        raise ManifestError(f"cannot render {directory}: it includes itself")
    kustomization = _kustomization(directory)
    objects: list[Object] = []
    for resource in _list(kustomization, "resources", directory):
        path = directory / str(resource)
        if path.is_dir():
            objects += _collect(path, (*above, directory))
        else:
            objects += _read(path)
    namespace = kustomization.get("namespace")
    for item in objects:
        if namespace:
            _set_namespace(item, str(namespace))
    for rule in _list(kustomization, "images", directory):
        _replace_images(objects, rule, directory)
    return objects


# --- reading ----------------------------------------------------------------------------------------------------------


def _kustomization(directory: Path) -> dict[str, Any]:
    found = [directory / name for name in KUSTOMIZATION_NAMES if (directory / name).is_file()]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ManifestError(f"cannot render {directory}: want one of {', '.join(KUSTOMIZATION_NAMES)}, found {names}")
    documents = _documents(found[0])
    document = documents[0] if documents else {}
    if len(documents) > 1 or not isinstance(document, dict):
        raise ManifestError(f"cannot render {found[0]}: want one YAML map")
    unknown = sorted(set(document) - _FIELDS)
    if unknown:
        known = ", ".join(sorted(_FIELDS - {"apiVersion", "kind", "metadata"}))
        raise ManifestError(f"cannot render {found[0]}: {', '.join(unknown)} is not supported, only {known}")
    return document


def _read(path: Path) -> list[Object]:
    objects: list[Object] = []
    for document in _documents(path):
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise ManifestError(f"cannot render {path}: a document in it has no apiVersion and kind")
        if document["kind"] == "List" or (str(document["kind"]).endswith("List") and "items" in document):
            objects += document.get("items") or []
        else:
            objects.append(document)
    for item in objects:
        if not (item.get("metadata") or {}).get("name"):
            raise ManifestError(f"cannot render {path}: a {item.get('kind')} in it has no metadata.name")
    return objects


def _documents(path: Path) -> list[Any]:
    import yaml

    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ManifestError(f"cannot read {path}: {error}") from error


def _list(document: Mapping[str, Any], field: str, directory: Path) -> list[Any]:
    value = document.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ManifestError(f"cannot render {directory}: {field} of its kustomization is not a list")
    return value


# --- transforming -----------------------------------------------------------------------------------------------------


def _set_namespace(item: Object, namespace: str) -> None:
    if item["kind"] == "Namespace":
        # As kustomize does: the namespace that a directory is rendered for is the one it makes.
        item["metadata"]["name"] = namespace
    elif item["kind"] not in _CLUSTER_SCOPED:
        item["metadata"]["namespace"] = namespace


def _replace_images(objects: list[Object], rule: Any, directory: Path) -> None:
    if not isinstance(rule, dict) or not rule.get("name") or set(rule) - _IMAGE_FIELDS:
        known = ", ".join(sorted(_IMAGE_FIELDS))
        raise ManifestError(
            f"cannot render {directory}: an entry of images wants name and may have {known}; got {rule}"
        )
    what = f"image {rule['name']} in {directory}"
    new_name, new_tag, digest = rule.get("newName"), rule.get("newTag"), rule.get("digest")
    if new_name is not None:
        check_name(new_name, f"newName of {what}")
    if new_tag is not None:
        check_tag(new_tag, f"newTag of {what}")
    if digest is not None:
        check_digest(digest, f"digest of {what}")

    def replaced(image: str) -> str:
        name, version = split_reference(image)
        if name != rule["name"]:
            return image
        if new_tag is not None or digest is not None:
            version = (f":{new_tag}" if new_tag else "") + (f"@{digest}" if digest else "")
        return f"{new_name or name}{version}"

    for item in objects:
        _change_images(item, replaced)


def _change_images(value: Any, change: Callable[[str], str]) -> None:
    for container in _containers(value):
        if isinstance(container.get("image"), str):
            container["image"] = change(container["image"])


def _containers(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _CONTAINER_LISTS and isinstance(item, list):
                yield from (entry for entry in item if isinstance(entry, dict))
            yield from _containers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _containers(item)


# --- resolving --------------------------------------------------------------------------------------------------------


def _resolve(item: Object, images: Mapping[str, Any], what: str) -> None:
    def resolved(image: str) -> str:
        if image.endswith("-image") and image not in images:
            raise ManifestError(f"cannot resolve the image of {what}: the release file has no image {image}")
        reference = str(images.get(image, image))
        check_reference(reference, f"the image of {what}")
        return reference

    _change_images(item, resolved)
    data = item.get("data")
    if item["kind"] == "ConfigMap" and isinstance(data, dict):
        item["data"] = {key: _resolve_text(key, text, images, what) for key, text in data.items()}


def _resolve_text(key: str, text: Any, images: Mapping[str, Any], what: str) -> Any:
    if not isinstance(text, str) or key == "_example":
        return text

    def reference(match: re.Match[str]) -> str:
        if match[1] not in images:
            text = f"cannot resolve {match[0]} in key {key} of {what}: the release file has no image of that name"
            raise ManifestError(text)
        return str(images[match[1]])

    return _VARIABLE.sub(reference, text)
