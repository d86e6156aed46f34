"""Decoded schemas: small ones are kept, large ones for as long as somebody works with them.

One request asks for a schema several times, and an operator sends many in a row. A megabyte of JSON takes some ten
milliseconds to decode, and some ten megabytes while it is there; so the last large one lingers for a few seconds.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from skerry.api.custom import CustomSchema

_KEPT: Final = 512 * 1024  # of JSON text in all
_LARGE: Final = _KEPT // 4
_LINGER_SECONDS: Final = 5.0

Key = tuple[str, str]  # definition and version


class SchemaCache:
    """Schemas by definition and version; `load` gives one out with the size of its text."""

    def __init__(self, load: Callable[[Key], tuple[CustomSchema, int]]) -> None:
        self._load = load
        self._kept: OrderedDict[Key, tuple[CustomSchema, int]] = OrderedDict()
        self._large: tuple[Key, CustomSchema] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def get(self, key: Key) -> CustomSchema:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        if self._large is not None and self._large[0] == key:
            self._linger()
            return self._large[1]
        schema, size = self._load(key)
        if size > _LARGE:
            self._large = (key, schema)
            self._linger()
        else:
            self._kept[key] = (schema, size)
            while sum(each for _, each in self._kept.values()) > _KEPT:
                self._kept.popitem(last=False)
        return schema

    def forget(self, definition: str) -> None:
        """Forget the schemas of a definition that has changed."""
        for key in [key for key in self._kept if key[0] == definition]:
            del self._kept[key]
        if self._large is not None and self._large[0][0] == definition:
            self.let_go()

    def _linger(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.let_go)

    def let_go(self) -> None:
        """Forget the large schema."""
        self._large = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
