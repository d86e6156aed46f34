"""Supervisors over real processes: exit codes, logs, escapes, and who dies with whom.

What must hold: a container outlives the daemon and never its supervisor; nothing that it started outlives it; a daemon
that comes later learns the same facts as one that was there.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.node.bench import Bench, eventually

from skerry.cluster.node.containers import Container, Exit, find, launch
from skerry.kit.processes import identify


def gone(pid: int) -> bool:
    try:
        return not identify(pid).alive()
    except ProcessLookupError:
        return True


def supervisor_of(directory: Path) -> int:
    return int(json.loads((directory / "state.json").read_text())["supervisor"]["pid"])


async def test_a_program_runs_to_its_end(bench: Bench) -> None:
    what = bench.build("sh", "-c", "echo out; echo problem >&2; printf 'no newline'; exit 3")
    end = await bench.run(what)
    assert (3, 0, "Error", "") == (end.exit_code, end.signal, end.reason, end.message)
    assert end.started_at is not None
    assert end.started_at <= end.finished_at
    assert ["out", "no newline"] == bench.output(what)
    assert ["problem"] == bench.output(what, "stderr")
    tags = [line.split(" ")[2] for line in what.log_file.read_text().splitlines()]
    assert sorted(tags) == ["F", "F", "P"]


async def test_success_is_completed(bench: Bench) -> None:
    end = await bench.run(bench.build("true"))
    assert (0, "Completed") == (end.exit_code, end.reason)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("no-such-program", 'exec: "no-such-program": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
async def test_a_program_that_cannot_start_says_why(bench: Bench, program: str, message: str) -> None:
    end = await bench.run(bench.build(program))
    assert (128, "StartError", message) == (end.exit_code, end.reason, end.message)


async def test_a_missing_working_directory_says_so(bench: Bench) -> None:
    end = await bench.run(bench.build("true", cwd="/no/such/place"))
    assert 'chdir to cwd ("/no/such/place"): no such file or directory' == end.message


async def test_the_environment_is_built_from_nothing(bench: Bench) -> None:
    what = bench.build("env", env={"GREETING": "grüß dich"})
    await bench.run(what)
    names = {line.partition("=")[0] for line in bench.output(what)}
    assert {"PATH", "GREETING", "SKERRY_CONTAINER_ID"} == names
    assert "GREETING=grüß dich" in bench.output(what)


async def test_the_stop_signal_reaches_the_program(bench: Bench) -> None:
    what = bench.build("sh", "-c", "trap 'echo stopping; exit 5' TERM; echo up; while :; do sleep 0.05; done")
    container = await bench.start(what)
    await eventually(lambda: what.log_file.exists() and bench.output(what) == ["up"])
    container.terminate()
    end = await container.exited
    assert (5, ["up", "stopping"]) == (end.exit_code, bench.output(what))


async def test_another_stop_signal_can_be_chosen(bench: Bench) -> None:
    container = await bench.start(replace(bench.build("sleep", "100"), stop_signal=int(signal.SIGQUIT)))
    container.terminate()
    assert 131 == (await container.exited).exit_code


async def test_killing_reaches_programs_that_hide(bench: Bench) -> None:
    hide = "setsid sh -c 'trap \"\" TERM; sleep 1000 & echo $!; wait' & trap '' TERM; sleep 1000 & echo $!; wait"
    what = bench.build("sh", "-c", hide)
    container = await bench.start(what)
    await eventually(lambda: what.log_file.exists() and len(bench.output(what)) == 2)
    container.kill()
    end = await container.exited
    assert (137, 9) == (end.exit_code, end.signal)
    assert all(gone(int(pid)) for pid in bench.output(what))


async def test_what_the_program_leaves_behind_ends_with_it(bench: Bench) -> None:
    what = bench.build("sh", "-c", "setsid sleep 1000 & echo $!; exit 0")
    end = await bench.run(what)
    assert 0 == end.exit_code
    assert all(gone(int(pid)) for pid in bench.output(what))


async def test_a_container_dies_with_its_supervisor(bench: Bench) -> None:
    what = bench.build("sh", "-c", "trap '' TERM; setsid sleep 1000 & echo $!; wait")
    container = await bench.start(what)
    await eventually(lambda: what.log_file.exists() and len(bench.output(what)) == 1)
    os.kill(supervisor_of(what.directory), signal.SIGKILL)
    end = await container.exited
    assert (137, "ContainerStatusUnknown") == (end.exit_code, end.reason)
    await eventually(lambda: gone(container.pid))
    await eventually(lambda: gone(int(bench.output(what)[0])))
    assert end == await find(what.directory), "the made-up report is kept"


async def test_long_lines_are_cut_in_parts(bench: Bench) -> None:
    what = bench.build("sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end")
    await bench.run(what)
    lines = [line.split(" ", 3) for line in what.log_file.read_text().splitlines()]
    joined = "".join(line[3] for line in lines[: [line[2] for line in lines].index("F") + 1])
    assert "x" * 40000 == joined
    assert "end" == lines[-1][3]


async def test_logs_are_rotated_and_the_oldest_removed(bench: Bench) -> None:
    what = replace(
        bench.build("sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"),
        log_bytes=10_000,
        log_files=3,
    )
    await bench.run(what)
    files = sorted(what.log_file.parent.iterdir())
    assert 3 == len(files)
    assert all(file.stat().st_size <= 10_000 for file in files)
    rotated = [file for file in files if file != what.log_file]
    text = "".join(file.read_text() for file in [*rotated, what.log_file])
    numbers = [int(line.rsplit(" ", 1)[1]) for line in text.splitlines()]
    assert list(range(numbers[0], 2000)) == numbers, "the kept lines are the last ones, without a gap"


async def test_a_lost_log_directory_does_not_stop_the_container(bench: Bench) -> None:
    go = bench.root / "go"
    what = replace(bench.build("sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; seq 100; exit 4"), log_bytes=100)
    container = await bench.start(what)
    await eventually(what.log_file.exists)
    what.log_file.unlink()
    what.log_file.parent.rmdir()
    go.touch()
    assert 4 == (await container.exited).exit_code


_DAEMON = """
import asyncio, os, signal, sys, msgspec
from pathlib import Path
from skerry.cluster.node.containers import Launch, Program, launch
async def main():
    directory = Path(sys.argv[1])
    program = msgspec.json.decode(sys.argv[2].encode(), type=Program)
    await launch(Launch(directory, directory / "spec", directory / "log" / "0.log", program))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_a_container_outlives_the_daemon(bench: Bench) -> None:
    go = bench.root / "go"
    what = bench.build("sh", "-c", f"echo one; until [ -e {go} ]; do sleep 0.02; done; echo two; exit 42")
    program = msgspec.json.encode(what.program).decode()
    daemon = subprocess.run(
        [sys.executable, "-c", _DAEMON, str(what.directory), program], check=False, timeout=30, capture_output=True
    )
    assert -signal.SIGKILL == daemon.returncode, daemon.stderr
    container = await find(what.directory)
    assert isinstance(container, Container)
    assert not gone(container.pid)
    go.touch()
    assert 42 == (await container.exited).exit_code
    assert ["one", "two"] == bench.output(what)
    assert isinstance(await find(what.directory), Exit), "a third daemon reads the same"


async def test_an_end_nobody_saw_is_read_later(bench: Bench) -> None:
    what = bench.build("sh", "-c", "sleep 0.05; exit 7")
    container = await bench.start(what)
    container.release()
    await eventually((what.directory / "exit.json").exists)
    end = await find(what.directory)
    assert isinstance(end, Exit)
    assert 7 == end.exit_code
    container.exited.set_result(end)


async def test_a_supervisor_that_is_just_starting_is_waited_for(bench: Bench) -> None:
    what = bench.build("sleep", "100")
    container = await bench.start(what)
    state = (what.directory / "state.json").read_bytes()
    (what.directory / "state.json").unlink()  # as a daemon would see it a moment earlier

    async def appear() -> None:
        await asyncio.sleep(0.1)
        (what.directory / "state.json").write_bytes(state)

    async with asyncio.TaskGroup() as group:
        group.create_task(appear())
        found = await find(what.directory)
    assert isinstance(found, Container)
    assert container.pid == found.pid
    found.release()


async def test_an_attempt_of_another_boot_is_lost(bench: Bench) -> None:
    what = bench.build("true")
    state = {
        "supervisor": {"pid": os.getpid(), "startTime": 1, "bootId": "another"},
        "child": {"pid": os.getpid(), "startTime": 1, "bootId": "another"},
        "startedAt": "2026-01-01T00:00:00.123456789Z",
    }
    (what.directory / "state.json").write_text(json.dumps(state))
    (what.directory / "lock").touch()
    end = await find(what.directory)
    assert isinstance(end, Exit)
    assert (137, "ContainerStatusUnknown") == (end.exit_code, end.reason)


async def test_an_attempt_that_was_only_prepared_is_nothing(bench: Bench) -> None:
    assert await find(bench.build("true").directory) is None


async def test_memory_is_watched_where_no_control_group_does(bench: Bench) -> None:
    hog = "import time; held = bytearray(80 << 20); print('held', flush=True); time.sleep(100)"
    end = await bench.run(replace(bench.build(sys.executable, "-c", hog), memory_limit=50 << 20))
    assert (137, "OOMKilled") == (end.exit_code, end.reason)


async def test_a_supervisor_stays_small_and_starts_fast(bench: Bench) -> None:
    await bench.run(bench.build("true"))  # fills the byte code cache
    loop = asyncio.get_running_loop()
    before = loop.time()
    what = bench.build("sleep", "100")
    await bench.start(what)
    took = loop.time() - before
    rollup = Path(f"/proc/{supervisor_of(what.directory)}/smaps_rollup").read_text()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
    assert kib["Rss"] < 10 * 1024
    assert kib["Anonymous"] < 4 * 1024
    assert took < 1.0, "a wide limit: the machine may be busy"


async def test_an_idle_supervisor_uses_no_time(bench: Bench) -> None:
    what = bench.build("sleep", "100")
    await bench.start(what)
    stat = Path(f"/proc/{supervisor_of(what.directory)}/status")

    def switches() -> str:
        return next(line for line in stat.read_text().splitlines() if line.startswith("voluntary"))

    for _ in range(10):  # it may still be settling down
        before = switches()
        await asyncio.sleep(0.3)
        if before == switches():
            return
    pytest.fail("an idle supervisor wakes up again and again")


async def test_the_same_attempt_cannot_be_started_twice(bench: Bench) -> None:
    what = bench.build("sleep", "100")
    await bench.start(what)
    with pytest.raises(Exception, match="cannot start the container's supervisor"):
        await launch(what)


async def test_no_supervisor_stays_a_zombie(bench: Bench) -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(children.read_text().split())  # other tests let go of theirs
    await bench.run(bench.build("no-such-program"))
    await bench.run(bench.build("true"))
    await eventually(lambda: set(children.read_text().split()) <= before)
