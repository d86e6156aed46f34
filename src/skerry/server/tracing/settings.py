"""The environment variables of the OpenTelemetry specification that mean something here."""

import math
import random
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from skerry.server.errors import StartError

_SAMPLERS: Final = {"always_on": 1.0, "always_off": 0.0, "traceidratio": math.nan}
_PARENT_BASED: Final = "parentbased_"
_OFF: Final = frozenset({"none"})


class TraceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans go, what they say of this process, and how many are kept."""

    endpoint: str
    headers: dict[str, str]
    resource: dict[str, str]
    timeout_seconds: float
    compress: bool
    delay_seconds: float
    most_queued: int
    most_sent: int
    ratio: float
    follow_parent: bool


def endpoint_of(environment: Mapping[str, str]) -> str:
    """Where traces go; empty where there shall be none."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") in _OFF:
        return ""
    if exact := environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""):
        return exact
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return f"{base.rstrip('/')}/v1/traces" if base else ""


def read_settings(environment: Mapping[str, str]) -> TraceSettings:
    """Read what belongs to the endpoint; raises `StartError`."""

    def text(name: str, default: str) -> str:
        return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environment.get(
            f"OTEL_EXPORTER_OTLP_{name}", default
        )

    endpoint = endpoint_of(environment)
    if urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname:
        raise StartError(f"cannot send traces to {endpoint}: OTEL_EXPORTER_OTLP_ENDPOINT is no URL of http or https")
    if (protocol := text("PROTOCOL", "http/json")) == "grpc":
        raise StartError(f"cannot send traces by {protocol}: set OTEL_EXPORTER_OTLP_PROTOCOL to http/json or leave it")
    sampler = environment.get("OTEL_TRACES_SAMPLER", f"{_PARENT_BASED}always_on")
    ratio = _SAMPLERS.get(sampler.removeprefix(_PARENT_BASED))
    if ratio is None:
        raise StartError(f"OTEL_TRACES_SAMPLER={sampler} is not known here; use always_on, always_off or traceidratio")
    resource = {"service.name": "skerry", **_pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", ""))}
    if name := environment.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    return TraceSettings(
        endpoint=endpoint,
        headers=_pairs(text("HEADERS", "")),
        resource=resource,
        timeout_seconds=_number(environment, "OTEL_EXPORTER_OTLP_TIMEOUT", 10_000) / 1000,
        compress=text("COMPRESSION", "none") == "gzip",
        delay_seconds=_number(environment, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000,
        most_queued=int(_number(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)),
        most_sent=int(_number(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)) or 1,
        ratio=_number(environment, "OTEL_TRACES_SAMPLER_ARG", 1.0) if math.isnan(ratio) else ratio,
        follow_parent=sampler.startswith(_PARENT_BASED),
    )


def sampled_by_ratio(settings: TraceSettings) -> bool:
    """Whether a new trace is kept."""
    return settings.ratio >= 1 or random.random() < settings.ratio  # noqa: S311 - a sample, no secret


def _pairs(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {unquote(key.strip()): unquote(value.strip()) for key, _, value in pairs}


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        raise StartError(f"{name}={text} is no number") from None
    if not 0 <= number < math.inf:
        raise StartError(f"{name}={text} is no number that makes sense here")
    return number
