"""Lists as of one version: pages, exact versions, what is said when the past is gone, long lists in pieces."""

import json
from typing import Any

import httpx2
import pytest

from skerry.cluster.apiserver import reading
from skerry.cluster.apiserver.list_options import Continue
from skerry.cluster.store import Store

MAPS = "/api/v1/namespaces/a/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


async def create(http: httpx2.AsyncClient, name: str, path: str = MAPS, **data: str) -> str:
    made = await http.post(path, json={"metadata": {"name": name, "labels": {"on": "yes"}}, "data": data})
    assert made.status_code == 201, made.text
    version: str = made.json()["metadata"]["resourceVersion"]
    return version


async def change_all(http: httpx2.AsyncClient) -> None:
    """Change one object, delete one, make one again, and add one in the middle."""
    await http.patch(f"{MAPS}/m2", json={"data": {"k": "new"}, "metadata": {"labels": {"on": "no"}}}, headers=MERGE)
    await http.delete(f"{MAPS}/m3")
    await http.delete(f"{MAPS}/m4")
    await create(http, "m4", k="again")
    await create(http, "m25", k="late")


def contents(page: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["metadata"]["name"], item["data"]["k"]) for item in page["items"]]


@pytest.mark.parametrize("selector", ["", "on=yes"])
async def test_later_pages_show_the_time_of_the_first(http: httpx2.AsyncClient, selector: str) -> None:
    for number in range(1, 6):
        await create(http, f"m{number}", k="old")
    params = {"limit": "2", "labelSelector": selector}
    first = (await http.get(MAPS, params=params)).json()
    await change_all(http)
    second = (await http.get(MAPS, params={**params, "continue": first["metadata"]["continue"]})).json()
    third = (await http.get(MAPS, params={**params, "continue": second["metadata"]["continue"]})).json()
    pages = (first, second, third)
    assert [entry for page in pages for entry in contents(page)] == [(f"m{number}", "old") for number in range(1, 6)]
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1
    counts = [page["metadata"].get("remainingItemCount") for page in pages]
    assert counts == ([None, None, None] if selector else [3, 1, None])


async def test_tables_are_paged_as_of_the_first_page_too(http: httpx2.AsyncClient) -> None:
    for number in range(1, 6):
        await create(http, f"m{number}", k="old")
    names, token = [], ""
    for turn in range(3):
        page = (await http.get(MAPS, params={"limit": "2", "continue": token}, headers=TABLE)).json()
        names += [row["cells"][0] for row in page["rows"]]
        token = page["metadata"].get("continue", "")
        if turn == 0:
            await change_all(http)
    assert names == ["m1", "m2", "m3", "m4", "m5"]


async def test_an_earlier_version_exactly(http: httpx2.AsyncClient) -> None:
    await create(http, "m2", k="old")
    version = await create(http, "m3", k="old")
    await create(http, "m4", k="old")
    await change_all(http)
    params = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    page = (await http.get(MAPS, params=params)).json()
    assert (page["metadata"], contents(page)) == ({"resourceVersion": version}, [("m2", "old"), ("m3", "old")])
    page = (await http.get(MAPS, params={**params, "labelSelector": "on=yes"})).json()
    assert contents(page) == [("m2", "old"), ("m3", "old")]
    # A limit without resourceVersionMatch means the exact version; without a limit, one that is not older.
    limited = (await http.get(MAPS, params={"resourceVersion": version, "limit": "1"})).json()
    assert limited["metadata"]["resourceVersion"] == version
    assert contents(limited) == [("m2", "old")]
    later = (await http.get(MAPS, params={"resourceVersion": version})).json()
    assert int(later["metadata"]["resourceVersion"]) > int(version)


async def test_a_list_that_was_forgotten_goes_on_with_what_is_there_now(http: httpx2.AsyncClient, store: Store) -> None:
    for number in range(1, 6):
        await create(http, f"m{number}", k="old")
    first = (await http.get(MAPS, params={"limit": "2"})).json()
    version = first["metadata"]["resourceVersion"]
    await change_all(http)
    forget_everything_before(store, int(version) + 1)
    gone = await http.get(MAPS, params={"limit": "2", "continue": first["metadata"]["continue"]})
    body = gone.json()
    assert (gone.status_code, body["reason"]) == (410, "Expired")
    assert "use the continue token in this response to retrieve the remainder" in body["message"]
    rest = (await http.get(MAPS, params={"limit": "2", "continue": body["metadata"]["continue"]})).json()
    assert contents(rest) == [("m25", "late"), ("m4", "again")]
    assert int(rest["metadata"]["resourceVersion"]) > int(version)
    last = (await http.get(MAPS, params={"continue": rest["metadata"]["continue"]})).json()
    assert contents(last) == [("m5", "old")]
    exact = await http.get(MAPS, params={"resourceVersion": version, "resourceVersionMatch": "Exact"})
    assert (exact.status_code, exact.json()["reason"]) == (410, "Expired")
    assert exact.json()["message"] == "The resourceVersion for the provided list is too old."
    assert exact.json()["metadata"] == {}


async def test_a_token_of_another_database(http: httpx2.AsyncClient) -> None:
    """The database was put back to an older state: nothing is known of that version."""
    await create(http, "m1", k="old")
    token = Continue(99999, "a", "m0").token()
    answer = (await http.get(MAPS, params={"continue": token})).json()
    assert answer["code"] == 410
    assert contents((await http.get(MAPS, params={"continue": answer["metadata"]["continue"]})).json()) == [
        ("m1", "old")
    ]


async def test_a_long_list_goes_out_in_pieces_of_one_state(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_PIECE", 2)
    for number in range(1, 6):
        await create(http, f"m{number}", k="old")
    chunks = []
    async with http.stream("GET", MAPS) as response:
        async for chunk in response.aiter_raw():
            chunks.append(chunk)
            if len(chunks) == 1:
                await change_all(http)
    assert len(chunks) == 4  # two of two, one of one, the end
    page = json.loads(b"".join(chunks))
    assert page["kind"] == "ConfigMapList"
    assert contents(page) == [(f"m{number}", "old") for number in range(1, 6)]
    now = (await http.get(MAPS)).json()
    assert contents(now) == [("m1", "old"), ("m2", "new"), ("m25", "late"), ("m4", "again"), ("m5", "old")]
    named = (await http.get("/api/v1/configmaps", params={"fieldSelector": "metadata.name=m4"})).json()
    assert contents(named) == [("m4", "again")]


def forget_everything_before(store: Store, version: int) -> None:
    store._reader.execute("PRAGMA query_only=OFF")
    store._reader.execute("UPDATE marks SET value=? WHERE name='compacted'", (version,))
