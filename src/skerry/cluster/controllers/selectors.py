"""Label selectors as controllers use them: a typed `LabelSelector`, or a Service's plain map, against labels."""

from collections.abc import Mapping

from lightkube.models.meta_v1 import LabelSelector, LabelSelectorRequirement

Labels = Mapping[str, str]


def matches(selector: LabelSelector | None, labels: Labels | None) -> bool:
    """Tell whether the labels satisfy the selector; as in Kubernetes, no selector matches nothing, an empty one all."""
    if selector is None:
        return False
    present = labels or {}
    return contains(present, selector.matchLabels or {}) and all(
        _satisfies(present, requirement) for requirement in selector.matchExpressions or []
    )


def empty(selector: LabelSelector) -> bool:
    """Tell whether the selector would match every object."""
    return not selector.matchLabels and not selector.matchExpressions


def contains(labels: Labels | None, wanted: Labels) -> bool:
    """Tell whether every wanted pair is among the labels."""
    present = labels or {}
    return all(present.get(key) == value for key, value in wanted.items())


def _satisfies(labels: Labels, requirement: LabelSelectorRequirement) -> bool:
    values = requirement.values or []
    match requirement.operator:
        case "In":
            return labels.get(requirement.key) in values
        case "NotIn":
            return requirement.key not in labels or labels[requirement.key] not in values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
        case _:
            return False
