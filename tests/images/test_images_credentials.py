"""Where log-ins come from, and which one fits a repository."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skerry.images.credentials import Credential, auth_files, log_ins
from skerry.images.reference import parse


def encoded(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def secret(config: Mapping[str, Any], key: str = ".dockerconfigjson") -> Mapping[str, Any]:
    return {"metadata": {"name": "s"}, "data": {key: base64.b64encode(json.dumps(config).encode()).decode()}}


def users(reference: str, *configs: Mapping[str, Any]) -> list[str]:
    found = log_ins(parse(reference), [secret(config) for config in configs], [])
    return [login.username for login in found.known]


def test_the_longest_prefix_wins() -> None:
    config = {
        "auths": {
            "quay.io": encoded("host", "p"),
            "quay.io/team": encoded("team", "p"),
            "quay.io/team/model": encoded("model", "p"),
            "quay.io/team/mod": encoded("other", "p"),
        }
    }
    assert users("quay.io/team/model:v1", config) == ["model"]
    assert users("quay.io/team/else", config) == ["team"]
    assert users("quay.io/teams/else", config) == ["host"]
    assert users("ghcr.io/team/model", config) == []


@pytest.mark.parametrize(
    ("key", "reference"),
    [
        ("https://index.docker.io/v1/", "busybox"),
        ("docker.io", "user/model"),
        ("https://quay.io/v2/", "quay.io/a/b"),
        ("registry:5000", "registry:5000/a"),
        ("*.example.com", "eu.example.com/a"),
    ],
)
def test_keys_as_tools_write_them(key: str, reference: str) -> None:
    assert users(reference, {"auths": {key: encoded("me", "p:with:colons")}}) == ["me"]


def test_every_form_of_a_log_in() -> None:
    forms: list[tuple[dict[str, str], Credential]] = [
        (encoded("u", "p:q"), Credential("u", "p:q")),
        ({"username": "u", "password": "p"}, Credential("u", "p")),
        ({**encoded("u", ""), "identitytoken": "t"}, Credential("u", "", "t")),
        ({"registrytoken": "r"}, Credential(registry_token="r")),
    ]
    for written, read in forms:
        found = log_ins(parse("quay.io/a"), [secret({"auths": {"quay.io": written}})], [])
        assert found.known == [read]
    assert Credential("u", "p").basic == "Basic dTpw"


def test_the_older_kind_of_secret() -> None:
    found = log_ins(parse("quay.io/a"), [secret({"quay.io": encoded("old", "p")}, ".dockercfg")], [])
    assert [login.username for login in found.known] == ["old"]


def test_secrets_come_before_files_and_unreadable_ones_are_skipped(tmp_path: Path) -> None:
    good = tmp_path / "auth.json"
    good.write_text(json.dumps({"auths": {"quay.io": encoded("file", "p")}}))
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    secrets = [
        {"metadata": {"name": "not base64"}, "data": {".dockerconfigjson": "%%%"}},
        {"metadata": {"name": "of another type"}, "data": {"token": "x"}},
        {},
        secret({"auths": {"quay.io": {"auth": "not base64 of a pair"}}}),
        secret({"auths": {"quay.io": encoded("secret", "p")}}),
    ]
    found = log_ins(parse("quay.io/a"), secrets, [tmp_path / "missing.json", bad, good])
    assert [login.username for login in found.known] == ["secret", "file"]
    assert found.problems == []


def test_the_files_that_tools_write() -> None:
    assert auth_files({"REGISTRY_AUTH_FILE": "/x/auth.json", "HOME": "/home/me"}) == [Path("/x/auth.json")]
    found = auth_files({"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert Path("/run/user/7/containers/auth.json") in found
    assert Path("/home/me/.config/containers/auth.json") in found
    assert Path("/home/me/.docker/config.json") in found
    assert Path("/d/config.json") in auth_files({"HOME": "/home/me", "DOCKER_CONFIG": "/d"})


def helper(directory: Path, name: str, script: str) -> None:
    program = directory / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def ask(config: Mapping[str, Any], reference: str = "quay.io/a") -> tuple[list[Credential], list[str]]:
    found = log_ins(parse(reference), [secret(config)], [])
    return found.known, found.problems


def test_helpers_are_asked(programs: Path) -> None:
    helper(programs, "keys", """read server; echo "{\\"Username\\":\\"$server\\",\\"Secret\\":\\"p\\"}" """)
    assert ask({"credHelpers": {"quay.io": "keys"}}) == ([Credential("quay.io", "p")], [])
    assert ask({"credsStore": "keys"}, "busybox") == ([Credential("https://index.docker.io/v1/", "p")], [])
    helper(programs, "token", """echo '{"Username":"<token>","Secret":"t"}'""")
    assert ask({"credsStore": "token"}) == ([Credential(identity_token="t")], [])


def test_a_missing_helper_is_a_problem_with_a_way_out(programs: Path) -> None:
    known, problems = ask({"credHelpers": {"quay.io": "nowhere"}})
    assert known == []
    assert len(problems) == 1
    assert problems[0].startswith("the log-in to quay.io is kept by docker-credential-nowhere, which is not installed;")
    assert problems[0].endswith("run podman login quay.io")


def test_helpers_that_fail(programs: Path) -> None:
    helper(programs, "empty", "echo 'credentials not found in native keychain'; exit 1")
    assert ask({"credsStore": "empty"}) == ([], [])
    helper(programs, "odd", "echo hello")
    known, problems = ask({"credsStore": "odd"})
    assert known == []
    assert "gives no usable answer" in problems[0]
