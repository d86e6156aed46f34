"""Power cuts, replayed: what a disk may hold after one, for every instant of a recorded run.

A run of `crash_workload` is recorded with every write, flush, truncation, rename and removal (`powercut_recorder.c`).
`Disk` plays the record up to an instant and keeps, for each file and each directory, what is durable and what is not
yet. `Disk.cut` then decides at random what of the latter the disk has: writes in pieces of 512 bytes, each there or
not; truncations likewise; names in their order, up to some point. That is harsher than any file system in use.

    python -m tests.store.powercut [--runs 1000] [--seed 0]

records new runs and judges a thousand cuts of them; `make crash` does that.
"""

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from tests.store.crash_workload import KEEP

from skerry.cluster.store import Expired, Key, Store, recover

ROOT: Final = Path(__file__).parents[2]
SECTOR: Final = 512
CUTS_PER_RUN: Final = 50


@dataclass(frozen=True)
class Step:
    """One record; `data` of a write."""

    words: tuple[str, ...]
    data: bytes = b""


@dataclass
class Inode:
    """A file's content: what is durable, and the writes and truncations since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, bytes), or (size, None)

    def flush(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def after(self, chance: random.Random) -> bytes:
        """Return what may be there after a cut."""
        content = bytearray(self.durable)
        share = chance.choice([0.0, 0.5, 0.9, 1.0])
        for offset, data in self.pending:
            if data is None:
                if chance.random() < share:
                    _apply(content, (offset, None))
                continue
            for start, piece in _sectors(offset, data):
                if chance.random() < share:
                    _apply(content, (start, piece))
        return bytes(content)


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR - (offset + start) % SECTOR)
        yield offset + start, data[start:end]
        start = end


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
        content.extend(bytes(max(0, offset - len(content))))
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


class Disk:
    """The files of a run at one instant."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._names: dict[str, Inode] = {}  # as the process sees it
        self._durable: dict[str, Inode] = {}
        self._pending: dict[str, list[tuple[str, Inode | None]]] = {}  # of each directory, in order
        self._open: dict[str, tuple[str, Inode | None]] = {}
        self.answers: list[str] = []

    def play(self, step: Step) -> None:
        match step.words:
            case ("P",):
                self._open.clear()
            case ("O", fd, "d", path):
                self._open[fd] = (path, None)
            case ("O", fd, how, path):
                if path not in self._names:
                    self._link(path, Inode())
                if how == "t":
                    self._names[path].pending.append((0, None))
                self._open[fd] = (path, self._names[path])
            case ("W", fd, offset, _):
                self._write(fd, int(offset), step.data)
            case ("T", fd, size):
                self._file(fd).pending.append((int(size), None))
            case ("S", fd):
                self._flush(*self._open[fd])
            case ("R", source, target):
                self._rename(source, target)
            case ("U", path):
                self._link(path, None)
            case ("C", fd):
                self._open.pop(fd, None)

    def cut(self, chance: random.Random, target: Path) -> None:
        """Write what is left to the directory `target`."""
        names = dict(self._durable)
        for pending in self._pending.values():
            for path, inode in pending[: chance.randint(0, len(pending))]:
                _name(names, path, inode)
        for path, inode in names.items():
            if path.endswith(("-shm", "answers")):
                continue  # shared memory, made anew; and not the disk's
            place = target / path[len(self._root) + 1 :]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(inode.after(chance))

    def path_of(self, fd: str) -> str:
        return self._open[fd][0]

    def _file(self, fd: str) -> Inode:
        inode = self._open[fd][1]
        assert inode is not None
        return inode

    def _write(self, fd: str, offset: int, data: bytes) -> None:
        if self._open[fd][0].endswith("/answers"):
            self.answers += data.decode().splitlines()
        else:
            self._file(fd).pending.append((offset, data))

    def _flush(self, path: str, inode: Inode | None) -> None:
        if inode is not None:
            inode.flush()
        else:
            for name, entry in self._pending.pop(path, []):
                _name(self._durable, name, entry)

    def _link(self, path: str, inode: Inode | None) -> None:
        _name(self._names, path, inode)
        self._pending.setdefault(os.path.dirname(path), []).append((path, inode))  # noqa: PTH120

    def _rename(self, source: str, target: str) -> None:
        moved = [path for path in self._names if path == source or path.startswith(f"{source}/")]
        for path in moved:
            inode = self._names[path]
            self._link(target + path[len(source) :], inode)
            self._link(path, None)


def _name(names: dict[str, Inode], path: str, inode: Inode | None) -> None:
    if inode is None:
        names.pop(path, None)
    else:
        names[path] = inode


def build_recorder(directory: Path) -> Path:
    """Compile the recorder; raises `FileNotFoundError` where there is no compiler."""
    library = directory / "recorder.so"
    source = Path(__file__).with_name("powercut_recorder.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True, timeout=60)
    return library


def recorded(recorder: Path, directory: Path, seed: int, operations: int, runs: int = 2) -> tuple[Path, list[Step]]:
    """Run the workload `runs` times over one directory; all but the last are killed. Returns root and record."""
    root, record = directory / "disk", directory / "record"
    root.mkdir()
    for turn in range(runs):
        environment = {
            **os.environ,
            "LD_PRELOAD": str(recorder),
            "POWERCUT_ROOT": str(root),
            "POWERCUT_LOG": str(record),
            "POWERCUT_QUICK": "1",  # nothing really cuts the power: no need to wait for the disk
        }
        if turn + 1 < runs:
            environment["SKERRY_FAILPOINT"] = f"writer.changed:{operations // 6}"
        command = [sys.executable, "-m", "tests.store.crash_workload", str(root), str(seed + turn), str(operations)]
        done = subprocess.run(command, env=environment, cwd=ROOT, check=False, timeout=60)
        assert done.returncode in {0, -9}, done
    return root, list(_parsed(record.read_bytes()))


def _parsed(content: bytes) -> Iterator[Step]:
    place = 0
    while place < len(content):
        end = content.index(b"\n", place)
        words = tuple(content[place:end].decode().split(" "))
        place = end + 1
        data = b""
        if words[0] == "W":
            data = content[place : place + int(words[3])]
            place += int(words[3])
        yield Step(words, data)


@dataclass
class Expected:
    """What the answers say: for each key its last acknowledged state and what was under way; 0 means absent."""

    acknowledged: dict[Key, int] = field(default_factory=dict)
    begun: dict[Key, set[int]] = field(default_factory=dict)
    ever: set[tuple[Key, int]] = field(default_factory=set)  # begun at some time; a killed process answers no more
    versions: dict[int, tuple[Key, int]] = field(default_factory=dict)

    def take(self, line: str) -> None:
        kind, client, name, number, *version = line.split()
        key = Key("/pods", f"c{client}", name)
        if kind == "B":
            self.begun.setdefault(key, set()).add(int(number))
            self.ever.add((key, int(number)))
        else:
            self.begun.pop(key, None)
            self.acknowledged[key] = int(number)
            self.versions[int(version[0])] = (key, int(number))


async def judge(directory: Path, answers: list[str], chance: random.Random) -> None:
    """Open what a cut has left and compare it with the answers that were given before."""
    expected = Expected()
    for line in answers:
        expected.take(line)
    findings = recover(directory / "store.db")
    assert not findings, findings  # a power cut is no damage
    store = Store.open(directory / "store.db", keep=KEEP)
    try:
        last = max(expected.versions, default=0)
        assert store.version >= last, "a version was given out again"
        for key in expected.acknowledged.keys() | expected.begun.keys():
            present = store.get(key)
            number = msgspec.json.decode(present)["number"] if present else 0
            allowed = {expected.acknowledged.get(key, 0), *expected.begun.get(key, ())}
            assert number in allowed, (key, number, allowed)
        await _judge_watch(store, expected, chance)
        made = await store.create(Key("/pods", "after", "after"), {"metadata": {"name": "after"}})
        assert int(msgspec.json.decode(made)["metadata"]["resourceVersion"]) > last
    finally:
        store.close()


async def _judge_watch(store: Store, expected: Expected, chance: random.Random) -> None:
    """A client that had seen everything up to an acknowledged version goes on there."""
    if not expected.versions:
        return
    since = chance.choice(sorted(expected.versions)[-40:])
    try:
        watcher = store.watch("/pods", None, since)
    except Expired:
        assert since < max(expected.versions) - KEEP.writes // 4
        return
    seen: dict[int, tuple[Key, int]] = {}
    while not watcher.caught_up or not seen:
        if since == store.version:
            break
        event = await asyncio.wait_for(watcher.next(), 5)
        assert event is not None
        assert event.version > max(seen, default=since), "an event came twice or out of order"
        number = 0 if event.type == "DELETED" else event.object["number"]
        seen[event.version] = (event.key, number)
    wanted = {version: what for version, what in expected.versions.items() if version > since}
    assert wanted.items() <= seen.items(), "an acknowledged write has no event"
    assert {seen[version] for version in seen.keys() - wanted.keys()} <= expected.ever, "an event of no write"


def cuts(steps: list[Step], root: Path, chance: random.Random, count: int) -> Iterator[tuple[Disk, int]]:
    """Yield the disk at random instants, in order, and more of them right around flushes."""
    syncs = [number for number, step in enumerate(steps) if step.words[0] in {"S", "R", "U", "T"}]
    points = {chance.randrange(len(steps)) for _ in range(count // 2)}
    points |= {min(len(steps) - 1, chance.choice(syncs) + chance.randint(-1, 1)) for _ in range(count - len(points))}
    disk = Disk(root)
    for number, step in enumerate(steps):
        if number in points:
            yield disk, number
        disk.play(step)


def main() -> int:
    """Judge many cuts; returns 1 when one lost something."""
    parser = argparse.ArgumentParser(description="Replay power cuts against the store.")
    parser.add_argument("--runs", type=int, default=1000, help="how many cuts")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    chance, failed, done = random.Random(options.seed), 0, 0
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as made:
        recorder = build_recorder(Path(made))
        while done < options.runs:
            work = Path(made) / str(done)
            work.mkdir()
            root, steps = recorded(recorder, work, chance.randrange(1, 10_000), 300)
            counted.update(step.words[0] for step in steps)
            for disk, number in cuts(steps, root, chance, CUTS_PER_RUN):
                done += 1
                target = work / f"cut-{number}"
                disk.cut(chance, target)
                target.mkdir(exist_ok=True)
                try:
                    asyncio.run(judge(target, disk.answers, chance))
                except Exception as error:  # noqa: BLE001 - every kind of failure is counted
                    failed += 1
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    sys.stdout.write(f"cut {number} of seed {options.seed}: {where.line}: {error!r}\n")
                shutil.rmtree(target)
            shutil.rmtree(work)
    sys.stdout.write(f"{done} cuts, {failed} failed; seed {options.seed}; recorded {dict(counted)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
