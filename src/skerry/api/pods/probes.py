"""Validation of probes and lifecycle hooks."""

from collections.abc import Mapping
from typing import Any, Final

from skerry.api import formats
from skerry.api.checks import Errors, obeys, one_of, port_number
from skerry.api.checks import non_negative as at_least_zero
from skerry.machinery.fielderrors import forbidden, invalid, required

_NUMBERS: Final = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_SCHEMES: Final = ("HTTP", "HTTPS")


def validate_probes(where: str, container: Mapping[str, Any]) -> Errors:
    """Check the three probes of a container."""
    errors: Errors = []
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        path = f"{where}.{name}"
        errors += validate_handler(path, probe)
        for number in _NUMBERS:
            errors += at_least_zero(f"{path}.{number}", probe.get(number))
        if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            errors.append(invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is not None and name == "readinessProbe":
            why = "must not be set for readinessProbes"
            errors.append(invalid(f"{path}.terminationGracePeriodSeconds", grace, why))
        elif grace is not None and grace <= 0:
            errors.append(invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    return errors


def validate_lifecycle(where: str, lifecycle: Mapping[str, Any]) -> Errors:
    """Check postStart and preStop."""
    errors: Errors = []
    for hook in ("postStart", "preStop"):
        if lifecycle.get(hook) is not None:
            errors += validate_handler(f"{where}.{hook}", lifecycle[hook])
    return errors


def validate_handler(where: str, handler: Mapping[str, Any]) -> Errors:
    """Check that exactly one action is given, and that it is complete."""
    present = [kind for kind in _HANDLERS if handler.get(kind) is not None]
    if not present:
        return [required(where, "must specify a handler type")]
    why = "may not specify more than 1 handler type"
    errors = [forbidden(f"{where}.{kind}", why) for kind in present[1:]]
    kind = present[0]
    return errors + _action(f"{where}.{kind}", kind, handler[kind])


def _action(where: str, kind: str, action: Mapping[str, Any]) -> Errors:
    match kind:
        case "exec":
            return [] if action.get("command") else [required(f"{where}.command")]
        case "httpGet":
            errors: Errors = [] if action.get("path") else [required(f"{where}.path")]
            errors += port(f"{where}.port", action.get("port"))
            errors += one_of(f"{where}.scheme", action.get("scheme"), _SCHEMES)
            for index, header in enumerate(action.get("httpHeaders") or []):
                errors += obeys(f"{where}.httpHeaders[{index}].name", header.get("name", ""), formats.is_http_header)
            return errors
        case "tcpSocket":
            return port(f"{where}.port", action.get("port"))
        case "grpc":
            return port_number(f"{where}.port", action.get("port"))
        case _:
            return at_least_zero(f"{where}.seconds", action.get("seconds"))


def port(field: str, value: Any) -> Errors:
    """Check a port by number or by name."""
    if isinstance(value, str):
        return obeys(field, value, formats.is_port_name)
    return port_number(field, value)
