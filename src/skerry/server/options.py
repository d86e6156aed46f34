"""The command line: OVMS's options, so that a ServingRuntime written for OVMS starts this server unchanged.

Both `--flag value` and `--flag=value` are understood, the last of two wins (an InferenceService's own arguments come
after those of its runtime), and what is wrong ends the process with OVMS's text and its exit code 64. Options are of
three kinds: those that work here, those of OVMS that change nothing here and are accepted (thread counts of another
design), and those whose feature is missing: they are refused, because a server that ignores them would do something
else than was asked.
"""

import ipaddress
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from skerry.server.rest.cors import CorsPolicy

EXIT_USAGE: Final = 64
_HEADER_TEXT: Final = re.compile(r"^[!-~ ]*\Z")
_HOST: Final = re.compile(r"^(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?$")


class UsageError(Exception):
    """The command line cannot be used; the text is what OVMS would print."""


class ModelOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How one model is loaded. Texts stay as given: what they mean depends on the model's inputs."""

    name: str
    path: Path
    layout: str = ""
    shape: str = ""
    batch_size: str = ""
    mean: str = ""
    scale: str = ""
    color_format: str = ""
    precision: str = ""
    nireq: int = 0
    max_batch_size: int = 0
    max_queue_delay: int = 0
    target_device: str = ""
    plugin_config: dict[str, str | bool | int | float] = {}
    cache_dir: str = ""
    cpu_extension: str = ""
    version_policy: "VersionPolicy"


class VersionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the versions on disk are served: the newest few, or those named, or all (both are None)."""

    latest: int | None = 1
    specific: tuple[int, ...] | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the command line says. With a config file, `model` is what its models have in common."""

    model: ModelOptions
    config_path: Path | None
    rest_port: int
    rest_addresses: tuple[str, ...]
    grpc_port: int
    grpc_addresses: tuple[str, ...]
    grpc_max_message_bytes: int
    grpc_certificate: str
    grpc_key: str
    metrics: bool
    metrics_list: tuple[str, ...]
    log_level: str
    log_path: Path | None
    poll_seconds: int
    model_wait_seconds: float
    request_timeout_seconds: float
    max_queue: int
    max_body_bytes: int
    drain_seconds: float
    shutdown_seconds: float
    cors: CorsPolicy
    compat: str
    model_control_mode: str


# Every option with its default, in the order of --help. A default of False marks a switch.
_WORKING: Final[dict[str, str | bool]] = {
    "model_name": "",
    "model_path": "",
    "config_path": "",
    "rest_port": "0",
    "rest_bind_address": "0.0.0.0",  # noqa: S104 - OVMS's default; the platform passes the pod's own address
    "port": "0",
    "grpc_bind_address": "0.0.0.0",  # noqa: S104
    "layout": "",
    "shape": "",
    "batch_size": "",
    "mean": "",
    "scale": "",
    "color_format": "",
    "precision": "",
    "model_version_policy": "",
    "nireq": "0",
    "target_device": "",
    "plugin_config": "",
    "cache_dir": "",
    "cpu_extension": "",
    "allowed_origins": "",
    "allowed_methods": "*",
    "allowed_headers": "*",
    "allow_credentials": False,
    "metrics_enable": False,
    "metrics_list": "",
    "file_system_poll_wait_seconds": "1",
    "log_level": "INFO",
    "log_path": "",
    # Ours.
    "max_batch_size": "0",
    "max_queue_delay": "0",
    "model_wait_seconds": "30",
    "request_timeout_seconds": "60",
    "max_queue": "128",
    "max_body_mib": "128",
    "grpc_max_message_mib": "100",
    "grpc_certificate": "",
    "grpc_key": "",
    "drain_seconds": "0.5",
    "shutdown_seconds": "20",
    "compat": "",
    "model_control_mode": "explicit",
}
_WITHOUT_EFFECT: Final = (
    "rest_workers",
    "grpc_workers",
    "grpc_max_threads",
    "grpc_memory_quota",
    "grpc_channel_arguments",
    "sequence_cleaner_poll_wait_minutes",
    "custom_node_resources_cleaner_interval_seconds",
    "trace_path",
    # Of KServe's servers.
    "nthread",
    "workers",
    "max_threads",
    "max_asyncio_workers",
    "enable_grpc",
    "enable_docs_url",
    "enable_latency_logging",
    "configure_logging",
)
# What KServe's own servers call these, so that their runtimes start this server too.
_KSERVE_NAMES: Final = {"model_dir": "model_path", "http_port": "rest_port", "grpc_port": "port"}
_MISSING: Final = (
    "stateful",
    "idle_sequence_cleanup",
    "low_latency_transformation",
    "max_sequence_number",
    "api_key_file",
    "pull",
    "task",
    "source_model",
    "list_models",
    "model_repository_path",
    "add_to_config",
    "remove_from_config",
    "configure",
)
# What a config file says of each model; the command line must not say it too.
_OF_ONE_MODEL: Final = (
    "model_name",
    "model_path",
    "layout",
    "shape",
    "batch_size",
    "mean",
    "scale",
    "color_format",
    "precision",
    "model_version_policy",
    "nireq",
    "target_device",
    "plugin_config",
)
_NEEDS_LAYOUT: Final = ("mean", "scale", "color_format", "precision")


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; raises `UsageError` with the text to print."""
    given = _collect(arguments)
    values: dict[str, Any] = {**_WORKING, **given}
    _check_ports(values)
    _check_combinations(given)
    metrics_list = tuple(name.strip() for name in values["metrics_list"].split(",") if name.strip())
    return Options(
        model=_common_options(values) if values["config_path"] else _model_options(values),
        config_path=Path(values["config_path"]) if values["config_path"] else None,
        rest_port=int(values["rest_port"]),
        rest_addresses=_addresses(values, "rest_bind_address"),
        grpc_port=int(values["port"]),
        grpc_addresses=_addresses(values, "grpc_bind_address"),
        grpc_max_message_bytes=_whole(values, "grpc_max_message_mib") << 20,
        grpc_certificate=values["grpc_certificate"],
        grpc_key=values["grpc_key"],
        metrics=values["metrics_enable"],
        metrics_list=metrics_list,
        log_level=_log_level(values["log_level"]),
        log_path=Path(values["log_path"]) if values["log_path"] else None,
        poll_seconds=_whole(values, "file_system_poll_wait_seconds"),
        model_wait_seconds=_seconds(values, "model_wait_seconds"),
        request_timeout_seconds=_seconds(values, "request_timeout_seconds"),
        max_queue=_whole(values, "max_queue"),
        max_body_bytes=_whole(values, "max_body_mib") << 20,
        drain_seconds=_seconds(values, "drain_seconds"),
        shutdown_seconds=_seconds(values, "shutdown_seconds"),
        cors=_cors(values),
        compat=_one_of(values, "compat", ("", "ovms")),
        model_control_mode=_one_of(values, "model_control_mode", ("explicit", "none")),
    )


def usage() -> str:
    """The text of --help."""
    lines = ["python -m skerry.server: serve a model with the Open Inference Protocol", ""]
    lines += [f"  --{name}" + (f"  (default: {default})" if default else "") for name, default in _WORKING.items()]
    lines += ["", "accepted, without effect here:", "  " + " ".join(_WITHOUT_EFFECT)]
    return "\n".join(lines)


def without_effect(arguments: Sequence[str]) -> list[str]:
    """The options given that change nothing, for the log."""
    names = (argument.removeprefix("--").partition("=")[0] for argument in arguments)
    return [name for name in names if name in _WITHOUT_EFFECT]


def _collect(arguments: Sequence[str]) -> dict[str, str | bool]:
    """Pair options with values, as cxxopts does."""
    given: dict[str, str | bool] = {}
    unmatched: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.removeprefix("--").partition("=")
        name = _KSERVE_NAMES.get(name, name)
        if not argument.startswith("--") or not (name in _WORKING or name in _WITHOUT_EFFECT or name in _MISSING):
            unmatched.append(argument)
        elif name in _MISSING:
            raise UsageError(f"error parsing options - --{name} is not supported by this server yet")
        elif isinstance(_WORKING.get(name), bool):
            given[name] = _switch(value) if equals else True
        else:
            given[name] = value if equals else _next_value(name, rest)
    if unmatched:
        raise UsageError("error parsing options - unmatched arguments: " + "".join(f"{text}, " for text in unmatched))
    return given


def _next_value(name: str, rest: Iterator[str]) -> str:
    value = next(rest, None)
    if value is None:
        raise UsageError(f"error parsing options: Option '{name}' is missing an argument")
    return value


def _switch(value: str) -> bool:
    if value.lower() not in {"true", "false", "1", "0"}:
        raise UsageError(f"error parsing options: Argument '{value}' failed to parse")
    return value.lower() in {"true", "1"}


def _check_ports(values: dict[str, Any]) -> None:
    for name in ("port", "rest_port"):
        if not 0 <= _whole(values, name) <= 65535:
            raise UsageError(f"{name} number out of range from 0 to 65535")
    grpc, rest = int(values["port"]), int(values["rest_port"])
    if not grpc and not rest:
        raise UsageError("port and rest_port cannot both be unset")
    if grpc == rest:
        raise UsageError("port and rest_port cannot have the same values")
    if values["metrics_enable"] and not rest:
        raise UsageError("rest_port setting is missing, metrics are enabled on rest port")


def _check_combinations(given: dict[str, str | bool]) -> None:
    if given.get("metrics_list") and not given.get("metrics_enable"):
        raise UsageError("metrics_enable setting is missing, required when metrics_list is provided")
    if bool(given.get("grpc_certificate")) != bool(given.get("grpc_key")):
        raise UsageError("grpc_certificate and grpc_key need each other")
    if given.get("config_path") and (both := [f"--{name}" for name in _OF_ONE_MODEL if given.get(name)]):
        raise UsageError(f"Model parameters in CLI are exclusive with the config file: {', '.join(both)}")
    for name in _NEEDS_LAYOUT:
        if given.get(name) and not given.get("layout"):
            raise UsageError(f"error parsing options - --{name} parameter requires --layout to be set")


def _addresses(values: dict[str, Any], name: str) -> tuple[str, ...]:
    """Split a comma list of IPv4 and IPv6 addresses and host names."""
    addresses = tuple(part.strip().strip("[]") for part in values[name].split(","))
    if not all(_is_address(address) for address in addresses):
        raise UsageError(f"{name} has invalid format: proper hostname or IP address expected.")
    return addresses


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST.match(text) is not None and not text.replace(".", "").isdigit()
    return True


def _cors(values: dict[str, Any]) -> CorsPolicy:
    """OVMS lets every page in; so does this server where it is told to be like it, and nobody otherwise."""
    everybody = "*" if values["compat"] else ""
    origins = tuple(part.strip() for part in (values["allowed_origins"] or everybody).split(",") if part.strip())
    policy = CorsPolicy(origins, values["allowed_methods"], values["allowed_headers"], values["allow_credentials"])
    if not all(_HEADER_TEXT.match(text) for text in (*origins, policy.methods, policy.headers)):
        raise UsageError("allowed_origins, allowed_methods and allowed_headers are the text of HTTP headers")
    if policy.credentials and (not origins or "*" in origins):
        raise UsageError("allow_credentials needs allowed_origins that are named one by one: browsers refuse it with *")
    return policy


def _one_of(values: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    text: str = values[name]
    if text not in known:
        raise UsageError(f"{name} should be one of: {', '.join(filter(None, known))}")
    return text


def _log_level(text: str) -> str:
    level = text.upper()
    if level not in {"TRACE", "DEBUG", "INFO", "WARNING", "ERROR"}:
        raise UsageError("log_level should be one of: TRACE, DEBUG, INFO, WARNING, ERROR")
    return level


def model_from(texts: Mapping[str, str], common: ModelOptions) -> ModelOptions:
    """The options of one model of a config file, as the command line would say them; raises `UsageError`."""
    shared = {"cache_dir": common.cache_dir, "cpu_extension": common.cpu_extension}
    return _model_options({**_WORKING, **shared, **texts})


def _common_options(values: dict[str, Any]) -> ModelOptions:
    return _model_options({**values, "model_name": "common", "model_path": "."})


def _model_options(values: dict[str, Any]) -> ModelOptions:
    if not values["model_name"] or not values["model_path"]:
        raise UsageError("Use config_path or model_path with model_name")
    if "/" in values["model_name"]:
        raise UsageError("model_name cannot contain '/': it is a part of the URL")
    nireq = _whole(values, "nireq")
    if nireq > 100_000:
        raise UsageError("nireq cannot exceed 100000")
    texts = ("layout", "shape", "batch_size", "mean", "scale", "color_format", "precision", "target_device")
    default_cache = "/opt/cache" if os.path.isdir("/opt/cache") else ""  # noqa: PTH112 - OVMS's default directory
    return ModelOptions(
        name=values["model_name"],
        path=Path(values["model_path"]),
        nireq=nireq,
        max_batch_size=_whole(values, "max_batch_size"),
        max_queue_delay=_whole(values, "max_queue_delay"),
        plugin_config=_plugin_config(values["plugin_config"]),
        cache_dir=values["cache_dir"] or default_cache,
        cpu_extension=values["cpu_extension"],
        version_policy=_version_policy(values["model_version_policy"]),
        **{name: values[name].strip() for name in texts},
    )


def _plugin_config(text: str) -> dict[str, str | bool | int | float]:
    return _json_option("plugin_config", text, dict[str, str | bool | int | float]) if text else {}


def _version_policy(text: str) -> VersionPolicy:
    """`{"latest": {"num_versions": 2}}`, `{"specific": {"versions": [1, 3]}}` or `{"all": {}}`."""
    if not text:
        return VersionPolicy()
    policy = _json_option("model_version_policy", text, dict[str, dict[str, Any]])
    match policy:
        case {"all": _} if len(policy) == 1:
            return VersionPolicy(latest=None)
        case {"latest": {"num_versions": int(count)}} if len(policy) == 1 and count > 0:
            return VersionPolicy(latest=count)
        case {"specific": {"versions": [_, *_] as versions}} if len(policy) == 1 and all(
            isinstance(version, int) and version > 0 for version in versions
        ):
            return VersionPolicy(latest=None, specific=tuple(versions))
    raise UsageError(f"model_version_policy has invalid format: {text}")


def _json_option(name: str, text: str, kind: Callable[..., Any]) -> Any:
    try:
        return msgspec.convert(json.loads(text), kind)
    except (ValueError, msgspec.ValidationError) as why:
        raise UsageError(f"{name} is not the JSON that is expected: {why}") from None


def _whole(values: dict[str, Any], name: str) -> int:
    try:
        number = int(values[name])
    except ValueError:
        raise UsageError(f"error parsing options: Argument '{values[name]}' failed to parse") from None
    if number < 0:
        raise UsageError(f"{name} cannot be negative")
    return number


def _seconds(values: dict[str, Any], name: str) -> float:
    try:
        number = float(values[name])
    except ValueError:
        raise UsageError(f"error parsing options: Argument '{values[name]}' failed to parse") from None
    if not 0 <= number < float("inf"):
        raise UsageError(f"{name} cannot be negative")
    return number
