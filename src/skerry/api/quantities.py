"""Amounts of cpu, memory and storage in the fields of kinds: their canonical form, and requests against limits."""

from collections.abc import Mapping
from typing import Any, Final

from skerry.api.checks import NON_NEGATIVE, Errors, obeys
from skerry.machinery import names
from skerry.machinery.fielderrors import invalid, required
from skerry.machinery.quantity import Quantity, QuantityError

# Of these more may be promised than there is; anything else is a thing that a container has or has not.
_NATIVE: Final = frozenset({"cpu", "memory", "ephemeral-storage", "storage"})
_FOR_CONTAINERS: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_POSITIVE: Final = "must be greater than zero"


def canonical_quantities(parent: dict[str, Any] | None, *maps: str) -> None:
    """Rewrite maps of amounts as the server stores them: `1000m` becomes `1`, the number 1 becomes `"1"`."""
    for name in maps:
        amounts = (parent or {}).get(name)
        if isinstance(amounts, dict):
            for resource in amounts:
                canonical_quantity(amounts, resource)


def canonical_quantity(parent: dict[str, Any], field: str) -> None:
    """Rewrite one amount; what is none stays for validation to complain about."""
    amount = _parsed(parent.get(field))
    if amount is not None:
        parent[field] = str(amount)


def _parsed(value: Any) -> Quantity | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return Quantity.parse(value)
    except QuantityError:
        return None


def validate_quantity(field: str, value: Any, *, positive: bool = False) -> Errors:
    """Check an amount."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return [invalid(field, value, "must be a quantity such as 500m, 2 or 1Gi")]
    try:
        amount = Quantity.parse(value)
    except QuantityError as error:
        return [invalid(field, value, str(error))]
    if positive:
        return [] if amount > Quantity(0) else [invalid(field, str(amount), _POSITIVE)]
    return [invalid(field, str(amount), NON_NEGATIVE)] if amount < Quantity(0) else []


def validate_resources(where: str, resources: Mapping[str, Any]) -> Errors:
    """Check the limits and requests of a container."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    errors: Errors = []
    for field, amounts in (("limits", limits), ("requests", requests)):
        for resource, amount in amounts.items():
            path = f"{where}.{field}[{resource}]"
            errors += _resource_name(path, resource) + validate_quantity(path, amount)
    if errors:
        return errors
    for resource, amount in requests.items():
        errors += _fits(where, resource, Quantity.parse(amount), limits.get(resource))
    return errors


def _resource_name(field: str, resource: str) -> Errors:
    if "/" in resource:
        return obeys(field, resource, names.is_qualified_name)
    if resource in _FOR_CONTAINERS or resource.startswith("hugepages-"):
        return []
    return [invalid(field, resource, "must be a standard resource for containers")]


def _fits(where: str, resource: str, request: Quantity, limit: Any) -> Errors:
    shared = resource in _NATIVE
    if limit is None:
        # Only of what cannot be shared every request is a limit too.
        return [] if shared else [required(f"{where}.limits", "Limit must be set for non overcommitable resources")]
    most = Quantity.parse(limit)
    if shared and request > most:
        why = f"must be less than or equal to {resource} limit of {most}"
        return [invalid(f"{where}.requests", str(request), why)]
    if not shared and request != most:
        return [invalid(f"{where}.requests", str(request), f"must be equal to {resource} limit of {most}")]
    return []
