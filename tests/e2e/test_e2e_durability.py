"""A whole platform whose database, disk or certificates are not what they should be: it comes up, and says so."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.running import Platform, eventually, start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PAGE = 4096


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One platform; each test leaves it running."""
    running = start(tmp_path_factory.mktemp("durability") / "home")
    eventually(lambda: running.kubectl("get", "node", "skerry").returncode == 0, "the node")
    yield running
    running.skerry("down")
    assert "Traceback" not in running.log()


def database(platform: Platform) -> Path:
    return platform.home / "state" / "cluster" / "store.db"


def killed(platform: Platform) -> None:
    os.kill(platform.facts["pid"], signal.SIGKILL)
    eventually(lambda: platform.skerry("status").returncode == 3, "the daemon is dead")


def test_a_damaged_database_is_repaired_at_the_start(platform: Platform) -> None:
    assert platform.kubectl("create", "configmap", "precious", "--from-literal=a=1").returncode == 0
    before = int(platform.json("get", "configmap", "precious")["metadata"]["resourceVersion"])
    killed(platform)
    with contextlib.closing(sqlite3.connect(database(platform))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database(platform).open("r+b") as file:
        file.write(bytes(PAGE))  # the first page: no header, no list of tables
    assert platform.up().returncode == 0, platform.log()
    assert platform.json("get", "configmap", "precious")["data"] == {"a": "1"}
    made = platform.kubectl("create", "configmap", "later", "-o", "json")
    assert int(json.loads(made.stdout)["metadata"]["resourceVersion"]) > before + 10_000
    told = platform.skerry("status")
    assert (told.returncode, "StoreRestored" in told.stdout) == (0, True), told.stdout
    notices = json.loads(platform.skerry("status", "-o", "json").stdout)["store"]["notices"]
    assert "nothing that was acknowledged is lost" in notices[-1]["message"]
    events = eventually(
        lambda: platform.json("get", "events", "-A", "--field-selector", "reason=StoreRestored")["items"], "the event"
    )
    assert events[0]["involvedObject"]["kind"] == "Node"


def test_a_lost_database_is_taken_from_a_backup(platform: Platform, tmp_path: Path) -> None:
    assert platform.kubectl("create", "configmap", "saved", "--from-literal=a=1").returncode == 0
    saved = tmp_path / "box.tar.gz"
    assert platform.skerry("backup", "create", str(saved)).returncode == 0
    assert platform.kubectl("delete", "configmap", "saved").returncode == 0
    refused = platform.skerry("backup", "restore", str(saved), "-y")
    assert (refused.returncode, "skerry down" in refused.stderr) == (1, True)
    assert platform.skerry("down").returncode == 0
    shown = platform.skerry("backup", "restore", str(saved), "--dry-run")
    assert "configmaps default/saved" in shown.stderr
    assert platform.skerry("backup", "restore", str(saved), "-y").returncode == 0
    assert platform.up().returncode == 0
    assert platform.json("get", "configmap", "saved")["data"] == {"a": "1"}


def test_the_database_of_a_newer_skerry_is_left_alone_and_said(platform: Platform) -> None:
    assert platform.skerry("down").returncode == 0
    with contextlib.closing(sqlite3.connect(database(platform))) as connection:
        connection.execute("PRAGMA user_version=99")
    aside = sorted((database(platform).parent / "aside").glob("*"))
    failed = platform.up()
    assert (failed.returncode, "start the newer Skerry" in failed.stderr) == (1, True), failed.stderr
    told = platform.skerry("status")
    assert (told.returncode, "start the newer Skerry" in told.stderr) == (3, True), told.stderr
    with contextlib.closing(sqlite3.connect(database(platform))) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)
        assert sorted((database(platform).parent / "aside").glob("*")) == aside
        connection.execute("PRAGMA user_version=2")
    assert platform.up().returncode == 0
    assert "newer" not in platform.skerry("status").stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes of its own; made by the kernel, so for root only."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs to mount a disk of its own: root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_stops_writes_and_nothing_else(small_disk: Path) -> None:
    platform = start(small_disk / "home")
    try:
        assert platform.kubectl("create", "configmap", "before").returncode == 0
        ballast = small_disk / "ballast"
        _fill(ballast)
        refused = eventually(lambda: _refused(platform), "a write is refused")
        assert "InsufficientStorage" in refused
        assert platform.kubectl("get", "configmap", "before").returncode == 0
        told = platform.skerry("status")
        assert (told.returncode, "is full" in told.stdout) == (1, True), told.stdout + told.stderr
        killed(platform)
        started = platform.up()
        assert started.returncode == 0, started.stderr + platform.log()
        assert platform.kubectl("get", "configmap", "before").returncode == 0
        ballast.unlink()
        eventually(lambda: platform.kubectl("create", "configmap", "after").returncode == 0, "writes go on")
        assert "is full" not in platform.skerry("status").stdout
    finally:
        platform.skerry("down")


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))


def _refused(platform: Platform) -> str:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "c-"}, "data": {"a": "x" * 20_000}}
    made = platform.kubectl(
        "create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", "-", stdin=json.dumps(item)
    )
    return made.stderr if made.returncode else ""
