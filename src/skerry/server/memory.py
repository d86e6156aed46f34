"""Memory that is taken and given back.

The C library keeps what was freed in case it is needed again. After a model was loaded, and after a burst of large
requests (tens of megabytes for eight clients with JSON tensors of a photograph), that is memory which another pod
could use.
"""

import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from skerry.server import log
from skerry.server.background import in_thread

_LOOK_SECONDS: Final = 10.0
_WORTHWHILE_BYTES: Final = 16 << 20
_STATM: Final = Path("/proc/self/statm")


def room(size: int) -> memoryview:
    """Return memory for so many bytes, which is not touched until it is written to; raises `MemoryError`.

    Of all that Python has, only NumPy's arrays are not filled with zeros; before it is loaded there is no hurry.
    """
    empty = getattr(sys.modules.get("numpy"), "empty", None)
    return memoryview(bytearray(size) if empty is None else empty(size, "u1"))


def settle() -> None:
    """After a load: collect garbage for the last time over what will stay, and give back what loading needed."""
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Give back what is free."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:  # another C library than glibc
        log.debug("the C library cannot trim its heap")


def resident() -> int:
    """Bytes of memory that the process occupies."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def stay_lean(busy: Callable[[], bool]) -> None:
    """Trim in quiet moments, whenever the process has grown since it did so last."""
    lean = resident()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if resident() > lean + _WORTHWHILE_BYTES and not busy():
            await in_thread(trim)
            lean = resident()
