"""The sub-resources of pods that are conversations: `exec`, `attach` and `portforward`.

Here is what the request says and whether the pod can be meant; it is answered with an `Upgrade`, and who speaks then is
in `streams/`, which is loaded when the first client streams. kubectl before 1.31 and `oc` of that age want SPDY
instead of a WebSocket; they are refused in words.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from skerry.api.pods.choosing import choose_container
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Connection, Reply, Upgrade, error_reply
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.verbs import Handler
from skerry.machinery import status

COMMAND_PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
SPDY_TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
FORWARD_PROTOCOLS: Final = (SPDY_TUNNEL, "v4.channel.k8s.io")
_MOST_PORTS: Final = 64  # two channels each, and a channel is a byte

Dialled = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Wanted:
    """The standard streams that the client asks for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Session(Protocol):
    """A command that runs in a container, or an attached container."""

    async def output(self, stream: int) -> bytes:
        """Return what came on stream 1 or 2; empty at its end."""

    async def input(self, data: bytes) -> None:
        """Write to the standard input; waits while the program does not read."""

    def end_input(self) -> None:
        """Close the standard input."""

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal."""

    async def outcome(self) -> tuple[int, str]:
        """Return the exit code, and what else there is to say about the end."""

    async def aclose(self) -> None:
        """End the command if it still runs."""


class NodeStreams(Protocol):
    """The node's half; each call raises `StatusError` for what it cannot serve."""

    async def exec(self, pod: Any, container: str, command: Sequence[str], wanted: Any) -> Session:
        """Start a command in a running container."""

    async def attach(self, pod: Any, container: str, wanted: Any) -> Session:
        """Join a running container."""

    async def dial(self, pod: Any, port: int) -> Dialled:
        """Connect to a port of the pod."""


class LateNode:
    """Stands for the node until it is there."""

    def __init__(self) -> None:
        self.node: NodeStreams | None = None

    async def exec(self, pod: Any, container: str, command: Sequence[str], wanted: Any) -> Session:
        return await self._present().exec(pod, container, command, wanted)

    async def attach(self, pod: Any, container: str, wanted: Any) -> Session:
        return await self._present().attach(pod, container, wanted)

    async def dial(self, pod: Any, port: int) -> Dialled:
        return await self._present().dial(pod, port)

    def _present(self) -> NodeStreams:
        if self.node is None:
            raise status.unavailable("the node is not started yet; try again")
        return self.node


class PodStreams:
    """Answers requests for conversations with pods."""

    def __init__(self, reader: Reader, node: NodeStreams) -> None:
        self._reader = reader
        self._node = node

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Both verbs of each: a WebSocket is a get, and SPDY was a create."""
        by_name = {"exec": self.exec, "attach": self.attach, "portforward": self.forward}
        return {(f"pods/{name}", verb): handler for name, handler in by_name.items() for verb in ("get", "create")}

    async def exec(self, request: Request, target: Target) -> Upgrade:
        """Run a command in a container."""
        pod, container = self._container(request, target)
        command, wanted = request.values("command"), _wanted(request)
        if not command:
            raise status.bad_request("you must specify at least one command for the container")
        return _remote_command(lambda: self._node.exec(pod, container, command, wanted), wanted)

    async def attach(self, request: Request, target: Target) -> Upgrade:
        """Join the streams of a container."""
        pod, container = self._container(request, target)
        wanted = _wanted(request)
        return _remote_command(lambda: self._node.attach(pod, container, wanted), wanted)

    async def forward(self, request: Request, target: Target) -> Upgrade:
        """Carry connections to ports of the pod."""
        pod, ports = self._placed(target), _ports(request)

        async def dial(port: int) -> Dialled:
            return await self._node.dial(pod, port)

        async def talk(connection: Connection, protocol: str) -> None:
            from skerry.cluster.apiserver.streams import port_channels, port_tunnel

            if protocol == SPDY_TUNNEL:
                await port_tunnel.talk(connection, dial)
            else:
                await port_channels.talk(connection, ports, dial)

        # Without ports in the query the connections say themselves where to, which only the tunnel can.
        return Upgrade(FORWARD_PROTOCOLS if ports else FORWARD_PROTOCOLS[:1], talk)

    def _placed(self, target: Target) -> dict[str, Any]:
        pod = self._reader.fetch(target)
        if not pod["spec"].get("nodeName"):
            raise status.bad_request(f"pod {target.name} does not have a host assigned")
        return pod

    def _container(self, request: Request, target: Target) -> tuple[dict[str, Any], str]:
        pod = self._placed(target)
        return pod, _container_of(pod, request.query.get("container", ""))


def _container_of(pod: Mapping[str, Any], named: str) -> str:
    spec = pod["spec"]
    names, init = ([each["name"] for each in spec.get(field) or []] for field in ("containers", "initContainers"))
    return choose_container(pod["metadata"]["name"], names, init, named)


def not_upgraded(scope: Mapping[str, Any]) -> Reply:
    """Answer a client that asked for a conversation and did not come over a WebSocket."""
    upgrade = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"upgrade"), "")
    if not upgrade:
        return error_reply(status.bad_request("Upgrade request required"))
    message = f"unable to upgrade to {upgrade}: this server speaks WebSocket; kubectl does by default from 1.31 on"
    return error_reply(status.bad_request(message))


def _remote_command(start: Callable[[], Awaitable[Session]], wanted: Wanted) -> Upgrade:
    async def talk(connection: Connection, _protocol: str) -> None:  # v4 lacks one message of v5, that is all
        from skerry.cluster.apiserver.streams.remote_command import talk as converse

        await converse(connection, start, wanted)

    return Upgrade(COMMAND_PROTOCOLS, talk)


def _wanted(request: Request) -> Wanted:
    tty = request.flag("tty")
    stdin = request.flag("stdin")
    stdout, stderr = (request.flag(name) or name not in request.query for name in ("stdout", "stderr"))
    if not (stdin or stdout or stderr):
        raise status.bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return Wanted(stdin, stdout, stderr and not tty, tty)  # a terminal has one output


def _ports(request: Request) -> list[int]:
    ports = []
    for text in (part for value in request.values("ports") for part in value.split(",")):
        if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) < 1 << 16:
            raise status.bad_request(f"unable to parse {text!r} as a port")
        ports.append(int(text))
    if len(ports) > _MOST_PORTS:
        raise status.bad_request(f"at most {_MOST_PORTS} ports can be forwarded over one connection")
    return ports
