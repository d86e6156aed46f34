"""`kubectl exec` and `kubectl cp`, both versions, against real containers."""

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
from pathlib import Path

import pytest
from tests.node.bench import eventually
from tests.node.cluster import shell
from tests.streams.talking import PROGRAMS, SLEEP, Streaming
from tests.streams.terminal import person, running_programs

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_output_input_and_exit_code(server: Streaming, program: str) -> None:
    await server.pod(env=[{"name": "COLOUR", "value": "blue"}])
    kubectl = server.kubectl(program)
    execute = ("exec", "-n", "ai-demo", "bee")
    said = await kubectl.run(*execute, "--", "sh", "-c", "echo $COLOUR; echo bad >&2; exit 3")
    assert said == ("blue\n", "bad\ncommand terminated with exit code 3\n", 3)
    assert await kubectl(*execute, "-i", "--", "cat", stdin="in and out") == "in and out"
    killed = await kubectl.run(*execute, "--", "sh", "-c", "kill -9 $$")
    assert (killed.code, killed.err) == (137, "command terminated with exit code 137\n")
    absent = await kubectl.run(*execute, "--", "no-such-program")
    assert absent.code == 127
    assert 'exec: "no-such-program": executable file not found in $PATH' in absent.err
    directory = await kubectl.run(*execute, "--", "/etc")
    assert directory.code == 126
    assert 'exec: "/etc": permission denied' in directory.err
    assert not left_behind("attend")


async def test_refusals_have_kubernetes_words(server: Streaming) -> None:
    kubectl = server.kubectl()
    two = shell("two", SLEEP)
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "side", "image": "example.com/x:1"})
    await server.node.create(two)
    await server.node.create(shell("done", "exit 0", restartPolicy="Never"))
    await server.node.until(lambda: server.node.waiting("two", "side") == "ImageNotNative")
    await server.node.until(lambda: server.node.phase("done") == "Succeeded")

    async def refused(*words: str) -> str:
        return (await kubectl.refused("exec", "-n", "ai-demo", *words, "--", "true")).strip().splitlines()[-1]

    assert await refused("nobody") == 'Error from server (NotFound): pods "nobody" not found'
    assert "container nope is not valid for pod two" in await refused("two", "-c", "nope")
    not_running = 'Internal error occurred: unable to upgrade connection: container not found ("side")'
    assert not_running in await refused("two", "-c", "side")
    assert "cannot exec into a container in a completed pod; current phase is Succeeded" in await refused("done")
    old = dataclasses.replace(kubectl, program="/usr/bin/env")
    words = ("exec", "-n", "ai-demo", "two", "-c", "main", "--", "true")
    told = await old.refused("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", kubectl.program, *words)
    assert "unable to upgrade to SPDY/3.1: this server speaks WebSocket; kubectl does by default from 1.31 on" in told


async def test_discovery_says_what_kubernetes_says(server: Streaming) -> None:
    found = json.loads(await server.kubectl()("get", "--raw", "/api/v1"))
    named = {each["name"]: (each["kind"], each["verbs"]) for each in found["resources"]}
    assert named["pods/exec"] == ("PodExecOptions", ["create", "get"])
    assert named["pods/attach"] == ("PodAttachOptions", ["create", "get"])
    assert named["pods/portforward"] == ("PodPortForwardOptions", ["create", "get"])


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_a_terminal_is_a_terminal(server: Streaming, program: str) -> None:
    """A person at a real terminal: a prompt, an echo, colours by TERM, a window that changes, control-C, the end."""
    await server.pod()
    async with person(server, program, "exec", "-it", "-n", "ai-demo", "bee", "--", "sh") as typist:
        await typist.sees("# ", "$ ")
        typist.types("tty >/dev/null && echo is-a-tty $TERM; stty size\n")
        await typist.sees("is-a-tty xterm")
        await typist.sees("24 80")
        typist.window(rows=33, columns=99)
        typist.types("until [ \"$(stty size)\" = '33 99' ]; do sleep 0.05; done; echo re''sized\n")
        await typist.sees("resized")
        typist.types("sleep 4241\n")
        await eventually(lambda: bool(running_programs("sleep 4241")))
        typist.types("\x03")
        typist.types("echo still ''here; exit 4\n")
        await typist.sees("still here")
        assert await typist.ends() == 4


async def test_files_are_copied_both_ways(server: Streaming) -> None:
    """100 MB, while the daemon (this process) must not hold more than a few."""
    shared = server.home / "shared"
    shared.mkdir(mode=0o777)
    await server.pod()
    big, back = server.home / "big", server.home / "back"
    with big.open("wb") as file:
        for _ in range(100):
            file.write(os.urandom(1 << 10) * 1000)
    kubectl, before = server.kubectl(), peak()
    there = "ai-demo/bee:/var/tmp/copied"
    await kubectl.run("cp", str(big), there)
    said = await kubectl.run("cp", there, str(back))
    assert said.code == 0, said
    assert digest(back) == digest(big)
    assert peak() - before < 40 << 10


async def test_a_client_that_leaves_takes_the_command_with_it(server: Streaming) -> None:
    """Also what it has put into the background, and although it ignores being asked."""
    await server.pod()
    script = "trap '' TERM HUP; (trap '' TERM HUP; sleep 4242) & echo ready; wait"
    async with server.kubectl().lines("exec", "-n", "ai-demo", "bee", "--", "sh", "-c", script) as lines:
        assert await anext(lines) == "ready"
        await eventually(lambda: bool(running_programs("sleep 4242")))
    await eventually(lambda: not running_programs("sleep 4242") and not left_behind("attend"))
    assert server.node.container("bee").state.running


async def test_a_container_that_ends_says_why_the_command_did(server: Streaming) -> None:
    await server.pod()
    kubectl = server.kubectl()
    asking = asyncio.ensure_future(kubectl.run("exec", "-n", "ai-demo", "bee", "--", "sleep", "4243"))
    await eventually(lambda: bool(running_programs("sleep 4243")))
    await server.node.delete("bee", grace=1)
    said = await asking
    assert said == ("", "the container main has ended\r\ncommand terminated with exit code 137\n", 137)
    assert not running_programs("sleep 4243")


def left_behind(errand: str) -> list[int]:
    """Return our own children that run this errand of the supervisor."""
    needle = f"\0--{errand}\0".encode()
    found = []
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):
            if needle in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def peak() -> int:
    """Return the most memory that this process has had, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
