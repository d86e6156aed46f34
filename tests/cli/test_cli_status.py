"""`skerry status` on a box on which everything is broken: an answer within seconds, and no trace."""

import json
import os
import socket
import time
from collections.abc import Iterator

import msgspec
import pytest
from click.testing import CliRunner, Result

from skerry.cli import status as status_command
from skerry.cli.main import cli
from skerry.daemon.certificates import Pki, ensure, kubeconfig
from skerry.daemon.health import note, note_start
from skerry.daemon.lock import DaemonFacts
from skerry.daemon.paths import Paths
from skerry.kit.clock import SystemClock
from skerry.kit.processes import identify


def running(where: Paths, api_url: str) -> None:
    """Leave the facts of a daemon that runs; it is this process."""
    me = identify(os.getpid())
    facts = DaemonFacts(
        pid=me.pid,
        start_time=me.start_time,
        boot_id=me.boot_id,
        api_url=api_url,
        gateway_url="http://127.0.0.1:1",
        kubeconfig=str(where.kubeconfig),
        apps_domain="apps.localhost",
    )
    where.daemon_facts.write_bytes(msgspec.json.encode(facts))


def skerry_status(*words: str) -> Result:
    done = CliRunner().invoke(cli, ["status", *words], standalone_mode=False)
    assert done.exception is None, done.exception
    return done


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("content", [None, b"", b"\0" * 100, b"current-context: x\n", b"- a\n"])
def test_without_a_kubeconfig_that_can_be_used(box: Paths, content: bytes | None) -> None:
    running(box, "https://127.0.0.1:1")
    if content is not None:
        box.kubeconfig.write_bytes(content)
    done = skerry_status("-o", "json")
    seen = json.loads(done.stdout)
    assert (done.return_value, seen["ready"], "kubeconfig" in seen["problem"]) == (1, False, True), seen["problem"]
    assert "Problem" in skerry_status().stdout


def test_an_api_that_does_not_answer(box: Paths, silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_command, "_PATIENCE", 0.3)
    pki = Pki(box.pki)
    ensure(pki, ["127.0.0.1"], SystemClock().now())
    box.kubeconfig.write_bytes(kubeconfig(pki, f"https://127.0.0.1:{silent}"))
    running(box, f"https://127.0.0.1:{silent}")
    note(box.health, "StoreDamaged", "pods default/x (as of version 7)", SystemClock().now())
    started = time.monotonic()
    done = skerry_status()
    assert time.monotonic() - started < 5
    assert "cannot reach the API server" in done.stdout
    assert "StoreDamaged: pods default/x (as of version 7)" in done.stdout


def test_why_the_last_start_failed(box: Paths) -> None:
    note_start(box.health, "the database has schema 99; start the newer Skerry")
    done = skerry_status()
    assert (done.return_value, "start the newer Skerry" in done.stderr) == (3, True)
    assert json.loads(skerry_status("-o", "json").stdout)["store"]["cannotStart"].endswith("start the newer Skerry")
    note_start(box.health)
    assert "newer" not in skerry_status().stderr


@pytest.mark.parametrize("content", [b"", b"\0\0", b"[]", b'{"notices": 3}'])
def test_files_that_are_damaged(box: Paths, content: bytes) -> None:
    for path in (box.health, box.daemon_facts):
        path.write_bytes(content)
    assert skerry_status("-o", "json").return_value == 3
    note(box.health, "StoreLost", "x", SystemClock().now())
    notices = json.loads(skerry_status("-o", "json").stdout)["store"]["notices"]
    assert [one["reason"] for one in notices] == ["StoreLost"]


def test_only_so_many_notices_are_kept(box: Paths) -> None:
    for number in range(30):
        note(box.health, "StoreRestored", str(number), SystemClock().now())
    notices = json.loads(skerry_status("-o", "json").stdout)["store"]["notices"]
    assert [one["message"] for one in notices] == [str(number) for number in range(20, 30)]
