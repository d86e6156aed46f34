"""Who a process is: pids that are used again, zombies, other boots, odd names."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skerry.kit.processes import ProcessIdentity, boot_id, identify


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_running_process_is_alive_until_it_ends() -> None:
    child = sleeper()
    who = identify(child.pid)
    assert who.alive()
    child.kill()
    child.wait()
    assert not who.alive()


def test_a_zombie_is_dead() -> None:
    child = sleeper()
    who = identify(child.pid)
    child.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z":
        assert time.monotonic() < deadline
    assert not who.alive()
    child.wait()


def test_another_process_with_the_pid_is_not_the_same() -> None:
    me = identify(os.getpid())
    assert me.alive()
    assert not ProcessIdentity(me.pid, me.start_time - 1, me.boot_id).alive()


def test_a_pid_that_the_kernel_really_gave_again() -> None:
    """In a pid name space of our own the next pid can be chosen (`ns_last_pid`), so the reuse is a real one."""
    script = f"""
import os, subprocess, sys, time
sys.path.insert(0, {str(Path(__file__).parents[2] / "src")!r})
from skerry.kit.processes import identify
first = subprocess.Popen(["sleep", "60"])
who = identify(first.pid)
assert who.alive()
first.kill(); first.wait()
time.sleep(0.05)  # a start time is counted in hundredths of a second
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(first.pid - 1))
second = subprocess.Popen(["sleep", "60"])
print(first.pid == second.pid, who.alive(), identify(second.pid).alive())
second.kill()
"""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode != 0:
        pytest.skip(f"no pid name space of our own here: {done.stderr.strip()[-80:]}")
    assert done.stdout.split() == ["True", "False", "True"]


def test_a_process_of_another_boot_is_dead() -> None:
    me = identify(os.getpid())
    assert not ProcessIdentity(me.pid, me.start_time, "00000000-0000-0000-0000-000000000000").alive()
    assert me.boot_id == boot_id()


def test_no_process_with_that_pid() -> None:
    child = sleeper()
    child.kill()
    child.wait()
    with pytest.raises(ProcessLookupError, match=str(child.pid)):
        identify(child.pid)


@pytest.mark.parametrize("name", [b"a) R 1 (b", b"\xff\xfe\xfd", b"x y"])
def test_names_may_hold_anything(tmp_path: Path, name: bytes) -> None:
    program = tmp_path / os.fsdecode(name)
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([os.fspath(program), "60"])
    try:
        who = identify(child.pid)
        assert who.start_time > identify(1).start_time or child.pid == 1
        assert who.alive()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not who.alive()
