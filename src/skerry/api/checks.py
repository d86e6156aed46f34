"""Checks that the validation of many kinds is made of; each returns the complaints, none when all is well.

The sentences are those of k8s.io/apimachinery and k8s.io/kubernetes, because people search for them.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from skerry.machinery.fielderrors import FieldError, forbidden, invalid, not_supported, required

Errors = list[FieldError]
Rule = Callable[[str], list[str]]  # a name rule of machinery.names: what is wrong, in words

IMMUTABLE: Final = "field is immutable"
NON_NEGATIVE: Final = "must be greater than or equal to 0"
PORT_RANGE: Final = "must be between 1 and 65535, inclusive"


def not_found(field: str, value: Any) -> FieldError:
    """Complain about a reference to something that is not there."""
    return FieldError("FieldValueNotFound", field, f"Not found: {json.dumps(value)}")


def too_long(field: str, limit: int) -> FieldError:
    """Complain about a size in bytes."""
    return FieldError("FieldValueTooLong", field, f"Too long: may not be more than {limit} bytes")


def too_many(field: str, count: int, limit: int) -> FieldError:
    """Complain about the length of a list."""
    return FieldError("FieldValueTooMany", field, f"Too many: {count}: must have at most {limit} items")


def named(field: str, value: Any, rule: Rule) -> Errors:
    """Check a required name against a rule."""
    return obeys(field, value, rule) if value else [required(field)]


def obeys(field: str, value: Any, rule: Rule) -> Errors:
    """Check a value against a rule of names."""
    return [invalid(field, value, text) for text in rule(str(value))]


def one_of(field: str, value: Any, choices: Collection[str], *, optional: bool = False) -> Errors:
    """Check a value of a closed set."""
    if value in {None, ""}:
        return [] if optional else [required(field)]
    return [] if value in choices else [not_supported(field, value, choices)]


def non_negative(field: str, value: Any) -> Errors:
    """Check a count or a duration; nothing at all is fine."""
    return [invalid(field, value, NON_NEGATIVE)] if value is not None and value < 0 else []


def port_number(field: str, value: Any) -> Errors:
    """Check the number of a port."""
    return [] if isinstance(value, int) and 1 <= value <= 65535 else [invalid(field, value or 0, PORT_RANGE)]


def unchanged(field: str, new: Any, old: Any) -> Errors:
    """Check a field that may not change after creation."""
    return [] if new == old else [invalid(field, new, IMMUTABLE)]


def sealed(new: Mapping[str, Any], old: Mapping[str, Any], *fields: str) -> Errors:
    """Check a ConfigMap or Secret whose `immutable` was set: it stays so, and its data with it."""
    why = "field is immutable when `immutable` is set"
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [forbidden("immutable", why)]
    return errors + [forbidden(field, why) for field in fields if (new.get(field) or {}) != (old.get(field) or {})]
