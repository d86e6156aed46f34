"""The Huffman code of HPACK (RFC 7541, appendix B), to read it; this server writes plain text.

The code is canonical: the lengths alone determine it, codes of one length being numbered in the order of their symbols.
Symbols that are common in headers have at most eight bits and are found in one table; the others by bisection.
"""

from bisect import bisect_right
from typing import Final

_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)
_END: Final = 256  # a symbol that must not occur in a string
_WINDOW: Final = 30  # the longest code
_ONES: Final = (1 << _WINDOW) - 1


def _codes() -> tuple[list[int], list[tuple[int, int]]]:
    """All codes filled up to 30 bits, ascending, and beside each its symbol and its length."""
    symbols = sorted(range(_END), key=lambda symbol: (_LENGTHS[symbol], symbol))
    starts: list[int] = []
    meanings: list[tuple[int, int]] = []
    code = 0
    for symbol in symbols:
        starts.append(code)
        meanings.append((symbol, _LENGTHS[symbol]))
        code += 1 << (_WINDOW - _LENGTHS[symbol])
    return [*starts, code], [*meanings, (_END, _WINDOW)]


_STARTS, _MEANINGS = _codes()
# By the next eight bits; None where the code is longer.
_SHORT: Final = [
    meaning if (meaning := _MEANINGS[bisect_right(_STARTS, byte << (_WINDOW - 8)) - 1])[1] <= 8 else None
    for byte in range(256)
]


def decode(data: bytes) -> bytes:
    """Return the text; raises `ValueError` for anything that no encoder may write."""
    text = bytearray()
    bits = unread = 0
    for start in range(0, len(data), 4):
        part = data[start : start + 4]
        bits = bits << 8 * len(part) | int.from_bytes(part, "big")
        unread += 8 * len(part)
        while unread >= _WINDOW:
            symbol, length = _SHORT[bits >> (unread - 8) & 0xFF] or _long(bits >> (unread - _WINDOW) & _ONES)
            text.append(symbol)
            unread -= length
        bits &= (1 << unread) - 1
    padded = bits << _WINDOW | _ONES
    while unread:
        symbol, length = _long(padded >> unread & _ONES)
        if length > unread:
            break
        text.append(symbol)
        unread -= length
    if unread > 7 or bits & (1 << unread) - 1 != (1 << unread) - 1:
        raise ValueError("a Huffman-coded string ends in the middle of a symbol")
    return bytes(text)


def _long(window: int) -> tuple[int, int]:
    """The next symbol and its length; the symbol of the end is no byte, so appending it raises."""
    return _MEANINGS[bisect_right(_STARTS, window) - 1]
