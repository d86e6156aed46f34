"""The ServiceAccount's token in a container: where programs look for it, good for the API, and renewed in time."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lightkube import AsyncClient
from lightkube.models.core_v1 import LocalObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Pod, ServiceAccount
from tests.node.cluster import NAMESPACE, NodeUnderTest, Shelf, api, running, shell

from skerry.cluster.node.account_tokens import AccountTokens, Token
from skerry.cluster.node.volumes import VolumeError
from skerry.kit.clock import SystemClock

PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"


async def furnish(client: AsyncClient, **account: Any) -> None:
    """Make what the namespace's controller makes."""
    await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace=NAMESPACE), **account))
    metadata = ObjectMeta(name="kube-root-ca.crt", namespace=NAMESPACE)
    await client.create(ConfigMap(metadata=metadata, data={"ca.crt": "THE-CA"}))


def claims_of(token: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def mounts(pod: Any) -> list[str]:
    return [mount.mountPath for mount in pod.spec.containers[0].volumeMounts or []]


async def test_a_program_finds_its_token(tmp_path: Path) -> None:
    script = f"cd {PLACE} && cat ca.crt namespace && echo && cat token && echo && sleep 60"
    async with api(tmp_path) as client, running(tmp_path, client, Shelf()) as node:
        await furnish(client)
        made: Any = await node.create(shell("bee", script))
        assert mounts(made) == [PLACE]
        await node.until(lambda: node.ready("bee"))
        said = await words(node, 2)
        assert said[0] == f"THE-CA{NAMESPACE}"
        claims = claims_of(said[1])
    assert claims["sub"] == f"system:serviceaccount:{NAMESPACE}:default"
    assert claims["exp"] - claims["iat"] == 3607
    bound = claims["kubernetes.io"]
    assert (bound["pod"]["name"], bound["pod"]["uid"]) == ("bee", made.metadata.uid)
    assert bound["node"]["name"] == "skerry"


async def words(node: NodeUnderTest, count: int) -> list[str]:
    """Wait until the pod has said so many words."""
    async with asyncio.timeout(10):
        while len(said := (await node.logs("bee")).split()) < count:
            await asyncio.sleep(0.02)
    return said


@pytest.mark.parametrize(
    ("on_account", "on_pod", "expected"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False), (None, False, False)],
)
async def test_who_wants_none_gets_none(
    tmp_path: Path, on_account: bool | None, on_pod: bool | None, expected: bool
) -> None:
    async with api(tmp_path) as client:
        secrets = [LocalObjectReference(name="pull")]
        await furnish(client, automountServiceAccountToken=on_account, imagePullSecrets=secrets)
        spec = {"automountServiceAccountToken": on_pod} if on_pod is not None else {}
        manifest = shell("bee", "true", **spec)
        manifest["metadata"]["namespace"] = NAMESPACE
        pod: Any = await client.create(Pod.from_dict(manifest))
        assert (mounts(pod) == [PLACE]) is expected
        assert [secret.name for secret in pod.spec.imagePullSecrets] == ["pull"]


class TurnedClock(SystemClock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def test_tokens_are_renewed_in_time(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        await furnish(client)
        manifest = shell("bee", "true")
        manifest["metadata"]["namespace"] = NAMESPACE
        pod: Any = await client.create(Pod.from_dict(manifest))
        clock = TurnedClock()
        tokens = AccountTokens(client, clock)
        key = ("", 3607)
        first = (await tokens.gather(pod))[key]
        assert (await tokens.gather(pod))[key] == first
        clock.ahead = timedelta(seconds=3607 * 0.8 - 5)
        assert not tokens.due()
        clock.ahead = timedelta(seconds=3607 * 0.8 + 5)
        assert tokens.due()
        second = (await tokens.gather(pod))[key]
        assert second != first
        # What cannot be renewed stays; what never was is told.
        await client.delete(ServiceAccount, "default", namespace=NAMESPACE)
        clock.ahead = timedelta(days=1)
        assert (await tokens.gather(pod))[key] == second
        with pytest.raises(VolumeError, match='failed to fetch token: serviceaccounts "default" not found'):
            await AccountTokens(client, clock).gather(pod)


def test_a_clock_that_goes_back_makes_a_token_old() -> None:
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    token = Token(b"", issued, issued + timedelta(seconds=1000))
    seconds = {-61: True, -59: False, 0: False, 799: False, 801: True}
    assert {after: token.due(issued + timedelta(seconds=after)) for after in seconds} == seconds


async def test_an_old_token_is_replaced_where_the_program_reads_it(tmp_path: Path) -> None:
    async with api(tmp_path) as client, running(tmp_path, client, Shelf()) as node:
        await furnish(client)
        await node.create(shell("bee", f"cat {PLACE}/token; echo; while :; do read x; done < /dev/zero"))
        await node.until(lambda: node.ready("bee"))
        uid = node.pod("bee").metadata.uid
        worker = node.agent._workers[uid]
        assert not worker._volumes.tokens_due()
        worker.renew_tokens()
        [volume] = (node.root / "run").rglob("kube-api-access-*")
        before = (volume / "token").read_text()
        held = worker._volumes._tokens._held
        for key, token in held.items():
            held[key] = Token(token.text, token.issued - timedelta(hours=1), token.ends - timedelta(hours=1))
        worker.renew_tokens()
        async with asyncio.timeout(10):
            while (volume / "token").read_text() == before:
                await asyncio.sleep(0.01)
        assert claims_of((volume / "token").read_text())["kubernetes.io"]["pod"]["uid"] == uid
