"""Validation of volumes: one source each, and each source complete."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from skerry.api.checks import Errors, named, one_of
from skerry.api.pods.containers import VOLUME_FIELDS, field_ref, local_path, resource_ref
from skerry.api.quantities import validate_quantity
from skerry.machinery import names
from skerry.machinery.fielderrors import duplicate, forbidden, invalid, required

Source = Mapping[str, Any]

_MODES: Final = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATH_TYPES: Final = (
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_MEDIA: Final = ("Memory", "HugePages")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")


def validate_volumes(where: str, volumes: Iterable[Source]) -> Errors:
    """Check the volumes of a pod spec."""
    errors: Errors = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        path, name = f"{where}[{index}]", volume.get("name")
        errors += named(f"{path}.name", name, names.is_dns1123_label)
        if name in seen:
            errors.append(duplicate(f"{path}.name", name))
        seen.add(name or "")
        errors += _sources(path, volume)
    return errors


def _sources(where: str, volume: Source) -> Errors:
    present = [kind for kind, source in volume.items() if kind != "name" and source is not None]
    if not present:
        return [required(where, "must specify a volume type")]
    why = "may not specify more than 1 volume type"
    errors = [forbidden(f"{where}.{kind}", why) for kind in present[1:]]
    kind = present[0]
    return errors + _source(f"{where}.{kind}", kind, volume[kind])


def _source(where: str, kind: str, source: Source) -> Errors:
    match kind:
        case "emptyDir":
            return _empty_dir(where, source)
        case "configMap":
            return _files(where, source, "name")
        case "secret":
            return _files(where, source, "secretName")
        case "downwardAPI":
            return _mode(f"{where}.defaultMode", source) + _downward(f"{where}.items", source.get("items") or [])
        case "projected":
            return _projected(where, source)
        case "persistentVolumeClaim":
            return [] if source.get("claimName") else [required(f"{where}.claimName")]
        case "hostPath":
            return _host_path(where, source)
        case "image":
            errors: Errors = [] if source.get("reference") else [required(f"{where}.reference")]
            return errors + one_of(f"{where}.pullPolicy", source.get("pullPolicy"), _PULL_POLICIES, optional=True)
        case _:
            return []


def _empty_dir(where: str, source: Source) -> Errors:
    medium, limit = source.get("medium") or "", source.get("sizeLimit")
    errors = [] if medium.startswith("HugePages-") else one_of(f"{where}.medium", medium, _MEDIA, optional=True)
    return errors + (validate_quantity(f"{where}.sizeLimit", limit) if limit is not None else [])


def _files(where: str, source: Source, name: str) -> Errors:
    errors = [] if source.get(name) else [required(f"{where}.{name}")]
    return errors + _mode(f"{where}.defaultMode", source) + _keys(f"{where}.items", source.get("items") or [])


def _mode(field: str, source: Source) -> Errors:
    mode = source.get(field.rpartition(".")[2])
    return [invalid(field, mode, _MODES)] if mode is not None and not 0 <= mode <= 0o777 else []


def _keys(where: str, items: Iterable[Source]) -> Errors:
    errors: Errors = []
    for index, item in enumerate(items):
        path = f"{where}[{index}]"
        errors += [] if item.get("key") else [required(f"{path}.key")]
        errors += _file_path(f"{path}.path", item.get("path")) + _mode(f"{path}.mode", item)
    return errors


def _file_path(field: str, path: Any) -> Errors:
    if not path:
        return [required(field)]
    if path.startswith(".."):
        return [invalid(field, path, "must not start with '..'")]
    return local_path(field, path)


def _downward(where: str, items: Iterable[Source]) -> Errors:
    errors: Errors = []
    for index, item in enumerate(items):
        path = f"{where}[{index}]"
        errors += _file_path(f"{path}.path", item.get("path")) + _mode(f"{path}.mode", item)
        if item.get("fieldRef") is not None:
            errors += field_ref(f"{path}.fieldRef", item["fieldRef"], VOLUME_FIELDS)
        elif item.get("resourceFieldRef") is not None:
            errors += resource_ref(f"{path}.resourceFieldRef", item["resourceFieldRef"])
        else:
            errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors


def _projected(where: str, source: Source) -> Errors:
    errors = _mode(f"{where}.defaultMode", source)
    for index, part in enumerate(source.get("sources") or []):
        path = f"{where}.sources[{index}]"
        for kind, value in part.items():
            if value is None:
                continue
            if kind in {"configMap", "secret"}:
                errors += _files(f"{path}.{kind}", value, "name")
            elif kind == "downwardAPI":
                errors += _downward(f"{path}.downwardAPI.items", value.get("items") or [])
            elif kind == "serviceAccountToken":
                errors += _file_path(f"{path}.serviceAccountToken.path", value.get("path"))
    return errors


def _host_path(where: str, source: Source) -> Errors:
    path = source.get("path")
    errors = [] if path else [required(f"{where}.path")]
    if path and ".." in path.split("/"):
        errors.append(invalid(f"{where}.path", path, "must not contain '..'"))
    return errors + one_of(f"{where}.type", source.get("type"), _HOST_PATH_TYPES, optional=True)
