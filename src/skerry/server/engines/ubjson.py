"""Universal Binary JSON, as far as XGBoost writes it: `.ubj` files.

A value is a letter that tells its type and then its bytes, big-endian. Arrays and objects may say their length in
front (`#`), arrays also the one type of their elements (`$`); those become NumPy arrays in one piece. Lengths are
checked against what is left of the file before anything is allocated.
"""

from typing import Any, Final

import numpy as np

_MOST_NESTED: Final = 64
_NUMBERS: Final[dict[str, np.dtype[Any]]] = {
    "i": np.dtype(">i1"),
    "U": np.dtype(">u1"),
    "I": np.dtype(">i2"),
    "l": np.dtype(">i4"),
    "L": np.dtype(">i8"),
    "d": np.dtype(">f4"),
    "D": np.dtype(">f8"),
}
_CONSTANTS: Final = {"Z": None, "T": True, "F": False}


def decode(data: bytes) -> Any:
    """Read one value that fills `data`; raises `ValueError`."""
    reader = _Reader(data)
    value = reader.value(reader.mark())
    if reader.left:
        raise ValueError(f"{reader.left} bytes follow the end")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def _take(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ValueError(f"the file ends early: {size} bytes wanted at {self._at}, {self.left} left")
        self._at += size
        return self._data[self._at - size : self._at]

    def mark(self) -> str:
        """The next letter that means something."""
        while (letter := self._take(1)) == b"N":
            continue
        return letter.decode("latin-1")

    def _peek(self, letter: bytes) -> bool:
        if self._data[self._at : self._at + 1] != letter:
            return False
        self._at += 1
        return True

    def value(self, mark: str) -> Any:
        if mark in _NUMBERS:
            dtype = _NUMBERS[mark]
            return np.frombuffer(self._take(dtype.itemsize), dtype)[0].item()
        if mark in _CONSTANTS:
            return _CONSTANTS[mark]
        if mark == "S":
            return self._text()
        if mark == "C":
            return self._take(1).decode("latin-1")
        if mark not in "[{":
            raise ValueError(f"unknown type {mark!r} at {self._at - 1}")
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise ValueError("nested too deeply")
        value = self._array() if mark == "[" else self._object()
        self._depth -= 1
        return value

    def _length(self) -> int:
        mark = self.mark()
        if mark not in "iUIlL":
            raise ValueError(f"a length has type {mark!r} at {self._at - 1}")
        return int(self.value(mark))

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _array(self) -> Any:
        kind = self.mark() if self._peek(b"$") else ""
        if not self._peek(b"#"):
            if kind:
                raise ValueError(f"an array with a type has no length at {self._at}")
            return list(self._until("]"))
        length = self._length()
        if kind in _NUMBERS:
            dtype = _NUMBERS[kind]
            return np.frombuffer(self._take(length * dtype.itemsize), dtype).astype(dtype.newbyteorder("="))
        self._check(length)
        return [self.value(kind or self.mark()) for _ in range(length)]

    def _until(self, end: str) -> Any:
        while (mark := self.mark()) != end:
            yield self.value(mark)

    def _object(self) -> dict[str, Any]:
        if self._peek(b"$"):
            raise ValueError(f"an object with one type for all values is not supported, at {self._at}")
        found: dict[str, Any] = {}
        if self._peek(b"#"):
            length = self._length()
            self._check(length)
            for _ in range(length):
                name = self._text()
                found[name] = self.value(self.mark())
            return found
        while not self._peek(b"}"):
            name = self._text()
            found[name] = self.value(self.mark())
        return found

    def _check(self, length: int) -> None:
        if not 0 <= length <= self.left:  # an element has at least one byte
            raise ValueError(f"a length of {length} at {self._at} is more than the file holds")
