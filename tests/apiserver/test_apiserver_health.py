"""/healthz, /livez and /readyz: forms, exclusions, failures; who sees reasons."""

import sqlite3

import httpx2
import pytest

from skerry.cluster.apiserver.app import ApiServer
from skerry.cluster.store import Key, Store, StoreFailed


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/", "/livez/ping", "/readyz/etcd"])
async def test_all_is_well(http: httpx2.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "ok", "text/plain; charset=utf-8")


async def test_verbose_and_excluded(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/livez?verbose")).text == "[+]ping ok\n[+]etcd ok\nlivez check passed\n"
    text = (await http.get("/readyz?verbose=true&exclude=etcd&exclude=nope&exclude=no")).text
    assert text == (
        "[+]ping ok\n[+]etcd excluded: ok\n"
        'warn: some health checks cannot be excluded: no matches for "no","nope"\nreadyz check passed\n'
    )
    assert (await http.get("/readyz?exclude=etcd")).text == "ok"
    assert (await http.get("/readyz/nope")).status_code == 404
    assert (await http.post("/readyz")).status_code == 404


async def test_what_is_not_ready_is_alive(app: ApiServer, http: httpx2.AsyncClient) -> None:
    app.health.add("informer-sync", lambda: "not synced yet: Pod", live=False)
    ready = await http.get("/readyz")
    assert ready.status_code == 500
    assert ready.text == "[+]ping ok\n[+]etcd ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n"
    assert (await http.get("/readyz?exclude=informer-sync")).status_code == 200
    assert (await http.get("/livez")).text == "ok"
    alone = await http.get("/readyz/informer-sync")
    assert (alone.status_code, alone.text) == (500, "internal server error: not synced yet: Pod\n")


async def test_reasons_are_for_known_users(app: ApiServer) -> None:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as stranger:
        assert (await stranger.get("/readyz?verbose")).status_code == 200
        assert (await stranger.get("/readyz/etcd")).status_code == 401
        assert (await stranger.get("/metrics")).status_code == 401


async def test_a_disk_that_refuses_writes_is_unhealthy_until_one_succeeds(
    http: httpx2.AsyncClient, store: Store
) -> None:
    connection = store._writer._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreFailed):
        await store.create(Key("/pods", "a", "x"), {"metadata": {}, "text": "x" * 100_000})
    assert (await http.get("/livez")).status_code == 500
    assert "full" in (await http.get("/livez/etcd")).text
    connection.execute("PRAGMA max_page_count=1000000")
    await store.create(Key("/pods", "a", "x"), {"metadata": {}, "text": "x" * 100_000})
    assert (await http.get("/livez")).status_code == 200


async def test_an_object_that_cannot_be_stored_is_no_illness(http: httpx2.AsyncClient, store: Store) -> None:
    with pytest.raises(StoreFailed):
        await store.create(Key("/pods", "a", "x"), {"metadata": {"name": "\ud800"}})
    assert (await http.get("/readyz")).status_code == 200


async def test_a_database_that_cannot_be_read_is_unhealthy(
    http: httpx2.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.DatabaseError("disk I/O error")

    class Broken:
        execute = broken
        close = store._reader.close

    monkeypatch.setattr(store, "_reader", Broken())
    assert (await http.get("/healthz/etcd")).text.startswith("internal server error: cannot read the database: disk")
