"""One daemon a directory, and facts that are only believed while that very process lives."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from skerry.daemon.lock import AlreadyRunning, DaemonFacts, read_facts, take_lock
from skerry.kit.processes import identify


def test_a_second_daemon_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    code = (
        "from pathlib import Path; from skerry.daemon.lock import take_lock;"
        f"take_lock(Path({str(path)!r})); print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(AlreadyRunning):
        take_lock(path)
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    os.close(take_lock(path))


def test_facts_of_a_dead_daemon_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    me = identify(os.getpid())
    facts = DaemonFacts(me.pid, me.start_time, me.boot_id, "https://a", "http://g", "/k", "apps.localhost")
    path.write_bytes(msgspec.json.encode(facts))
    assert read_facts(path) == facts
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(facts, start_time=me.start_time - 1)))
    assert read_facts(path) is None
    path.write_bytes(b"half a fi")
    assert read_facts(path) is None
