"""What a client or a pod may ask of the gateway: sizes and time-outs. The time-outs are the OpenShift router's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. What a Route can override (server, tunnel) is in the table."""

    connect: float = 5.0
    head: float = 10.0  # http-request: a whole request head, from its first byte
    keep_alive: float = 300.0  # between requests of one client
    client: float = 30.0  # a client that neither sends nor reads
    linger: float = 1.0  # client-fin: for a client to read a last answer
    idle_pod: float = 60.0  # an unused connection to a pod


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and counts."""

    head: int = 32 * 1024
    headers: int = 100
    replay: int = 64 * 1024  # request body kept for a second attempt
    waiting: int = 64 * 1024  # pipelined requests kept while one is answered
    idle_per_pod: int = 64
    connections: int = 20_000
    connect_attempts: int = 3
