"""An operator written with kopf, against a definition of its own: watches, status patches, finalizers, events."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import serving
from tests.custom_resources.builders import DEFINITIONS, GROUP, crontab, definition, path, version

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.daemon.certificates import Pki
from skerry.kit.clock import SystemClock

pytest.importorskip("kopf")
OPERATOR = Path(__file__).with_name("kopf_operator.py")
MERGE = {"content-type": "application/merge-patch+json"}


@asynccontextmanager
async def operator(kubeconfig: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = (sys.executable, "-m", "kopf", "run", "--standalone", "--namespace=a", str(OPERATOR))
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        async with asyncio.timeout(20):
            await process.wait()


def kept_free() -> dict[str, Any]:
    """The definition with a status in which kopf may keep its progress."""
    made = version()
    made["schema"]["openAPIV3Schema"]["properties"]["status"]["x-kubernetes-preserve-unknown-fields"] = True
    return definition(made)


async def until(look: Callable[[], Awaitable[object]], log: Path) -> None:
    try:
        async with asyncio.timeout(30):
            while not await look():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never came true; the operator said: {log.read_text()[-3000:]}") from None


async def test_a_kopf_operator(store: Store, pki: Pki, tmp_path: Path) -> None:
    tokens = Tokens({token_hash(pki.admin_token.read_text()): "system:admin"})
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs))
    log = tmp_path / "operator.log"
    http = httpx2.AsyncClient(transport=InProcessTransport(app, "admin"), base_url="http://api", timeout=10)

    async def phase() -> bool:
        return ((await http.get(path("my"))).json().get("status") or {}).get("phase") == "Scheduled * * * * */5"

    async def resized() -> bool:
        return bool(((await http.get(path("my"))).json().get("status") or {}).get("replicas") == 4)

    async def gone() -> bool:
        return (await http.get(path("my"))).status_code == 404

    async def told() -> bool:
        events = (await http.get("/api/v1/namespaces/a/events")).json()["items"]
        return {"Scheduled", "Unscheduled"} <= {event["reason"] for event in events}

    await http.post("/api/v1/namespaces", json={"metadata": {"name": "a"}})
    assert (await http.post(DEFINITIONS, json=kept_free())).status_code == 201
    async with serving(app, pki, tmp_path / "kubeconfig"), operator(tmp_path / "kubeconfig", log) as process:
        assert (await http.post(path(), json=crontab(replicas=2))).status_code == 201
        await until(phase, log)
        found = (await http.get(path("my"))).json()
        assert found["metadata"]["finalizers"] == [f"{GROUP}/held"]
        await http.patch(path("my"), json={"spec": {"replicas": 4}}, headers=MERGE)
        await until(resized, log)
        deleted = await http.delete(path("my"))
        assert deleted.status_code == 200
        await until(gone, log)
        await until(told, log)
        assert process.returncode is None
    assert "Traceback" not in log.read_text()
