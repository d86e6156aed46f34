"""Configuration: defaults, drop-ins, overrides, and errors that name the file and the key."""

from pathlib import Path

import pytest

from skerry.daemon.config import Config, ConfigError, load, override
from skerry.daemon.paths import paths


def test_no_file_means_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "missing") == Config()
    assert Config().apps_domain == "apps.localhost"
    assert Config().api_server.listen_address == "127.0.0.1"


def test_a_drop_in_wins_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("dns: {baseDomain: example.com}\napiServer: {port: 7443}\n")
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "20-later.yaml").write_text("apiServer: {port: 8443}\n")
    (tmp_path / "config.d" / "10-early.yaml").write_text("apiServer: {port: 9443}\n")
    config = load(tmp_path)
    assert (config.api_server.port, config.apps_domain) == (8443, "apps.example.com")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dns: {baseDomian: x}", "baseDomian"),
        ("apiServer: {port: many}", "apiServer.port"),
        ("apiServer: {port: 70000}", "apiServer.port is 70000"),
        ("dns: {baseDomain: -bad-}", "dns.baseDomain"),
        ("- a list", "want a map"),
        ("a: b: c", "config.yaml"),
    ],
)
def test_a_mistake_is_said_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="config.yaml") as caught:
        load(tmp_path)
    assert said in str(caught.value)


def test_settings_of_the_command_line_win() -> None:
    config = override(Config(), ["dns.baseDomain=example.com", "ingress.ports.http=0"])
    assert (config.apps_domain, config.ingress.ports.http) == ("apps.example.com", 0)
    with pytest.raises(ConfigError, match="KEY.PATH=VALUE"):
        override(Config(), ["nonsense"])
    with pytest.raises(ConfigError, match="no_such"):
        override(Config(), ["no_such=1"])


def test_directories_by_user() -> None:
    system = paths({}, root=True)
    assert (system.etc, system.state) == (Path("/etc/skerry"), Path("/var/lib/skerry"))
    user = paths({"HOME": "/home/u"}, root=False)
    assert (user.etc, user.state) == (Path("/home/u/.config/skerry"), Path("/home/u/.local/state/skerry"))
    assert user.run == user.state / "run"
    assert paths({"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/7"}, root=False) == user
    assert paths({"SKERRY_HOME": "/somewhere"}, root=True).store == Path("/somewhere/state/cluster/store.db")
