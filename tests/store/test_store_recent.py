"""What is kept in memory is what is on the disk, whoever writes and whoever gives up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.cluster.store import Key, Store, StoreError
from skerry.cluster.store.recent import Recent

KEYS = [Key("/pods", "a", name) for name in "pqr"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "store.db")
    yield opened
    opened.close()


def stored(store: Store, key: Key) -> bytes | None:
    """Read past everything that is kept."""
    query = "SELECT data FROM objects WHERE resource=? AND namespace=? AND name=?"
    row = store._reader.execute(query, key).fetchone()
    return row[0] if row else None


actions = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete", "read", "wait", "leave"]), st.sampled_from(KEYS)),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
def test_a_read_is_what_is_committed(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Key]]) -> None:
    asyncio.run(_play(tmp_path_factory.mktemp("store") / "store.db", steps))


async def _play(path: Path, steps: list[tuple[str, Key]]) -> None:
    store = Store.open(path)
    writing: list[asyncio.Task[bytes]] = []
    for turn, (action, key) in enumerate(steps):
        item: dict[str, Any] = {"metadata": {}, "turn": turn}
        match action:
            case "create":
                writing.append(asyncio.ensure_future(store.create(key, item)))
            case "update":
                writing.append(asyncio.ensure_future(store.update(key, item, None)))
            case "delete":
                writing.append(asyncio.ensure_future(store.delete(key, None)))
            case "wait":
                await asyncio.gather(*writing, return_exceptions=True)
            case "leave" if writing:
                await asyncio.sleep(0)
                writing[-1].cancel()
            case _:
                await asyncio.sleep(0)
        before = stored(store, key)
        assert store.get(key) in {before, stored(store, key)}  # a write may be committed between the two
    await asyncio.gather(*writing, return_exceptions=True)
    while store._recent._writes:  # of callers that left
        await asyncio.sleep(0)
    for _ in range(2):
        assert [store.get(key) for key in KEYS] == [stored(store, key) for key in KEYS]
    store.close()


async def test_reads_of_the_same_object_ask_the_database_once(store: Store) -> None:
    made = await store.create(KEYS[0], {"metadata": {}})
    store._reader.execute("PRAGMA query_only=OFF")
    store._reader.execute("UPDATE objects SET data='{}'")
    assert store.get(KEYS[0]) == made
    changed = await store.update(KEYS[0], {"metadata": {}, "spec": 1}, None)
    assert store.get(KEYS[0]) == changed
    await store.delete(KEYS[0], None)
    assert store.get(KEYS[0]) is None


async def test_a_refused_write_leaves_what_was_there(store: Store) -> None:
    made = await store.create(KEYS[0], {"metadata": {}})
    for _ in range(2):
        with pytest.raises(StoreError):
            await store.update(KEYS[0], {"metadata": {}}, 999)
        assert store.get(KEYS[0]) == made


def test_it_is_bounded() -> None:
    recent = Recent(1000)
    for number in range(100):
        recent.put(Key("/pods", "a", f"p{number}"), b"x" * 100)
    recent.put(Key("/pods", "a", "large"), b"x" * 300)
    kept = [number for number in range(100) if recent.get(Key("/pods", "a", f"p{number}"))]
    assert kept == list(range(90, 100))
    assert recent.get(Key("/pods", "a", "large")) is None
    recent.put(Key("/pods", "a", "p95"), b"y")
    assert recent.get(Key("/pods", "a", "p95")) == b"y"
    assert recent._bytes == 901
    recent.clear()
    assert recent.get(Key("/pods", "a", "p95")) is None
