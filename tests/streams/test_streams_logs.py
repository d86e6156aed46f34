"""`kubectl logs` with all that it can be asked for, both versions, against real containers."""

import asyncio
import re
from datetime import UTC, datetime

import pytest
from tests.node.cluster import shell
from tests.streams.talking import PROGRAMS, SLEEP, Streaming

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_what_is_printed(server: Streaming, program: str) -> None:
    script = f"echo one; echo two >&2; sleep 1.2; echo three; printf four; {SLEEP}"
    two = shell("bee", script, container={"env": [{"name": "A", "value": "b"}]})
    two["spec"]["containers"].append(
        {**two["spec"]["containers"][0], "name": "side", "command": ["sh", "-c", f"echo s; {SLEEP}"]}
    )
    two["metadata"]["labels"] = {"app": "bee"}
    await server.node.create(two)
    kubectl = server.kubectl(program)

    async def logs(*words: str, of: str = "bee") -> str:
        return await kubectl("logs", "-n", "ai-demo", *of.split(), *words)

    await server.node.until(lambda: (found := server.node.container("bee")) and found.state.running)
    await server.node.until(lambda: (found := server.node.container("bee", "side")) and found.state.running)
    async with asyncio.timeout(20):
        while "s" not in await logs("-c", "side"):
            pass
        while "three" not in (all_of_it := await logs("-c", "main")):
            pass
    assert all_of_it == "one\ntwo\nthree\n"  # what has no end of line yet is not logged yet, as with any runtime
    assert await logs("-c", "main", "--tail=1") == "three\n"
    assert await logs("-c", "main", "--tail=0") == ""
    assert await logs("-c", "main", "--tail=2", "--limit-bytes=6") == "two\nth"
    stamped = await logs("-c", "main", "--timestamps")
    assert [line.split(" ", 1)[1] for line in stamped.splitlines()] == ["one", "two", "three"]
    times = [line.split()[0] for line in stamped.splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", time) for time in times)
    # kubectl sends whole seconds.
    assert await logs("-c", "main", f"--since-time={times[2]}") == "three\n"
    assert await logs("-c", "main", "--since=1h") == "one\ntwo\nthree\n"
    future = datetime(2999, 1, 1, tzinfo=UTC).isoformat()
    assert await logs("-c", "main", f"--since-time={future}") == ""
    prefixed = await logs("--all-containers", "--prefix", "--tail=1")
    assert sorted(prefixed.splitlines()) == ["[pod/bee/main] three", "[pod/bee/side] s"]
    assert await logs("-c", "side", of="-l app=bee") == "s\n"


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_an_earlier_attempt_and_the_end(server: Streaming, program: str) -> None:
    """The first attempt ends at once, the second when it is told to; following it ends with it."""
    kubectl, go = server.kubectl(program), server.home / f"go-{program}"
    script = f"echo attempt $(cat {go} 2>/dev/null); [ -e {go} ] || exit 3; sleep 0.5; echo end"
    await server.node.create(shell("bee", script, restartPolicy="OnFailure"))
    await server.node.until(lambda: (found := server.node.container("bee")) and found.state.terminated)
    go.write_text("two")
    await server.node.until(lambda: (found := server.node.container("bee")) and found.state.running)
    assert await kubectl("logs", "-n", "ai-demo", "bee", "-f") == "attempt two\nend\n"
    assert await kubectl("logs", "-n", "ai-demo", "bee", "-p") == "attempt\n"
    assert await kubectl("logs", "-n", "ai-demo", "bee", "-f") == "attempt two\nend\n"


async def test_refusals(server: Streaming) -> None:
    two = shell("bee", SLEEP)
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "side"})
    await server.node.create(two)
    await server.node.until(lambda: (found := server.node.container("bee", "side")) and found.state.running)
    await server.node.until(lambda: (found := server.node.container("bee", "main")) and found.state.running)
    kubectl = server.kubectl()
    raw = "/api/v1/namespaces/ai-demo/pods/bee/log?container=main&"

    async def refused(*words: str) -> str:
        return (await kubectl.refused(*words)).strip()

    assert await refused("logs", "-n", "ai-demo", "nobody") == (
        'error: error from server (NotFound): pods "nobody" not found in namespace "ai-demo"'
    )
    never = await refused("logs", "-n", "ai-demo", "bee", "-c", "main", "-p")
    assert 'previous terminated container "main" in pod "bee" not found' in never
    assert "container nope is not valid for pod bee" in await refused("logs", "-n", "ai-demo", "bee", "-c", "nope")
    for query, why in [
        ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ]:
        said = await refused("get", "--raw", raw + query)
        assert 'PodLogOptions "bee" is invalid' in said, said
        assert why in said
    assert await kubectl("get", "--raw", f"{raw}follow=false&timestamps=0") == ""
