"""What a client hears when there is no room on the disk."""

import asyncio

import httpx2

from skerry.cluster.store import Store


async def test_writes_are_refused_as_such_and_reads_go_on(http: httpx2.AsyncClient, store: Store) -> None:
    connection = store._writer._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    item = {"metadata": {"name": "big"}, "data": {"a": "x" * 200_000}}
    refused = await http.post("/api/v1/namespaces/a/configmaps", json=item)
    status = refused.json()
    assert (refused.status_code, status["kind"], status["reason"]) == (507, "Status", "InsufficientStorage")
    assert "make room" in status["message"]
    assert (await http.get("/api/v1/namespaces/a")).status_code == 200
    connection.execute("PRAGMA max_page_count=1000000")
    async with asyncio.timeout(10):
        assert (await http.post("/api/v1/namespaces/a/configmaps", json=item)).status_code == 201
