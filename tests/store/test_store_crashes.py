"""The process is killed at every named point, the power is cut at random instants: what was answered stands.

A short share of `make crash`, and the points at which a kill is most telling.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.store import powercut
from tests.store.test_store_recovery import blot, judged, written

from skerry.cluster.store import Store, failpoints, recover
from skerry.cluster.store.copies import Copies


@pytest.fixture
def memory_path(memory: Path) -> Iterator[Path]:
    """An empty directory in memory."""
    made = memory / "crash"
    made.mkdir()
    yield made
    shutil.rmtree(made)


WORKING = [name for name in failpoints.NAMES if not name.startswith("repair.")]
REPAIRING = [name for name in failpoints.NAMES if name.startswith("repair.")]


def killed(command: list[str], failpoint: str) -> None:
    """Run a command until it reaches the point; that it does is part of the test."""
    environment = {**os.environ, "SKERRY_FAILPOINT": failpoint}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=powercut.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == -9, done.stderr


@pytest.mark.parametrize("name", WORKING)
async def test_killed_at_work(memory_path: Path, name: str) -> None:
    times = 2 if name.startswith(("copy", "vacuum", "writer.compacted")) else 25
    times = 1 if name.startswith("ceiling") else times
    killed(["-m", "tests.store.crash_workload", str(memory_path), "1", "240"], f"{name}:{times}")
    answers = (memory_path / "answers").read_text().splitlines()
    assert answers or name.startswith("ceiling")
    await powercut.judge(memory_path, answers, random.Random(1))
    # What was in the making is worth nothing, and does not stand in the way.
    assert await asyncio.to_thread(Copies(memory_path / "copies").take, memory_path / "store.db")


@pytest.mark.parametrize("name", REPAIRING)
async def test_killed_while_repairing(memory_path: Path, name: str) -> None:
    """The repair is done again, or finished, and loses no more than it would have without the kill."""
    database = memory_path / "store.db"
    model = await written(database, 3, writes=120, copy_at=60)
    blot(database, 5)
    shutil.copytree(memory_path, memory_path / "twin")
    script = (
        "import sys; from pathlib import Path; from skerry.cluster.store import recover; recover(Path(sys.argv[1]))"
    )
    killed(["-c", script, str(database)], name)
    for _ in range(2):
        recover(database)
    twin = memory_path / "twin" / "store.db"
    findings = recover(twin)
    await judged(twin, model, findings)
    assert await contents(database) == await contents(twin)
    assert len(list((memory_path / "aside").iterdir())) <= 3


async def contents(database: Path) -> list[bytes]:
    """All objects of a database but the one that a judge makes."""
    store = Store.open(database)
    items = [item for item in store.list_objects("/pods").items if b'"later"' not in item]
    store.close()
    return items


@pytest.mark.skipif(shutil.which("cc") is None, reason="records with a library that is compiled here: no C compiler")
def test_power_cuts(memory_path: Path) -> None:
    """Two runs of two processes; sixty instants; writes that were not flushed there, lost, in pieces."""
    recorder = powercut.build_recorder(memory_path)
    chance = random.Random(20)
    judged_cuts = 0
    for seed in (100, 200):
        work = memory_path / str(seed)
        work.mkdir()
        root, steps = powercut.recorded(recorder, work, seed, 200)
        kinds = {step.words[0] for step in steps}
        assert kinds >= {"P", "O", "W", "T", "S", "R", "U", "C"}, "not everything is recorded"
        for disk, number in powercut.cuts(steps, root, chance, 30):
            target = work / f"cut-{number}"
            target.mkdir()
            disk.cut(chance, target)
            asyncio.run(powercut.judge(target, disk.answers, chance))
            shutil.rmtree(target)
            judged_cuts += 1
    assert judged_cuts >= 50


@pytest.mark.skipif(shutil.which("cc") is None, reason="records with a library that is compiled here: no C compiler")
def test_the_judge_sees_a_flush_that_is_missing(memory_path: Path) -> None:
    """Without the flushes of the log the same cuts lose writes: the test above can fail."""
    recorder = powercut.build_recorder(memory_path)
    root, steps = powercut.recorded(recorder, memory_path, 5, 150, runs=1)
    chance = random.Random(7)
    lost = 0
    disk = powercut.Disk(root)
    for number, step in enumerate(steps):
        log = step.words[0] == "S" and disk.path_of(step.words[1]).endswith("-wal")
        if not log:
            disk.play(step)
        if number % 500 == 499:
            target = memory_path / f"cut-{number}"
            target.mkdir()
            disk.cut(chance, target)
            try:
                asyncio.run(powercut.judge(target, disk.answers, chance))
            except AssertionError:
                lost += 1
    assert lost
