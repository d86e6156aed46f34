"""The configuration file: MicroShift's names where MicroShift has the setting.

`config.yaml`, then `config.d/*.yaml` in the order of their names; a later file wins key by key, lists as a whole.

    ConfigError     a file cannot be read or holds a key or value that is not known; says which file and which key
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from skerry.machinery import names
from skerry.machinery.merge import merge_patch


class ConfigError(Exception):
    """The configuration cannot be used."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of the configuration; unknown keys are refused, so that a typing error is not silently ignored."""


class ApiServer(Section, frozen=True):
    """The Kubernetes API. Port 0 takes any free port."""

    listen_address: str = "127.0.0.1"
    port: int = 6443
    subject_alt_names: list[str] = []


class IngressPorts(Section, frozen=True):
    """Ports of the gateway. 0 takes any free port."""

    http: int = 8080


class Ingress(Section, frozen=True):
    """The gateway, through which Routes are reached."""

    listen_address: str = "127.0.0.1"
    ports: IngressPorts = IngressPorts()


class Dns(Section, frozen=True):
    """Routes get `NAME-NAMESPACE.apps.<baseDomain>`; names below `localhost` resolve by themselves."""

    base_domain: str = "localhost"


class Node(Section, frozen=True):
    """The node object."""

    hostname_override: str = "skerry"


class Manifests(Section, frozen=True):
    """Directories with manifests that are applied at start. None: the packaged ones, then `<etc>/manifests.d/*`."""

    kustomize_paths: list[str] | None = None


class Images(Section, frozen=True):
    """Registries that are spoken to over plain HTTP or with an unknown certificate."""

    insecure_registries: list[str] = []


class Debugging(Section, frozen=True):
    """What the logs tell."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section, frozen=True):
    """All settings."""

    api_server: ApiServer = ApiServer()
    ingress: Ingress = Ingress()
    dns: Dns = Dns()
    node: Node = Node()
    manifests: Manifests = Manifests()
    images: Images = Images()
    debugging: Debugging = Debugging()

    @property
    def apps_domain(self) -> str:
        return f"apps.{self.dns.base_domain}"


def load(etc: Path) -> Config:
    """Read the configuration below a directory; missing files mean defaults.

    Raises `ConfigError`.
    """
    drop_ins = sorted((etc / "config.d").glob("*.yaml")) if (etc / "config.d").is_dir() else []
    merged: Any = {}
    for path in [etc / "config.yaml", *drop_ins]:
        if path.exists():
            content = _read(path)
            _convert(content, path)
            merged = merge_patch(merged, content)
    config = _convert(merged, etc / "config.yaml")
    _check(config, etc / "config.yaml")
    return config


def override(config: Config, settings: Sequence[str]) -> Config:
    """Apply `key.path=value` settings of the command line.

    Raises `ConfigError`.
    """
    import yaml

    merged: Any = msgspec.to_builtins(config)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(
                f"cannot use --set {setting}: want KEY.PATH=VALUE, for example dns.baseDomain=example.com"
            )
        patch: Any = yaml.safe_load(text)
        for key in reversed(path.split(".")):
            patch = {key: patch}
        merged = merge_patch(merged, patch)
    changed = _convert(merged, Path("--set"))
    _check(changed, Path("--set"))
    return changed


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"cannot use {path}: want a map of settings at the top")
    return content


def _convert(content: Any, path: Path) -> Config:
    try:
        return msgspec.convert(content, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"cannot use {path}: {error}; see docs/reference/configuration.md for the settings"
        ) from error


def _check(config: Config, path: Path) -> None:
    for field, port in (("apiServer.port", config.api_server.port), ("ingress.ports.http", config.ingress.ports.http)):
        if not 0 <= port <= 65535:
            raise ConfigError(f"cannot use {path}: {field} is {port}; want 0 to 65535")
    for field, name in (
        ("dns.baseDomain", config.dns.base_domain),
        ("node.hostnameOverride", config.node.hostname_override),
    ):
        if problems := names.is_dns1123_subdomain(name):
            raise ConfigError(f"cannot use {path}: {field} is {name!r}: {problems[0]}")
