"""Backups: whole or refused, for the owner's eyes, restored with versions that go on."""

import asyncio
import json
import os
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from skerry.cli.main import cli
from skerry.cluster.store import Key, Store
from skerry.daemon.certificates import Pki, ensure
from skerry.daemon.lock import take_lock
from skerry.daemon.paths import Paths, paths

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A box with some objects and certificates."""
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path / "home"))
    where = paths()
    where.store.parent.mkdir(parents=True)
    ensure(Pki(where.pki), ["localhost"], NOW)
    written(where, {"a": 1, "b": 1})
    return where


def written(where: Paths, objects: dict[str, int]) -> int:
    """Make the ConfigMaps of the box these; returns its version."""

    async def write() -> int:
        store = Store.open(where.store)
        present = {json.loads(item)["metadata"]["name"] for item in store.list_objects("/configmaps").items}
        for name in present - objects.keys():
            await store.delete(Key("/configmaps", "n", name), None)
        for name, value in objects.items():
            item: dict[str, Any] = {"metadata": {"name": name, "namespace": "n"}, "value": value}
            key = Key("/configmaps", "n", name)
            await (store.update(key, item, None) if name in present else store.create(key, item))
        version = store.version
        store.close()
        return version

    return asyncio.run(write())


def there(where: Paths) -> dict[str, int]:
    async def read() -> dict[str, int]:
        store = Store.open(where.store)
        items = [json.loads(item) for item in store.list_objects("/configmaps").items]
        store.close()
        return {item["metadata"]["name"]: item["value"] for item in items}

    return asyncio.run(read())


def skerry(*words: str) -> Result:
    return CliRunner().invoke(cli, ["backup", *words])


def test_there_and_back_on_another_box(box: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = tmp_path / "box.tar.gz"
    assert skerry("create", str(saved)).exit_code == 0
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    token = Pki(box.pki).admin_token.read_text()
    monkeypatch.setenv("SKERRY_HOME", str(tmp_path / "other"))
    assert skerry("restore", str(saved), "-y").exit_code == 0
    assert there(paths()) == {"a": 1, "b": 1}
    assert Pki(paths().pki).admin_token.read_text() == token
    assert stat.S_IMODE(Pki(paths().pki).ca_key.stat().st_mode) == 0o600


def test_a_restore_says_what_it_changes_and_keeps_what_was(box: Paths, tmp_path: Path) -> None:
    saved = str(tmp_path / "box.tar.gz")
    skerry("create", saved)
    last = written(box, {"b": 2, "c": 3})
    plan = skerry("restore", saved, "--dry-run", "-o", "json")
    assert json.loads(plan.stdout)["difference"] == {
        "added": ["configmaps n/a"],
        "changed": ["configmaps n/b"],
        "removed": ["configmaps n/c"],
    }
    assert there(box) == {"b": 2, "c": 3}
    asked = CliRunner().invoke(cli, ["backup", "restore", saved], input="n\n")
    assert isinstance(asked.exception, SystemExit)
    assert there(box) == {"b": 2, "c": 3}
    done = json.loads(skerry("restore", saved, "-y", "--keep-certificates", "-o", "json").stdout)
    assert there(box) == {"a": 1, "b": 1}
    assert written(box, {"a": 1, "b": 1}) > last
    kept = list(Path(done["kept"]).iterdir())
    assert "store.db" in {path.name for path in kept}


def test_a_restore_waits_for_the_daemon_to_be_stopped(box: Paths, tmp_path: Path) -> None:
    saved = str(tmp_path / "box.tar.gz")
    skerry("create", saved)
    held = take_lock(box.daemon_lock)
    try:
        refused = skerry("restore", saved, "-y")
        assert (refused.exit_code, "skerry down" in refused.output) == (1, True)
    finally:
        os.close(held)


def test_a_backup_is_taken_while_others_write(box: Paths, tmp_path: Path) -> None:
    async def both() -> Result:
        store = Store.open(box.store)
        creating = asyncio.ensure_future(asyncio.to_thread(skerry, "create", str(tmp_path / "live.tar.gz")))
        number = 0
        while not creating.done():
            await store.create(Key("/configmaps", "n", f"w{number}"), {"metadata": {"name": f"w{number}"}, "value": 0})
            number += 1
        store.close()
        return await creating

    assert asyncio.run(both()).exit_code == 0
    assert skerry("verify", str(tmp_path / "live.tar.gz")).exit_code == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "missing", "foreign"])
def test_what_is_not_whole_is_refused(box: Paths, tmp_path: Path, damage: str) -> None:
    saved = tmp_path / "box.tar.gz"
    skerry("create", str(saved))
    content = bytearray(saved.read_bytes())
    match damage:
        case "cut":
            saved.write_bytes(content[: len(content) // 2])
        case "flip":
            content[len(content) // 2] ^= 0xFF
            saved.write_bytes(content)
        case "other":
            saved.write_text("no archive")
        case "missing":
            saved.unlink()
        case "foreign":
            with tarfile.open(saved, "w:gz") as tar:
                tar.add(box.store, "../../escape")
    for words in (["verify"], ["restore", "-y"]):
        refused = skerry(words[0], str(saved), *words[1:])
        assert refused.exit_code == 1, refused.output
        assert str(saved) in refused.output
    assert there(box) == {"a": 1, "b": 1}


def test_every_flipped_byte_is_noticed(box: Paths, tmp_path: Path) -> None:
    saved = tmp_path / "box.tar.gz"
    skerry("create", str(saved))
    content = saved.read_bytes()
    for place in range(20, len(content) - 8, len(content) // 25):
        saved.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        refused = skerry("verify", str(saved))
        assert isinstance(refused.exception, SystemExit), (place, refused.exception)
        assert refused.exit_code == 1, place


def test_the_list_names_backups_and_copies(box: Paths) -> None:
    assert json.loads(skerry("list", "-o", "json").stdout) == {"items": []}
    made = json.loads(skerry("create", "-o", "json").stdout)
    assert made["objects"] == {"configmaps": 2}
    listed = json.loads(skerry("list", "-o", "json").stdout)["items"]
    assert [one["file"] for one in listed] == [made["file"]]
    assert skerry("verify", made["file"]).exit_code == 0
