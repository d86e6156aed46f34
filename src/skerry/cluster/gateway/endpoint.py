"""A pod's port as the process sees it: what runs there now and which connections wait to be used again."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry.cluster.gateway.upstream import Upstream


class Endpoint:
    """One per address and port, shared by all routes that lead there.

    `retired` once no route names it: requests under way go on, nothing new starts, no connection is kept.
    """

    __slots__ = ("active", "address", "idle", "port", "retired")

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.active = 0
        self.idle: list[Upstream] = []
        self.retired = False

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"

    def reuse(self) -> "Upstream | None":
        """Take the connection that was used last, if its pod has not closed it meanwhile."""
        while self.idle:
            upstream = self.idle.pop()
            if not upstream.stale():
                return upstream
            upstream.close()
        return None

    def keep(self, upstream: "Upstream", limit: int) -> bool:
        """Keep the connection for the next request; the oldest gives way."""
        if self.retired:
            return False
        self.idle.append(upstream)
        if len(self.idle) > limit:
            self.idle.pop(0).close()
        return True

    def retire(self) -> None:
        self.retired = True
        while self.idle:
            self.idle.pop().close()


class Registry:
    """The endpoints of the present table; one that stays keeps its connections across tables."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[str, int], Endpoint] = {}

    def get(self, address: str, port: int) -> Endpoint:
        key = (address, port)
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = Endpoint(address, port)
        return endpoint

    def keep_only(self, wanted: set[tuple[str, int]]) -> None:
        for key in [key for key in self._endpoints if key not in wanted]:
            self._endpoints.pop(key).retire()

    def close(self) -> None:
        self.keep_only(set())
