"""A loopback address for every pod, so that container ports stay as they are written.

All of 127.0.0.0/8 belongs to the machine itself: a program can listen on any of it without being root and without an
interface being set up. 127.0.x.y is left to the host, and 127.1.x.y because distributions put a few names there. The
pods' records keep the addresses over restarts.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

_FIRST_NET: Final = 2
_NETS: Final = 253  # 127.2 to 127.254
_PER_NET: Final = 256 * 254  # the last part is 1 to 254


class AddressesExhausted(Exception):
    """There are more pods than addresses, which no machine reaches."""


class Addresses:
    """Which pod has which address."""

    def __init__(self, taken: Iterable[tuple[str, str]]) -> None:
        """`taken`: (pod uid, address) of the pods that are here already."""
        self._of = dict(taken)

    def allocate(self, uid: str) -> str:
        """Return the pod's address; the same one for the same pod as long as it is not released."""
        if uid in self._of:
            return self._of[uid]
        used = set(self._of.values())
        start = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4])
        for step in range(_NETS * _PER_NET):
            address = _address((start + step) % (_NETS * _PER_NET))
            if address not in used:
                self._of[uid] = address
                return address
        raise AddressesExhausted("cannot give the pod an address: all are in use")

    def release(self, uid: str) -> None:
        self._of.pop(uid, None)


def _address(number: int) -> str:
    net, rest = divmod(number, _PER_NET)
    high, low = divmod(rest, 254)
    return f"127.{_FIRST_NET + net}.{high}.{low + 1}"
