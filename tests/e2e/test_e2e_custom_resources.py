"""Custom resources on the whole platform: from a manifest directory, over a restart, and gone with their definition."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.custom_resources.builders import GROUP, crontab, definition
from tests.e2e.running import Platform, eventually, start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NATIVE = {
    "clusterservingruntimes.serving.kserve.io",
    "inferenceservices.serving.kserve.io",
    "routes.route.openshift.io",
    "servingruntimes.serving.kserve.io",
}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform that finds a definition and an object of it among its manifests, the object first."""
    directory = tmp_path / "etc" / "manifests.d" / "cron"
    directory.mkdir(parents=True)
    (directory / "kustomization.yaml").write_text("resources: [object.yaml, definition.yaml]\n")
    (directory / "object.yaml").write_text(yaml.safe_dump(crontab()))
    (directory / "definition.yaml").write_text(yaml.safe_dump(definition()))
    running = start(tmp_path)
    yield running
    running.skerry("down")
    assert "Traceback" not in running.log()


def names(platform: Platform, kind: str) -> set[str]:
    done = platform.kubectl("get", kind, "-o", "json")
    return {item["metadata"]["name"] for item in json.loads(done.stdout)["items"]} if done.returncode == 0 else set()


def test_from_a_manifest_over_a_restart_to_the_end(platform: Platform) -> None:
    eventually(lambda: names(platform, "crontabs") == {"my"}, "the object of the manifest")
    assert names(platform, "crd") == {*NATIVE, f"crontabs.{GROUP}"}
    platform.skerry("down")
    assert platform.up().returncode == 0
    assert names(platform, "crontabs") == {"my"}
    uid = platform.json("get", "crontab", "my")["metadata"]["uid"]
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "owned",
            "ownerReferences": [{"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "name": "my", "uid": uid}],
        },
    }
    assert platform.kubectl("create", "-f", "-", stdin=json.dumps(owned)).returncode == 0
    deleted = platform.kubectl("delete", "crd", f"crontabs.{GROUP}", "--timeout=30s")
    assert deleted.returncode == 0, deleted.stderr
    assert names(platform, "crd") == NATIVE
    eventually(lambda: "owned" not in names(platform, "configmaps"), "what the object owned goes after it")
