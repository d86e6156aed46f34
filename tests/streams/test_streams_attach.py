"""`kubectl attach` and `kubectl run -i`: what a container writes from now on, and what is typed into it."""

import asyncio
import json

import pytest
from tests.node.bench import eventually
from tests.streams.talking import PROGRAMS, Streaming, read_until
from tests.streams.terminal import person

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")

TICK = "n=0; while true; do n=$((n+1)); echo out $n; echo err $n >&2; sleep 0.1; done"


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_output_is_followed_from_now(server: Streaming, program: str) -> None:
    await server.pod("bee", TICK)
    await eventually(lambda: server.node.phase("bee") == "Running")
    async with server.kubectl(program)._started("attach", "-n", "ai-demo", "bee") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(read_until(process.stdout, b"\nout "), read_until(process.stderr, b"\nerr "))
        await server.node.delete("bee", grace=0)
        async with asyncio.timeout(20):
            await process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_a_pod_is_run_with_a_pipe(server: Streaming, program: str) -> None:
    """The end of the input reaches the program, since `kubectl run -i` asks for `stdinOnce`."""
    kubectl = server.kubectl(program)
    said = await kubectl.run(*run("sort"), "--rm", "-i", "--", "sh", "-c", "sort; echo sorted", stdin="b\na\n")
    assert said.code == 0, said
    assert "a\nb\nsorted\n" in said.out, said
    assert 'pod "sort" deleted' in said.out
    failed = await kubectl.run(*run("fails"), "--rm", "-i", "--", "sh", "-c", "cat; exit 5", stdin="x\n")
    assert failed.code == 5, failed


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_a_pod_is_run_on_a_terminal(server: Streaming, program: str) -> None:
    async with person(server, program, *run("shell"), "--rm", "-it", "--", "sh") as typist:
        await typist.sees("If you don't see a command prompt")
        typist.types("\n")
        await typist.sees("# ", "$ ")
        typist.types("stty size; echo $((6*7)) $TERM\n")
        await typist.sees("24 80")
        await typist.sees("42 xterm")
        typist.types("exit\n")
        assert await typist.ends() == 0


async def test_who_leaves_can_come_back(server: Streaming) -> None:
    """Without `stdinOnce` the program does not notice that a client has left."""
    await server.pod("bee", "while read line; do printf 'got %s> ' $line; done; echo over", stdin=True)
    kubectl = server.kubectl()
    for word in ("one", "two"):
        async with kubectl._started("attach", "-i", "-n", "ai-demo", "bee") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{word}\n".encode())
            await read_until(process.stdout, f"got {word}> ".encode())  # without the end of the line
    assert server.node.container("bee").state.running
    assert await server.node.logs("bee") == "got one> got two> "


def run(name: str) -> tuple[str, ...]:
    """Make `kubectl run` bind the pod itself: there is no scheduler here."""
    overrides = json.dumps({"spec": {"nodeName": "skerry"}})
    shell = ("--image=localhost/skerry-shell:latest", "--restart=Never", "--command")
    return ("run", name, "-n", "ai-demo", *shell, f"--overrides={overrides}")
