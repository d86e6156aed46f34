"""The page on access, word for word: every command of it runs, in order, and says what the page says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tests.e2e.running import ROOT, Platform, eventually, kubectls

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.skipif(not kubectls(), reason="no kubectl")]

PAGE = ROOT / "docs/how-to/give-access.md"


class Step(NamedTuple):
    """A command of the page and what follows it there."""

    command: str
    lines: list[str]


def steps() -> Iterator[Step]:
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            yield Step(command, lines)


def run(platform: Platform, directory: Path, command: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**platform.environment, "PATH": f"{directory}:{os.environ['PATH']}", **more}
    return subprocess.run(
        ["sh", "-c", command],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory with the two programs of the page."""
    (tmp_path / "skerry").write_text(f'#!/bin/sh\nexec {sys.executable} -m skerry "$@"\n')
    (tmp_path / "skerry").chmod(0o755)
    (tmp_path / "kubectl").symlink_to(kubectls()[0])
    return tmp_path


def test_the_page_on_access(platform: Platform, tools: Path) -> None:
    roles = "kubectl get clusterrole edit -o jsonpath='{.rules[*].resources}'"
    eventually(lambda: "inferenceservices" in run(platform, tools, roles).stdout, "the role edit is put together")
    found = list(steps())
    assert len(found) >= 12
    for step in found:
        said = run(platform, tools, step.command).stdout
        if step.lines:
            missing = [line for line in step.lines if line not in [other.rstrip() for other in said.splitlines()]]
            assert not missing, (step.command, said)
        else:
            assert said == "", (step.command, said)
    secret = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert secret is not None
    (tools / "secret.yaml").write_text(secret[1])
    run(platform, tools, "kubectl apply -f secret.yaml")
    token = eventually(
        lambda: (
            run(
                platform, tools, "kubectl get secret deployer-token -n team-a -o jsonpath='{.data.token}' | base64 -d"
            ).stdout
        ),
        "the token is filled in",
    )
    plain = {"KUBECONFIG": "/dev/null"}
    server = platform.facts["api_url"]
    asked = f"kubectl --server {server} --insecure-skip-tls-verify --token {token} auth whoami"
    assert "system:serviceaccount:team-a:deployer" in run(platform, tools, asked, **plain).stdout
    # Our own commands are clients as good as kubectl.
    listed = run(
        platform, tools, "skerry get inferenceservices -n team-a", KUBECONFIG=str(tools / "deployer.kubeconfig")
    )
    assert "No resources found" in listed.stdout, listed.stdout
    refused = run(platform, tools, "skerry get pods -n default", KUBECONFIG=str(tools / "ann.kubeconfig"))
    assert 'User "ann" cannot list resource "pods"' in refused.stdout
    wrong = run(platform, tools, "skerry kubeconfig --user x --serviceaccount a/b; skerry kubeconfig --group x")
    assert "cannot be used together" in wrong.stdout
    assert "--group needs --user" in wrong.stdout
    user = yaml.safe_load((tools / "ann.kubeconfig").read_text())["users"][0]
    assert sorted(user["user"]) == ["client-certificate-data", "client-key-data"]


PROGRAM = """
import json, os, ssl, urllib.error, urllib.request
place = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=place + "ca.crt")
server = "https://" + os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
for namespace in open(place + "namespace").read(), "default":
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
    headers = {"Authorization": "Bearer " + open(place + "token").read()}
    try:
        with urllib.request.urlopen(urllib.request.Request(server + path, headers=headers), context=context) as answer:
            print(namespace, answer.status, json.load(answer)["kind"], flush=True)
    except urllib.error.HTTPError as error:
        print(namespace, error.code, json.load(error)["message"], flush=True)
"""


def test_a_program_in_a_pod_talks_to_the_api(platform: Platform) -> None:
    for words in (
        ("create", "namespace", "robots"),
        ("create", "serviceaccount", "lister", "-n", "robots"),
        ("create", "role", "lister", "--verb=list", "--resource=inferenceservices.serving.kserve.io", "-n", "robots"),
        ("create", "rolebinding", "lister", "--role=lister", "--serviceaccount=robots:lister", "-n", "robots"),
    ):
        done = platform.kubectl(*words)
        assert done.returncode == 0, done.stderr
    container = {"name": "c", "image": "localhost/skerry-shell:latest", "command": [sys.executable, "-c", PROGRAM]}
    spec = {"serviceAccountName": "lister", "restartPolicy": "Never", "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lister", "namespace": "robots"}, "spec": spec}
    assert platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod)).returncode == 0
    said = eventually(
        lambda: len(lines := platform.kubectl("logs", "lister", "-n", "robots").stdout.splitlines()) == 2 and lines,
        "the program has asked twice",
    )
    assert said == [
        "robots 200 InferenceServiceList",
        (
            'default 403 inferenceservices.serving.kserve.io is forbidden: User "system:serviceaccount:robots:lister" '
            'cannot list resource "inferenceservices" in API group "serving.kserve.io" in the namespace "default"'
        ),
    ]


def test_keys_are_private(platform: Platform) -> None:
    keys = platform.home / "state" / "pki" / "service-account.keys"
    assert keys.stat().st_mode & 0o777 == 0o600
