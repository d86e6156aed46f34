"""Checks of metadata that only some kinds need; the API server itself checks what all objects have in common."""

from collections.abc import Mapping
from typing import Any, Final

from skerry.api.checks import Errors, Rule, obeys, too_long
from skerry.api.registry import Object
from skerry.machinery import names
from skerry.machinery.fielderrors import invalid

_ANNOTATIONS_LIMIT: Final = 256 * 1024


def validate_name(obj: Object, rule: Rule) -> Errors:
    """Check a name that must be more than the DNS subdomain that every name is."""
    return obeys("metadata.name", obj["metadata"].get("name", ""), rule)


def validate_labels(field: str, labels: Mapping[str, Any] | None) -> Errors:
    """Check labels outside of an object's own metadata: those of a template, or a selector's."""
    errors: Errors = []
    for key, value in (labels or {}).items():
        errors += obeys(field, key, names.is_qualified_name)
        if isinstance(value, str):
            errors += obeys(field, value, names.is_label_value)
        else:
            errors.append(invalid(field, value, f'the value of label "{key}" must be a string'))
    return errors


def validate_annotations(field: str, annotations: Mapping[str, Any] | None) -> Errors:
    """Check annotations of a template: their keys, and the size of them all."""
    errors: Errors = []
    size = 0
    for key, value in (annotations or {}).items():
        errors += [invalid(field, key, text) for text in names.is_qualified_name(key.lower())]
        if not isinstance(value, str):
            errors.append(invalid(field, value, f'the value of annotation "{key}" must be a string'))
        size += len(key.encode()) + len(str(value).encode())
    return [*errors, too_long(field, _ANNOTATIONS_LIMIT)] if size > _ANNOTATIONS_LIMIT else errors
