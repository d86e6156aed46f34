"""Which pod one request is sent to, and where it goes when that pod cannot be reached."""

from typing import TYPE_CHECKING

from skerry.cluster.gateway.balance import Target
from skerry.cluster.gateway.endpoint import Endpoint
from skerry.cluster.gateway.prepared import Prepared

if TYPE_CHECKING:
    from skerry.cluster.gateway.client import Client
    from skerry.cluster.gateway.core import Gateway


class Attempts:
    """The pod of the client's cookie first, then by the route's balance; no pod twice.

    When a route has no pod left and the table has changed since the request came, the new table is asked: `prepared`
    is then another one.
    """

    __slots__ = ("_client", "_gateway", "_tried", "prepared")

    def __init__(self, prepared: Prepared, client: "Client", gateway: "Gateway") -> None:
        self.prepared = prepared
        self._client = client
        self._gateway = gateway
        self._tried: list[Endpoint] = []

    def choose(self) -> Target | None:
        """Return the next target, None when there is none."""
        target = self._pick()
        if target is None and self.prepared.routes is not self._gateway.routes:
            prepared = self._client.route(self.prepared.data, self.prepared.head)
            if prepared is not None and not prepared.route.redirect:
                self.prepared = prepared
                target = self._pick()
        return target

    def refused(self, endpoint: Endpoint) -> bool:
        """Do not choose this one again; tell whether there may be another attempt."""
        self._tried.append(endpoint)
        return len(self._tried) < self._gateway.limits.connect_attempts

    def _pick(self) -> Target | None:
        route, pinned = self.prepared.route, self.prepared.pinned
        if pinned:
            target = route.by_cookie.get(pinned)
            if target is not None and target.endpoint not in self._tried:
                return target
        return route.pick(self._client.address, self._tried)
