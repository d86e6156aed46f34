"""JSON values in Python: copies and equality.

Patches build new documents out of pieces of old ones. The pieces are copied, so that no later write to the result can
reach into a cache or a request that shares them. Writing the value as JSON and reading that is five times as fast as
copying in Python, and `copy.deepcopy` is ten times slower still.
"""

from typing import Any

import msgspec


def copied(value: Any) -> Any:
    """Copy objects and arrays all the way down."""
    if not isinstance(value, dict | list):
        return value
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (msgspec.MsgspecError, ValueError, OverflowError, TypeError, RecursionError):
        return _copied(value)  # a number of more than 64 bits, half a surrogate pair


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def equal(one: Any, other: Any) -> bool:
    """Compare as JSON: numbers by value, but `true` is not `1`, which Python's `==` says."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
