"""ConfigMap and Secret: named bytes and texts that pods read."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from lightkube.models import core_v1

from skerry.api import formats, wellknown
from skerry.api.cells import AGE_COLUMN, NAME_COLUMN
from skerry.api.checks import Errors, obeys, sealed, unchanged
from skerry.api.filling import branch, fill
from skerry.api.registry import Column, Kind, Object
from skerry.machinery.fielderrors import FieldError, invalid, required

_SIZE_LIMIT: Final = 1024 * 1024
_TOO_LARGE: Final = FieldError("FieldValueTooLong", "[]", f"Too long: may not be more than {_SIZE_LIMIT} bytes")

# What a Secret of a type must carry.
_NEEDED: Final = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def _count(obj: Object, *fields: str) -> int:
    return sum(len(obj.get(field) or {}) for field in fields)


def _validate_config_map(config_map: Object, old: Object | None) -> Errors:
    errors: Errors = []
    texts, blobs = config_map.get("data") or {}, config_map.get("binaryData") or {}
    size = 0
    for key, value in texts.items():
        errors += obeys(f"data[{key}]", key, formats.is_config_key)
        if key in blobs:
            errors.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        if not isinstance(value, str):
            errors.append(invalid(f"data[{key}]", value, "must be a string"))
        size += len(str(value).encode())
    for key, value in blobs.items():
        errors += obeys(f"binaryData[{key}]", key, formats.is_config_key)
        errors += _base64(f"binaryData[{key}]", value)
        size += _decoded_size(value)
    errors += [_TOO_LARGE] if size > _SIZE_LIMIT else []
    return errors + (sealed(config_map, old, "data", "binaryData") if old is not None else [])


def _base64(field: str, value: Any) -> Errors:
    try:
        base64.b64decode(value or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        # The value may be a secret that was meant to be in stringData: it is not repeated.
        return [FieldError("FieldValueInvalid", field, "Invalid value: illegal base64 data")]
    return []


def _decoded_size(value: Any) -> int:
    return len(str(value or "")) * 3 // 4


def _default_secret(secret: Object) -> None:
    """Fill a Secret; `stringData` is written only, and becomes part of `data`."""
    texts = secret.pop("stringData", None)
    if texts:
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in texts.items()}
        branch(secret, "data").update(encoded)
    fill(secret, type="Opaque")


def _validate_secret(secret: Object, old: Object | None) -> Errors:
    errors: Errors = []
    data = secret.get("data") or {}
    for key, value in data.items():
        errors += obeys(f"data[{key}]", key, formats.is_config_key) + _base64(f"data[{key}]", value)
    errors += [_TOO_LARGE] if sum(map(_decoded_size, data.values())) > _SIZE_LIMIT else []
    errors += _type_needs(secret, data)
    if old is not None:
        errors += unchanged("type", secret.get("type"), old.get("type"))
        errors += sealed(secret, old, "data")
    return errors


def _type_needs(secret: Object, data: Mapping[str, Any]) -> Errors:
    kind = secret.get("type", "")
    errors = [required(f"data[{key}]") for key in _NEEDED.get(kind, ()) if key not in data]
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        errors += [required("data[username]"), required("data[password]")]
    if kind == "kubernetes.io/service-account-token":
        annotations = secret["metadata"].get("annotations") or {}
        if not annotations.get(wellknown.SERVICE_ACCOUNT_NAME_ANNOTATION):
            errors.append(required(f"metadata.annotations[{wellknown.SERVICE_ACCOUNT_NAME_ANNOTATION}]"))
    return errors


CONFIG_MAP: Final = Kind(
    "",
    "v1",
    "ConfigMap",
    "configmaps",
    namespaced=True,
    model=core_v1.ConfigMap,
    columns=(
        NAME_COLUMN,
        Column("Data", lambda obj, _: _count(obj, "data", "binaryData"), "integer"),
        AGE_COLUMN,
    ),
    short_names=("cm",),
    validate=_validate_config_map,
)

SECRET: Final = Kind(
    "",
    "v1",
    "Secret",
    "secrets",
    namespaced=True,
    model=core_v1.Secret,
    columns=(
        NAME_COLUMN,
        Column("Type", lambda obj, _: obj.get("type", "")),
        Column("Data", lambda obj, _: _count(obj, "data"), "integer"),
        AGE_COLUMN,
    ),
    default=_default_secret,
    validate=_validate_secret,
)
