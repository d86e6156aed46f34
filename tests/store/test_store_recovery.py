"""Damage of every kind: what is restored is what was acknowledged, and what is not is named.

The judge is a dictionary that remembers every state that each object ever had. After a repair an object must be in its
last state, or be named as a loss; an object that is there must be in a state that it once had; nothing that was removed
comes back unnamed; and versions go on above everything that was given out.
"""

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.cluster.store import Expired, Keep, Key, Store
from skerry.cluster.store.copies import Copies
from skerry.cluster.store.recovery import Finding, recover

PAGE = 4096


@dataclass
class Model:
    """What was written: for each key its states in order, None for removed."""

    states: dict[Key, list[bytes | None]] = field(default_factory=dict)
    copied: dict[Key, bytes | None] = field(default_factory=dict)  # at the time of the copy
    last: int = 0

    def now(self, key: Key) -> bytes | None:
        return self.states[key][-1]


async def written(path: Path, seed: int, *, writes: int = 400, copy_at: int | None = 200, keep: int = 2_000) -> Model:
    """Fill a database with random operations."""
    chance, model = random.Random(seed), Model()
    path.parent.mkdir(exist_ok=True)
    store = Store.open(path, keep=Keep(writes=keep))
    assert store._writer._connection is not None
    store._writer._connection.execute("PRAGMA synchronous=OFF")  # nobody pulls the plug here
    keys = [Key("/pods", f"n{number % 3}", f"p{number:03}") for number in range(60)]
    for number in range(writes):
        key = chance.choice(keys)
        item: dict[str, Any] = {"metadata": {"name": key.name}, "text": "x" * chance.choice([10, 300, 3000, 9000])}
        there = model.states.get(key, [None])[-1] is not None
        if not there:
            data: bytes | None = await store.create(key, item)
        elif chance.random() < 0.2:
            data = None
            await store.delete(key, None)
        else:
            data = await store.update(key, item, None)
        model.states.setdefault(key, []).append(data)
        if number == copy_at:
            await asyncio.to_thread(Copies(path.parent / "copies").take, path)
            model.copied = {key: states[-1] for key, states in model.states.items()}
    model.last = store.version
    store.close()
    return model


def flip(path: Path, seed: int) -> None:
    """Change some bytes."""
    chance = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 3, 30])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def blot(path: Path, seed: int) -> None:
    """Overwrite pages with zeros or noise."""
    chance = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 2, 8])):
        start = chance.randrange(len(content) // PAGE) * PAGE
        content[start : start + PAGE] = chance.choice([bytes(PAGE), chance.randbytes(PAGE)])
    path.write_bytes(content)


def behead(path: Path, seed: int) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes(PAGE) + content[PAGE:])


def cut(path: Path, seed: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(seed).randrange(1, len(content))])


def swap(path: Path, seed: int) -> None:
    """Put two pages in each other's place: every byte is one that was written, at a wrong place."""
    chance = random.Random(seed)
    content = bytearray(path.read_bytes())
    one, two = (chance.randrange(1, len(content) // PAGE) * PAGE for _ in range(2))
    content[one : one + PAGE], content[two : two + PAGE] = content[two : two + PAGE], content[one : one + PAGE]
    path.write_bytes(content)


def erase(path: Path, seed: int) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path, seed: int) -> None:
    path.write_bytes(b"")


def remove(path: Path, seed: int) -> None:
    path.unlink()


def scribble(path: Path, seed: int) -> None:
    path.write_bytes(b"this is no database" * 1000)


async def judged(path: Path, model: Model, findings: list[Finding]) -> None:
    """Compare what there is after a recovery with what was written."""
    store = Store.open(path)
    reports = sorted((path.parent / "aside").glob("*/report.json"))
    lost = json.loads(reports[-1].read_bytes())["lost"] if reports else []
    named = {(one["resource"], one["namespace"], one["name"]) for one in lost}
    incomplete = bool(findings) and findings[-1].reason in {"StoreDamaged", "StoreLost"}
    for key, states in model.states.items():
        present = store.get(key)
        assert present is None or present in states, key
        if present != states[-1] and tuple(key) not in named:
            assert incomplete, (key, findings)
            # Not named: made after the copy and gone, or all of the database was gone.
            assert findings[-1].reason == "StoreLost" or (present is None and model.copied.get(key) is None), key
    if findings:
        assert store.version >= model.last
        with pytest.raises(Expired):
            store.watch("/pods", None, model.last - 1)
    made = await store.create(Key("/pods", "later", "later"), {"metadata": {"name": "later"}})
    assert version_of(made) > model.last
    store.close()


def version_of(data: bytes) -> int:
    return int(msgspec.json.decode(data)["metadata"]["resourceVersion"])


Damage = Callable[[Path, int], None]


@pytest.fixture(scope="module")
def wholes(memory: Path) -> dict[Path, Model]:
    """Two databases with a copy: one whose history reaches back to it, one whose history does not."""
    kept = {memory / f"keep-{keep}": keep for keep in (60, 2_000)}
    return {where: asyncio.run(written(where / "store.db", keep, keep=keep)) for where, keep in kept.items()}


@pytest.mark.parametrize("damage", [flip, blot, behead, cut, swap, erase, empty, remove, scribble])
def test_what_is_restored_was_written_and_the_rest_is_named(
    memory: Path, wholes: dict[Path, Model], damage: Damage
) -> None:
    for seed in range(5 if damage in {flip, blot, cut, swap} else 1):
        for whole, model in wholes.items():
            here = memory / "here"
            shutil.copytree(whole, here)
            damage(here / "store.db", seed)
            (here / "store.suspect").touch()  # a flipped bit in a value is found by reading every row
            asyncio.run(judged(here / "store.db", model, recover(here / "store.db")))
            shutil.rmtree(here)
