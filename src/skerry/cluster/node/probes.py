"""Probes: http, tcp and exec, against the pod's own address.

Until a probe has succeeded for the first time it runs often: every 50 ms at first, then about every twentieth of the
time that has passed, and never less often than its period says. A server that is ready after two seconds is noticed
within a tenth of a second, and one that loads for minutes is not pestered. Only one failure a period counts against
`failureThreshold`, so that the extra probes make no pod fail sooner. After the first success the period holds.

Liveness counts from the start with its period; its initial result is success, as the kubelet's.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from skerry.kit.clock import Clock

Kind = Literal["startup", "readiness", "liveness"]
Exec = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]
"""Runs a command in the container's surroundings: (argv, seconds) → (exit code, output); raises `TimeoutError`."""

_GROWTH: Final = 20.0
_HEAD_LIMIT: Final = 65536
_USER_AGENT: Final = "kube-probe/1.35"


@dataclass(frozen=True)
class Outcome:
    """One answer: whether it counts as success, and the text for people."""

    success: bool
    text: str = ""


@dataclass(frozen=True)
class Report:
    """What the probe's owner is told. `settled`: the threshold is reached and the result has changed to `success`."""

    kind: Kind
    success: bool
    settled: bool
    text: str


@dataclass(frozen=True)
class Target:
    """Which container is probed."""

    pod_ip: str
    container: Any
    run: Exec


class Prober:
    """Runs one probe of one attempt of a container until it is cancelled."""

    def __init__(
        self,
        kind: Kind,
        probe: Any,
        target: Target,
        clock: Clock,
        fast: float,
        tell: Callable[[Report], None],
        *,
        healthy: bool = False,
    ) -> None:
        """`healthy`: the container is known to have passed this probe before."""
        self._kind = kind
        self._probe = probe
        self._target = target
        self._clock = clock
        self._fast = fast
        self._tell = tell
        self._period = float(probe.periodSeconds or 10)
        self._successes = 0
        self._failures = 0
        self._healthy = healthy or kind == "liveness"
        self._succeeded_once = healthy

    async def run(self) -> None:
        """Probe; a startup probe ends with its first result."""
        await self._clock.sleep(float(self._probe.initialDelaySeconds or 0))
        began = last_counted = self._clock.monotonic()
        while True:
            outcome = await check(self._probe, self._target)
            now = self._clock.monotonic()
            if outcome.success:
                self._success(outcome)
            elif not self._quick or now - last_counted >= self._period:
                last_counted = now
                self._failure(outcome)
            if self._kind == "startup" and (self._healthy or self._failures >= (self._probe.failureThreshold or 3)):
                return
            await self._clock.sleep(self._pause(now - began))

    @property
    def _quick(self) -> bool:
        return self._kind != "liveness" and not self._succeeded_once

    def _pause(self, elapsed: float) -> float:
        if not self._quick:
            return self._period
        return min(max(self._fast, elapsed / _GROWTH), self._period)

    def _success(self, outcome: Outcome) -> None:
        self._succeeded_once = True
        self._failures = 0
        self._successes += 1
        settled = self._successes >= (self._probe.successThreshold or 1) and not self._healthy
        if settled:
            self._healthy = True
            self._tell(Report(self._kind, success=True, settled=True, text=outcome.text))

    def _failure(self, outcome: Outcome) -> None:
        self._successes = 0
        self._failures += 1
        settled = self._failures >= (self._probe.failureThreshold or 3)
        if settled:
            self._healthy = False
        self._tell(Report(self._kind, success=False, settled=settled, text=outcome.text))


def supported(probe: Any) -> str:
    """Say what is wrong with a probe that this node cannot run; empty when it can."""
    if probe.httpGet is not None or probe.tcpSocket is not None or probe.exec is not None:
        return ""
    if probe.grpc is not None:
        return "grpc probes are not supported on this node; use httpGet or tcpSocket"
    return "the probe names no httpGet, tcpSocket or exec"


async def check(probe: Any, target: Target) -> Outcome:
    """Probe once."""
    limit = float(probe.timeoutSeconds or 1)
    try:
        if probe.httpGet is not None:
            return await _http(probe.httpGet, target, limit)
        if probe.tcpSocket is not None:
            return await _tcp(probe.tcpSocket, target, limit)
        if probe.exec is not None:
            return await _exec(probe.exec.command or [], target, limit)
    except LookupError as error:
        return Outcome(success=False, text=str(error.args[0]))
    return Outcome(success=False, text=supported(probe))


def port_of(port: Any, container: Any) -> int:
    """Resolve a port that may be the name of one of the container's; raises `LookupError`."""
    if isinstance(port, int):
        return port
    for named in container.ports or []:
        if named.name == port:
            return int(named.containerPort)
    if str(port).isdigit():
        return int(port)
    raise LookupError(f'couldn\'t find port: "{port}" in container: "{container.name}"')


async def _tcp(action: Any, target: Target, limit: float) -> Outcome:
    host, port = action.host or target.pod_ip, port_of(action.port, target.container)
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(success=False, text=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(success=False, text=_dial_error(host, port, error))
    writer.close()
    return Outcome(success=True)


async def _exec(command: Sequence[str], target: Target, limit: float) -> Outcome:
    try:
        code, output = await target.run(command, limit)
    except TimeoutError:
        return Outcome(success=False, text=f'command timed out: "{" ".join(command)}" timed out after {limit:g}s')
    return Outcome(success=code == 0, text=output.strip())


async def _http(action: Any, target: Target, limit: float) -> Outcome:
    scheme = (action.scheme or "HTTP").lower()
    host, port = action.host or target.pod_ip, port_of(action.port, target.container)
    path = action.path or "/"
    path = path if path.startswith("/") else f"/{path}"
    url = f"{scheme}://{host}:{port}{path}"
    try:
        async with asyncio.timeout(limit):
            status, body = await _get(host, port, _request(action, f"{host}:{port}", path), tls=scheme == "https")
    except TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Outcome(success=False, text=f'Get "{url}": {why}')
    except (OSError, ValueError, EOFError) as error:
        why = _dial_error(host, port, error) if isinstance(error, OSError) else str(error) or "EOF"
        return Outcome(success=False, text=f'Get "{url}": {why}')
    if 200 <= status < 400:
        return Outcome(success=True, text=body)
    return Outcome(success=False, text=f"HTTP probe failed with statuscode: {status}")


def _request(action: Any, authority: str, path: str) -> bytes:
    headers = {"host": authority, "user-agent": _USER_AGENT, "accept": "*/*", "connection": "close"}
    headers |= {header.name.lower(): header.value for header in action.httpHeaders or []}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def _get(host: str, port: int, request: bytes, *, tls: bool) -> tuple[int, str]:
    context = _trusting_context() if tls else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_HEAD_LIMIT)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n")
        parts = head.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
            raise ValueError(f"malformed HTTP response {head[:40]!r}")
        return int(parts[1]), ""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _trusting_context() -> Any:
    """The kubelet does not verify a container's certificate either."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _dial_error(host: str, port: int, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    if isinstance(error, ConnectionResetError):
        return f"read tcp {host}:{port}: connection reset by peer"
    return f"dial tcp {host}:{port}: {error.strerror or error}"
