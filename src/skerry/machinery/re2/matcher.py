"""Runs patterns: a Thompson automaton, made deterministic while it runs.

A state is a number; `_Program.steps` says for each where a character leads. All states that the text may be in are
followed at once, so the work for one character is bounded by the size of the pattern. The sets of states are kept with
what each character made of them, so a pattern that is used often costs one look-up a character.
"""

from functools import lru_cache
from typing import Final

from skerry.machinery.re2.parser import (
    Assertion,
    Chars,
    Choice,
    Node,
    PatternError,
    Repeat,
    Sequence,
    UnsupportedPattern,
    Where,
    parse,
)

_MOST_STATES: Final = 10_000
_MOST_TRANSITIONS: Final = 4_000
_WORD: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")

States = frozenset[int]


class _Program:
    """An automaton: states step over a character (`chars`) or lead on without one (`free`, some at a place only)."""

    def __init__(self, node: Node) -> None:
        self.chars: dict[int, tuple[Chars, int]] = {}
        self.free: dict[int, list[tuple[Where | None, int]]] = {}
        self._count = 0
        self.start = self._new()
        self.end = self._add(node, self.start)

    def _new(self) -> int:
        self._count += 1
        if self._count > _MOST_STATES:
            raise UnsupportedPattern("the expression is too large")
        return self._count - 1

    def _lead(self, source: int, target: int, where: Where | None = None) -> None:
        self.free.setdefault(source, []).append((where, target))

    def _add(self, node: Node, source: int) -> int:
        """Add a node after a state; returns the state behind it."""
        match node:
            case Chars():
                # Each character state has one way out.
                here, target = self._new(), self._new()
                self._lead(source, here)
                self.chars[here] = (node, target)
                return target
            case Assertion(where):
                target = self._new()
                self._lead(source, target, where)
                return target
            case Sequence(items):
                for item in items:
                    source = self._add(item, source)
                return source
            case Choice(items):
                target = self._new()
                for item in items:
                    self._lead(self._add(item, source), target)
                return target
            case Repeat(item, least, most):
                return self._repeat(item, least, most, source)

    def _repeat(self, item: Node, least: int, most: int | None, source: int) -> int:
        for _ in range(least):
            source = self._add(item, source)
        target = self._new()
        if most is None:
            loop = self._new()
            self._lead(source, loop)
            self._lead(self._add(item, loop), loop)
            self._lead(loop, target)
            return target
        for _ in range(most - least):
            self._lead(source, target)
            source = self._add(item, source)
        self._lead(source, target)
        return target


class Pattern:
    """A compiled pattern."""

    def __init__(self, text: str) -> None:
        self._program = _Program(parse(text))
        self._asserts = any(where is not None for ways in self._program.free.values() for where, _ in ways)
        self._known: dict[tuple[States, str], States] = {}

    def found_in(self, text: str) -> bool:
        """Say whether the pattern matches anywhere in the text."""
        start, end = self._program.start, self._program.end
        states: States = frozenset()
        for index in range(len(text) + 1):
            before = text[index - 1] if index else ""
            after = text[index] if index < len(text) else ""
            here = self._reachable(states | {start}, before, after)
            if end in here:
                return True
            if not after:
                return False
            states = self._stepped(here, after)
        return False

    def _reachable(self, states: States, before: str, after: str) -> States:
        key = (states, f"{before}\0{after}\0" if self._asserts else "")
        known = self._known.get(key)
        if known is not None:
            return known
        seen, waiting = set(states), list(states)
        while waiting:
            for where, target in self._program.free.get(waiting.pop(), ()):
                if target not in seen and (where is None or _holds(where, before, after)):
                    seen.add(target)
                    waiting.append(target)
        return self._keep(key, frozenset(seen))

    def _stepped(self, states: States, char: str) -> States:
        key = (states, char)
        known = self._known.get(key)
        if known is not None:
            return known
        chars = self._program.chars
        ways = (chars[state] for state in states if state in chars)
        return self._keep(key, frozenset(target for wanted, target in ways if char in wanted))

    def _keep(self, key: tuple[States, str], found: States) -> States:
        if len(self._known) >= _MOST_TRANSITIONS:
            self._known.clear()
        self._known[key] = found
        return found


def _holds(where: Where, before: str, after: str) -> bool:
    match where:
        case "start":
            return not before
        case "end":
            return not after
        case "line start":
            return before in {"", "\n"}
        case "line end":
            return after in {"", "\n"}
    return ((before in _WORD) is not (after in _WORD)) is (where == "boundary")


@lru_cache(maxsize=128)
def compiled(pattern: str) -> Pattern:
    """Compile a pattern, or find the one that was compiled before; raises `PatternError`."""
    try:
        return Pattern(pattern)
    except RecursionError:
        raise PatternError(f"error parsing regexp: expression nests too deeply: `{pattern}`") from None
