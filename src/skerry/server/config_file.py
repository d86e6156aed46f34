"""`--config_path`: several models in a file with OVMS's schema.

    {"model_config_list": [{"config": {"name": "bee", "base_path": "models/bee", "layout": "NHWC:NCHW"}}]}

The keys of an entry are the command line's options and are read by the same code. `mean`, `scale`, `color_format` and
`precision` are accepted too, which OVMS's own schema forgets. A file that is not of this form is refused as a whole. An
entry whose values are wrong is left out with its reason, and so are graphs and pipelines, which do not exist here.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from skerry.server import log
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions, UsageError, model_from

_NO_EFFECT: Final = frozenset({"allow_cache"})
# Of models with a state, which older releases of OVMS have; written out as off they ask for nothing.
_STATEFUL: Final = frozenset({"stateful", "idle_sequence_cleanup", "low_latency_transformation", "max_sequence_number"})
_MISSING: Final = frozenset({"custom_loader_options", "graph_path", "subconfig"})
_REMOTE: Final = ("s3://", "gs://", "az://", "azure", "http://", "https://")
_NEED_LAYOUT: Final = ("mean", "scale", "color_format", "precision")
_OWN_NAMES: Final = {"base_path": "model_path", "name": "model_name"}


class _Metrics(msgspec.Struct, forbid_unknown_fields=True):
    enable: bool
    metrics_list: list[str] = []
    endpoint_path: str = ""


class _Monitoring(msgspec.Struct, forbid_unknown_fields=True):
    metrics: _Metrics


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    config: dict[str, Any]


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    model_config_list: Annotated[list[_Entry], msgspec.Meta(max_length=10_000)]
    mediapipe_config_list: list[Any] = []
    pipeline_config_list: list[Any] = []
    custom_node_library_config_list: list[Any] = []
    custom_loader_config_list: list[Any] = []
    monitoring: _Monitoring | None = None


class Config(msgspec.Struct, frozen=True):
    """What a config file says. `broken` are the names of entries that cannot be used, with the reasons."""

    digest: str
    models: dict[str, ModelOptions]
    broken: dict[str, str]
    metrics: bool | None = None
    metrics_list: tuple[str, ...] = ()


def digest_of(path: Path) -> str:
    """What changes with the file's content. Raises `LoadError`."""
    return _digest(_content(_file(path)))


def read(path: Path, common: ModelOptions) -> Config:
    """Read the file; `common` are the command line's options for all models. Raises `LoadError`."""
    path = _file(path)
    content = _content(path)
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise LoadError(f"cannot use {path}: {why}") from None
    for field in _Document.__struct_fields__:
        if field not in {"model_config_list", "monitoring"} and getattr(document, field):
            log.warning("this server has no such thing, the models are served without it", config=path, key=field)
    models: dict[str, ModelOptions] = {}
    broken: dict[str, str] = {}
    for number, entry in enumerate(document.model_config_list):
        name = entry.config.get("name")
        if not isinstance(name, str) or not name:
            raise LoadError(f"cannot use {path}: model_config_list[{number}].config has no name")
        if name in models or name in broken:
            log.warning("two entries have one name, the first counts", config=path, model=name)
            continue
        try:
            models[name] = _options(entry.config, path.parent, common)
        except UsageError as why:
            broken[name] = f"cannot use its entry in {path}: {why}"
    metrics = document.monitoring.metrics if document.monitoring else None
    return Config(
        _digest(content),
        models,
        broken,
        metrics.enable if metrics else None,
        tuple(metrics.metrics_list) if metrics else (),
    )


def _file(path: Path) -> Path:
    """Of a directory, the file that OVMS looks for in it."""
    return path / "config.json" if path.is_dir() else path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise LoadError(f"Config file not found or cannot open. {path}: {why.strerror}") from None


def _digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _options(config: dict[str, Any], directory: Path, common: ModelOptions) -> ModelOptions:
    """One entry, as the command line would say it."""
    if config.get("stateful"):
        raise UsageError("stateful: not supported by this server")
    config = {key: value for key, value in config.items() if key not in _STATEFUL}
    known = {*ModelOptions.__struct_fields__, "base_path", "model_version_policy", *_NO_EFFECT}
    if missing := [key for key in config if key in _MISSING]:
        raise UsageError(f"{', '.join(missing)}: not supported by this server yet")
    if unknown := [key for key in config if key not in known or key in {"path", "version_policy"}]:
        raise UsageError(f"unknown key {', '.join(unknown)}")
    base = config.get("base_path")
    if not isinstance(base, str) or not base:
        raise UsageError("base_path is missing")
    if base.startswith(_REMOTE):
        raise UsageError(f"base_path {base} is not a local directory")
    if not config.get("layout") and (early := [key for key in _NEED_LAYOUT if config.get(key)]):
        raise UsageError(f"{early[0]} needs layout to be set")
    texts = {_OWN_NAMES.get(key, key): _text(value) for key, value in config.items() if key not in _NO_EFFECT}
    return model_from(texts | {"model_path": str(directory / base)}, common)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
