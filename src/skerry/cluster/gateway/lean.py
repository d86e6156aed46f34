"""An event loop without TLS in memory.

asyncio and uvloop import `ssl` at their top, and with it OpenSSL: 4.5 MiB that this process never uses, a fifth of
all it has. `load_loop` imports them with a stand-in under that name and takes it away again, so a later `import ssl`
(a TLS listener) gets the real module. asyncio is content without the module; uvloop reads some of its names.
"""

import importlib
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class _NoTls(types.ModuleType):
    """Has any name: an upper-case one is a number, another an exception class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = 0 if name.isupper() else type(name, (Exception,), {})
        setattr(self, name, value)
        return value


def load_loop() -> "tuple[Callable[[], asyncio.AbstractEventLoop], str]":
    """Return the maker of the fastest loop there is, and its name. Call it before anything imports asyncio."""
    already = "ssl" in sys.modules
    if not already:
        sys.modules["ssl"] = _NoTls("ssl")
    try:
        try:
            uvloop = importlib.import_module("uvloop")
        except ImportError:
            asyncio = importlib.import_module("asyncio")
            return asyncio.new_event_loop, "asyncio"
        return uvloop.new_event_loop, "uvloop"
    finally:
        if not already:
            del sys.modules["ssl"]
