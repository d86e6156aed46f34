r"""Parses RE2's syntax into a tree.

    PatternError         no regular expression, in the words of Go's `regexp/syntax`
      UnsupportedPattern one that RE2 would take and this parser does not (Unicode classes such as `\p{Greek}`)

Only whether a text matches is of interest: groups are not captured, and lazy repetition is the same as greedy.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Predicate = Callable[[str], bool]

_LONGEST_REPEAT: Final = 1000
_DEEPEST: Final = 200
_SPACE: Final = frozenset("\t\n\f\r ")
_WORD: Final = frozenset(string.ascii_letters + string.digits + "_")
_CLASSES: Final[dict[str, frozenset[str]]] = {"d": frozenset(string.digits), "s": _SPACE, "w": _WORD}
_POSIX: Final[dict[str, frozenset[str]]] = {
    "alnum": frozenset(string.ascii_letters + string.digits),
    "alpha": frozenset(string.ascii_letters),
    "ascii": frozenset(map(chr, range(128))),
    "blank": frozenset("\t "),
    "cntrl": frozenset([*map(chr, range(32)), "\x7f"]),
    "digit": frozenset(string.digits),
    "graph": frozenset(map(chr, range(33, 127))),
    "lower": frozenset(string.ascii_lowercase),
    "print": frozenset(map(chr, range(32, 127))),
    "punct": frozenset(string.punctuation),
    "space": frozenset("\t\n\v\f\r "),
    "upper": frozenset(string.ascii_uppercase),
    "word": _WORD,
    "xdigit": frozenset(string.hexdigits),
}
_ESCAPES: Final = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_ASSERTIONS: Final[dict[str, "Where"]] = {"A": "start", "z": "end", "b": "boundary", "B": "inside"}

Where = Literal["start", "end", "line start", "line end", "boundary", "inside"]


class PatternError(ValueError):
    """The text is no regular expression."""


class UnsupportedPattern(PatternError):
    """The text is one, with something that is not known here."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of a set: single ones and ranges, or all others."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False
    folded: bool = False  # upper and lower case are the same

    def __contains__(self, char: str) -> bool:
        forms = {char, char.lower(), char.upper()} if self.folded else {char}
        found = any(low <= form <= high for form in forms for low, high in self.ranges)
        return found is not self.negated


@dataclass(frozen=True, slots=True)
class Assertion:
    """A place in the text, no character."""

    where: Where


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """At least `least` times, and at most `most`; None is any number."""

    item: "Node"
    least: int
    most: int | None


Node = Chars | Assertion | Sequence | Choice | Repeat


def parse(pattern: str) -> Node:
    """Parse a pattern; raises `PatternError`."""
    return _Parser(pattern).whole()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._flags = frozenset[str]()

    def whole(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            raise _error("unexpected )", self._text)
        return node

    def _peek(self, length: int = 1) -> str:
        return self._text[self._at : self._at + length]

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _error("expression nests too deeply", self._text)
        items = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            items.append(self._sequence())
        self._depth -= 1
        return items[0] if len(items) == 1 else Choice(tuple(items))

    def _sequence(self) -> Node:
        items: list[Node] = []
        while (char := self._peek()) and char not in "|)":
            if self._peek(2) == "\\Q":
                items += self._quoted()
                continue
            item = self._atom()
            if item is not None:
                items.append(self._repeated(item))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _quoted(self) -> list[Node]:
        end = self._text.find("\\E", self._at)
        literal = self._text[self._at + 2 : end if end >= 0 else None]
        self._at = end + 2 if end >= 0 else len(self._text)
        return [self._literal(char) for char in literal]

    def _atom(self) -> Node | None:
        char = self._peek()
        self._at += 1
        match char:
            case "(":
                return self._group()
            case "[":
                return self._set()
            case ".":
                return Chars((), negated=True) if "s" in self._flags else Chars((("\n", "\n"),), negated=True)
            case "^":
                return Assertion("line start" if "m" in self._flags else "start")
            case "$":
                return Assertion("line end" if "m" in self._flags else "end")
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                raise _error("missing argument to repetition operator", char)
        return self._literal(char)

    def _literal(self, char: str) -> Chars:
        return Chars(((char, char),), folded="i" in self._flags)

    def _repeated(self, item: Node) -> Node:
        begun = self._at
        times = self._times()
        if times is None:
            return item
        if self._peek() == "?":
            self._at += 1
        if self._times() is not None:
            raise _error("invalid nested repetition operator", self._text[begun : self._at])
        return Repeat(item, *times)

    def _times(self) -> tuple[int, int | None] | None:
        char = self._peek()
        if char in {"*", "+", "?"}:
            self._at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        end = self._text.find("}", self._at)
        if char != "{" or end < 0:
            return None
        least, comma, most = self._text[self._at + 1 : end].partition(",")
        if not _is_number(least) or not (most == "" or _is_number(most)):
            return None  # no repetition: a brace like any other character
        text = self._text[self._at : end + 1]
        low = int(least)
        high = int(most) if most else None if comma else low
        if max(low, high or 0) > _LONGEST_REPEAT or (high is not None and high < low):
            raise _error("invalid repeat count", text)
        self._at = end + 1
        return low, high

    def _group(self) -> Node | None:
        outer = self._flags
        if self._peek() == "?":
            opening = self._text[self._at - 1 :]
            self._at += 1
            if self._peek(2) == "P<" or self._peek() == "<":
                self._named(opening)
            elif self._flagged(opening):
                return None  # (?i): for the rest of the group
        node = self._choice()
        if self._peek() != ")":
            raise _error("missing closing )", self._text)
        self._at += 1
        self._flags = outer
        return node

    def _named(self, opening: str) -> None:
        start = self._text.index("<", self._at)
        end = self._text.find(">", start)
        name = self._text[start + 1 : end] if end >= 0 else ""
        if not name or not set(name) <= _WORD:
            raise _error("invalid named capture", opening)
        self._at = end + 1

    def _flagged(self, opening: str) -> bool:
        """Read `i)`, `i:` or `:`; returns whether that was all of the group."""
        on, off, negative = set(self._flags), set[str](), False
        while char := self._peek():
            self._at += 1
            if char in ":)":
                self._flags = frozenset(on - off)
                return char == ")"
            if char == "-" and not negative:
                negative = True
            elif char in "imsU":
                (off if negative else on).add(char)
            else:
                break
        raise _error("invalid or unsupported Perl syntax", opening[: self._at - len(self._text) + len(opening)])

    def _escape(self) -> Node:
        char = self._peek()
        if char in _ASSERTIONS and char:
            self._at += 1
            return Assertion(_ASSERTIONS[char])
        return self._class_escape() or self._literal(self._char_escape())

    def _class_escape(self) -> Chars | None:
        """Read `d`, `D`, … after a backslash."""
        char = self._peek()
        if char and char in "pP":
            raise UnsupportedPattern(f"Unicode classes such as {self._text[self._at - 1 : self._at + 1]} are not known")
        members = _CLASSES.get(char.lower())
        if members is None:
            return None
        self._at += 1
        return Chars(tuple((one, one) for one in sorted(members)), negated=char.isupper())

    def _char_escape(self) -> str:
        begun = self._at - 1
        char = self._peek()
        self._at += 1
        if not char:
            raise PatternError("error parsing regexp: trailing backslash at end of expression: ``")
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char == "x":
            return self._hexadecimal(begun)
        if char in "01234567" and (char == "0" or self._peek() in set("01234567")):
            digits = char
            while len(digits) < 3 and self._peek() in set("01234567") and self._peek():
                digits += self._peek()
                self._at += 1
            return chr(int(digits, 8))
        if char.isascii() and not char.isalnum():
            return char
        raise _error("invalid escape sequence", self._text[begun : self._at])

    def _hexadecimal(self, begun: int) -> str:
        if self._peek() == "{":
            end = self._text.find("}", self._at)
            digits = self._text[self._at + 1 : end] if end >= 0 else ""
            self._at = end + 1
        else:
            digits = self._peek(2)
            self._at += 2
        if not digits or not set(digits) <= set(string.hexdigits) or int(digits, 16) > 0x10FFFF:
            raise _error("invalid escape sequence", self._text[begun : max(self._at, begun + 2)])
        return chr(int(digits, 16))

    def _set(self) -> Chars:
        begun = self._at - 1
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[tuple[str, str]] = []
        first = True
        while self._peek() != "]" or first:
            if not self._peek():
                raise _error("missing closing ]", self._text[begun:])
            first = False
            ranges += self._set_item()
        self._at += 1
        return Chars(tuple(ranges), negated, "i" in self._flags)

    def _set_item(self) -> list[tuple[str, str]]:
        begun = self._at
        if self._peek(2) == "[:" and (end := self._text.find(":]", self._at)) >= 0:
            return self._posix(end)
        if self._peek() == "\\":
            self._at += 1
            found = self._class_escape()
            if found is not None:
                return _complement(found) if found.negated else list(found.ranges)
            low = self._char_escape()
        else:
            low = self._peek()
            self._at += 1
        if self._peek() != "-" or self._peek(2) in {"-]", "-"}:
            return [(low, low)]
        self._at += 1
        if self._peek() == "\\":
            self._at += 1
            high = self._char_escape()
        else:
            high = self._peek()
            self._at += 1
        if high < low:
            raise _error("invalid character class range", self._text[begun : self._at])
        return [(low, high)]

    def _posix(self, end: int) -> list[tuple[str, str]]:
        name = self._text[self._at + 2 : end]
        members = _POSIX.get(name.removeprefix("^"))
        if members is None:
            raise _error("invalid character class range", self._text[self._at : end + 2])
        self._at = end + 2
        chars = Chars(tuple((one, one) for one in sorted(members)), name.startswith("^"))
        return _complement(chars) if chars.negated else list(chars.ranges)


def _complement(chars: Chars) -> list[tuple[str, str]]:
    """Return the ranges of all characters that are not in a set."""
    found, low = [], 0
    for start, end in sorted(chars.ranges):
        if low < ord(start):
            found.append((chr(low), chr(ord(start) - 1)))
        low = max(low, ord(end) + 1)
    return [*found, (chr(low), chr(0x10FFFF))]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _error(what: str, where: str) -> PatternError:
    return PatternError(f"error parsing regexp: {what}: `{where}`")
