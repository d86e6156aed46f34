"""Large JSON: its arrays of numbers are cut out of the text, so that they never become Python objects.

Even to skip 150 000 numbers takes a JSON parser as long as reading them takes `json_numbers`, so the parser gets a text
with something short in the place of each array. Where an array ends is found by looking for the next quote or brace,
which no array of numbers contains.

This is right only if every text that was cut out is valid JSON. Whoever reads them can tell, and if one is not an
array of numbers, or nobody asked for it, the whole text is to be parsed as it came.
"""

import re
from typing import Final

import msgspec

WORTHWHILE: Final = 1 << 12
_KEY: Final = b'"data"'
_match_begin: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=\[[ \t\r\n\[]*[-0-9])").match
_PLACE: Final = b'{"cut":%d}'
_ANY_PLACE: Final = b'{"cut":'


class Cut(msgspec.Struct, gc=False):
    """A text without its arrays, and the arrays by what stands in their places."""

    rest: bytes
    arrays: dict[bytes, memoryview]


def cut(json: bytes) -> Cut | None:
    """Cut out the values of all keys `data` that may be arrays of numbers; None if there is nothing to gain."""
    view, arrays, kept = memoryview(json), dict[bytes, memoryview](), list[bytes | memoryview]()
    begin = at = 0
    while (at := json.find(_KEY, at)) >= 0:
        # Behind a backslash it is the end of a longer text.
        found = _match_begin(json, at + len(_KEY)) if json[at - 1 : at] != b"\\" else None
        at += len(_KEY)
        if found is None:
            continue
        at = found.end()
        end = _end(json, at)
        if end - at >= WORTHWHILE:
            place = _PLACE % len(arrays)
            arrays[place] = view[at:end]
            kept += [view[begin:at], place]
            begin = at = end
    rest = b"".join((*kept, view[begin:]))
    if not arrays or rest.count(_ANY_PLACE) != len(arrays):
        return None
    return Cut(rest, arrays)


def _end(json: bytes, begin: int) -> int:
    """Where an array of numbers ends at the latest."""
    quote = json.find(b'"', begin)
    limit = len(json) if quote < 0 else quote
    brace = json.find(b"}", begin, limit)
    return json.rfind(b"]", begin, limit if brace < 0 else brace) + 1
