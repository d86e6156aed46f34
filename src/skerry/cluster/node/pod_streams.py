"""The node's half of `kubectl exec`, `attach` and `port-forward`: finds what is meant and opens it.

The pod comes as the API has it. Errors are `StatusError`s in the words that a kubelet and its container runtime have.
"""

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from skerry.cluster.node.containers import Container
from skerry.cluster.node.layout import Directories, PodDirectories
from skerry.machinery import status

if TYPE_CHECKING:
    from skerry.cluster.node.attach_session import AttachSession
    from skerry.cluster.node.exec_session import ExecSession

_DIAL_SECONDS: Final = 30.0

Running = Callable[[str, str], tuple[Container, int] | None]
"""(pod uid, container) → what runs, and which attempt it is."""


class Wanted(Protocol):
    """The standard streams that the client asks for."""

    @property
    def stdin(self) -> bool: ...

    @property
    def tty(self) -> bool: ...


class PodStreams:
    """Opens conversations with the pods of this node."""

    def __init__(self, directories: Directories, running: Running) -> None:
        self._directories = directories
        self._running = running

    async def exec(self, pod: Any, container: str, command: Sequence[str], wanted: Wanted) -> "ExecSession":
        """Start a command in a running container."""
        # Loaded when the first command is run, as what is attached below.
        from skerry.cluster.node.exec_session import ExecSession, Surroundings

        found, attempt = self._find(pod, container)
        spec_file = self._of(pod).spec(container, attempt)
        surroundings = Surroundings(container, spec_file, found.pid, found.exited)
        return ExecSession(surroundings, command, stdin=wanted.stdin, tty=wanted.tty)

    async def attach(self, pod: Any, container: str, wanted: Wanted) -> "AttachSession":
        """Join a running container."""
        from skerry.cluster.node.attach_session import AttachSession

        found, attempt = self._find(pod, container)
        spec = pod["spec"]
        once = any(
            each.get("stdinOnce", False)
            for each in [*spec["containers"], *(spec.get("initContainers") or [])]
            if each["name"] == container
        )
        log_file = self._of(pod).log_file(container, attempt)
        return AttachSession(found, log_file, stdin=wanted.stdin, once=once)

    async def dial(self, pod: Any, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port at the pod's address."""
        meta, known = pod["metadata"], pod.get("status") or {}
        trouble = f"error forwarding port {port} to pod {meta['name']}, uid {meta['uid']}"
        address = known.get("podIP")
        if not address or known.get("phase") != "Running":
            raise status.internal(f"{trouble}: the pod is not running, its phase is {known.get('phase', 'Pending')}")
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                return await asyncio.open_connection(address, port)
        except TimeoutError:
            why = "i/o timeout"
        except OSError as error:
            refused = error.errno == errno.ECONNREFUSED
            why = "connect: connection refused" if refused else str(error.strerror or error)
        raise status.internal(f"{trouble}: dial tcp4 {address}:{port}: {why}")

    def _of(self, pod: Any) -> PodDirectories:
        meta = pod["metadata"]
        return self._directories.of(meta["namespace"], meta["name"], meta["uid"])

    def _find(self, pod: Any, container: str) -> tuple[Container, int]:
        found = self._running(pod["metadata"]["uid"], container)
        if found is None:
            raise status.internal(f'unable to upgrade connection: container not found ("{container}")')
        return found
