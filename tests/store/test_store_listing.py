"""Lists of earlier versions, judged by a model that keeps a whole copy of every state."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.cluster.store import Expired, Keep, Key, Store

State = dict[Key, bytes]

KEYS = [Key(resource, namespace, name) for resource in ("/pods", "/maps") for namespace in "ab" for name in "pqr"]


class Question(NamedTuple):
    """A list of one earlier state in pages."""

    back: int
    resource: str
    namespace: str | None
    name: str | None
    limit: int


steps = st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from(KEYS)), min_size=1, max_size=30)
questions = st.lists(
    st.builds(
        Question,
        back=st.integers(0, 30),
        resource=st.sampled_from(["/pods", "/maps"]),
        namespace=st.sampled_from([None, "a", "b"]),
        name=st.sampled_from([None, None, "p"]),
        limit=st.integers(0, 4),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, questions)
def test_every_earlier_state_can_be_listed(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, Key]], asked: list[Question]
) -> None:
    asyncio.run(_play(tmp_path_factory.mktemp("store") / "store.db", changes, asked))


async def _play(path: Path, changes: list[tuple[str, Key]], asked: list[Question]) -> None:
    store = Store.open(path)
    try:
        states: dict[int, State] = {store.version: {}}
        for turn, (action, key) in enumerate(changes):
            state = dict(states[store.version])
            if action == "put":
                item: dict[str, Any] = {"metadata": {"name": key.name}, "turn": turn}
                state[key] = await (store.update(key, item, None) if key in state else store.create(key, item))
            elif state.pop(key, None) is not None:
                await store.delete(key, None)
            states[store.version] = state
        for question in asked:
            version = max(store.version - question.back, min(states))
            assert _pages(store, question, version) == _expected(states[version], question)
    finally:
        store.close()


def _expected(state: State, question: Question) -> list[bytes]:
    def meant(key: Key) -> bool:
        return (
            key.resource == question.resource
            and question.namespace in {None, key.namespace}
            and question.name in {None, key.name}
        )

    return [state[key] for key in sorted(state) if meant(key)]


def _pages(store: Store, question: Question, version: int) -> list[bytes]:
    found: list[bytes] = []
    after: tuple[str, str] | None = None
    remaining = None
    while True:
        page = store.list_objects(
            question.resource, question.namespace, name=question.name, limit=question.limit, after=after, at=version
        )
        assert page.version == version
        assert remaining is None or remaining == len(page.items) + page.remaining
        found += page.items
        after, remaining = page.after, page.remaining
        if after is None:
            assert page.remaining == 0
            return found
        assert len(page.items) == question.limit


async def test_a_state_whose_changes_are_forgotten_is_said(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db", keep=Keep(100))
    key = Key("/pods", "a", "x")
    first = int(msgspec.json.decode(await store.create(key, {"metadata": {}}))["metadata"]["resourceVersion"])
    await asyncio.gather(*(store.update(key, {"metadata": {}, "turn": turn}, None) for turn in range(1100)))
    with pytest.raises(Expired):
        store.list_objects("/pods", at=first)
    (item,) = store.list_objects("/pods", at=store.version - 50).items
    assert msgspec.json.decode(item)["turn"] == 1049
    store.close()
