"""Field errors in the words of Kubernetes' `field.ErrorList`.

`str(error)` is what a client reads: `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One complaint about one field. `reason` is the `metav1.CauseType` of a Status cause."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """Complain about a value that is not acceptable."""
    shown = _json(value) if not isinstance(value, float) else repr(value)
    return FieldError("FieldValueInvalid", field, f"Invalid value: {shown}: {detail}")


def required(field: str, detail: str = "") -> FieldError:
    """Complain about a missing value."""
    return FieldError("FieldValueRequired", field, f"Required value: {detail}" if detail else "Required value")


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """Complain about a value outside a closed set."""
    choices = ", ".join(_json(choice) for choice in sorted(supported))
    return FieldError(
        "FieldValueNotSupported", field, f"Unsupported value: {_json(value)}: supported values: {choices}"
    )


def duplicate(field: str, value: Any) -> FieldError:
    """Complain about a value that stands twice."""
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {_json(value)}")


def forbidden(field: str, detail: str) -> FieldError:
    """Complain about a value that may not be set here."""
    return FieldError("FieldValueForbidden", field, f"Forbidden: {detail}")


def _json(value: Any) -> str:
    """Write a value as Go's encoder does: without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
