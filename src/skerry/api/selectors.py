"""Validation of LabelSelectors in the words of field errors; matching is `machinery.selectors`' business."""

from collections.abc import Mapping
from typing import Any, Final

from skerry.api.checks import Errors, obeys
from skerry.api.metadata import validate_labels
from skerry.machinery import names
from skerry.machinery.fielderrors import forbidden, invalid, required
from skerry.machinery.selectors import label_selector

_WITH_VALUES: Final = ("In", "NotIn")
_WITHOUT_VALUES: Final = ("Exists", "DoesNotExist")


def validate_selector(where: str, selector: Mapping[str, Any]) -> Errors:
    """Check a LabelSelector."""
    errors = validate_labels(f"{where}.matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or []):
        errors += _expression(f"{where}.matchExpressions[{index}]", expression)
    return errors


def _expression(where: str, expression: Mapping[str, Any]) -> Errors:
    operator, values = expression.get("operator"), expression.get("values") or []
    errors: Errors = []
    if operator in _WITH_VALUES and not values:
        errors.append(required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in _WITHOUT_VALUES and values:
        errors.append(
            forbidden(f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        )
    elif operator not in {*_WITH_VALUES, *_WITHOUT_VALUES}:
        errors.append(invalid(f"{where}.operator", operator or "", "not a valid selector operator"))
    errors += obeys(f"{where}.key", expression.get("key") or "", names.is_qualified_name)
    for index, value in enumerate(values):
        errors += obeys(f"{where}.values[{index}]", value, names.is_label_value)
    return errors


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Say whether a valid LabelSelector chooses these labels."""
    return label_selector(selector).matches(labels)
