r"""Label selectors and field selectors: read from text or from a LabelSelector object, matched, written back.

    SelectorError(ValueError)       the text or the object is not a selector; the message is the API server's

Two small languages that look alike and are not. Labels: `a=b,c!=d,e in (x,y),!f,g`, checked against the rules for label
keys and values. Fields: `metadata.name=x,status.phase!=Running`, nothing but (un)equality, with a backslash before `\`,
`,` and `=` in values. A label that is missing satisfies `!=` and `notin`; a field that is missing is the empty string.

Facts: k8s.io/apimachinery `pkg/labels`, `pkg/fields`, `meta/v1` LabelSelectorAsSelector.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from skerry.machinery.fielderrors import FieldError, invalid
from skerry.machinery.names import is_label_value, is_qualified_name

EXISTS: Final = "exists"
NOT_EXISTS: Final = "!"
EQUAL: Final = frozenset({"=", "==", "in"})
UNEQUAL: Final = frozenset({"!=", "notin"})
SYMBOLS: Final = {">": "gt", "<": "lt"}
# In the order in which the API server lists them in its error.
BINARY: Final = ("in", "notin", "=", "==", "!=", "gt", "lt")
OPERATORS: Final = {"In": "in", "NotIn": "notin", "Exists": EXISTS, "DoesNotExist": NOT_EXISTS}

TOKEN: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+|$)")
INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


class SelectorError(ValueError):
    """What was given is no selector."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == EXISTS:
            return value is not None
        if self.operator == NOT_EXISTS:
            return value is None
        if value is None:
            return self.operator in UNEQUAL
        if self.operator in EQUAL:
            return value in self.values
        if self.operator in UNEQUAL:
            return value not in self.values
        number, bound = _integer(value), _integer(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator == "gt" else number < bound

    def __str__(self) -> str:
        if self.operator == EXISTS:
            return self.key
        if self.operator == NOT_EXISTS:
            return "!" + self.key
        values = ",".join(sorted(self.values))
        if self.operator in {"in", "notin"}:
            return f"{self.key} {self.operator} ({values})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{values}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements together; without any, everything matches, unless this selects `nothing`."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.nothing and all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING: Final = LabelSelector()
NOTHING: Final = LabelSelector(nothing=True)


def parse_labels(text: str) -> LabelSelector:
    """Read the text of `kubectl -l` and of `?labelSelector=`."""
    return LabelSelector(_by_key(_Parser(text).requirements()))


def exactly(labels: Mapping[str, str]) -> LabelSelector:
    """Select what has all these labels: the selector of a Service. Without labels, everything."""
    return LabelSelector(_by_key(Requirement(key, "=", (value,)) for key, value in labels.items()))


def label_selector(selector: Any) -> LabelSelector:
    """Read a LabelSelector (dict or struct). None selects nothing, an empty one everything, as in Kubernetes."""
    if selector is None:
        return NOTHING
    fields = msgspec.to_builtins(selector) if isinstance(selector, msgspec.Struct) else selector
    found = [_checked(key, "=", (value,)) for key, value in (fields.get("matchLabels") or {}).items()]
    for expression in fields.get("matchExpressions") or []:
        name = expression.get("operator", "")
        if name not in OPERATORS:
            raise SelectorError(f'"{name}" is not a valid label selector operator')
        found.append(_checked(expression.get("key", ""), OPERATORS[name], tuple(expression.get("values") or ())))
    return LabelSelector(_by_key(found))


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field."""

    field: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.field}{'=' if self.equal else '!='}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms together; without any, everything matches."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, read: Callable[[str], str]) -> bool:
        """Say whether an object matches; `read` gets the text of a field by its dotted name, "" where there is none."""
        return all((read(term.field) == term.value) is term.equal for term in self.terms)

    def names(self) -> list[str]:
        return [term.field for term in self.terms]

    def also(self, other: "FieldSelector") -> "FieldSelector":
        """Select what both select."""
        return FieldSelector(self.terms + other.terms)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))


def parse_fields(text: str) -> FieldSelector:
    """Read the text of `kubectl --field-selector` and of `?fieldSelector=`."""
    terms = []
    for part in sorted(_unescaped_split(text)):
        operator = re.search(r"!=|==|=", part)
        if operator is None:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
        value = _unescaped(part[operator.end() :])
        terms.append(FieldTerm(part[: operator.start()], value, operator.group() != "!="))
    return FieldSelector(tuple(terms))


def _unescaped_split(text: str) -> list[str]:
    """Split at the commas that no backslash protects; empty parts do not count."""
    return re.findall(r"(?:\\.|[^\\,]|\\$)+", text, re.DOTALL)


def _unescaped(value: str) -> str:
    plain = []
    for character in re.findall(r"\\?.|\\$", value, re.DOTALL):
        if character in {",", "="}:
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
        if character[0] == "\\" and character[1:] not in {"\\", ",", "="}:
            raise SelectorError(f"invalid field selector: invalid escape sequence: {character}")
        plain.append(character[-1])
    return "".join(plain)


class _Parser:
    """A recursive descent over the tokens of a label selector; `in` and `notin` are words where a word may stand."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = [*filter(None, TOKEN.findall(text)), ""]
        self.position = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        if not self.next:
            return found
        if not _starts_requirement(self.next):
            raise SelectorError(f"found '{self.next}', expected: !, identifier, or 'end of string'")
        while True:
            found.append(self.requirement())
            separator = self.take()
            if not separator:
                return found
            if separator != ",":
                raise SelectorError(f"found '{separator}', expected: ',' or 'end of string'")
            if not _starts_requirement(self.next):
                raise SelectorError(f"found '{self.next}', expected: identifier after ','")

    @property
    def next(self) -> str:
        return self.tokens[self.position]

    def take(self) -> str:
        self.position += 1
        return self.tokens[self.position - 1]

    def requirement(self) -> Requirement:
        key = self.take()
        negated = key == "!"
        if negated:
            key = self.take()
        if not _is_word(key):
            raise _unreadable(f"found '{key}', expected: identifier")
        if problems := is_qualified_name(key):
            # The API server prints the missing path of the key as Go prints nil.
            raise _unreadable(str(invalid("<nil>", key, "; ".join(problems))))
        if negated or self.next in {"", ","}:
            return Requirement(key, NOT_EXISTS if negated else EXISTS)
        token = self.take()
        operator = SYMBOLS.get(token, token)
        if operator not in BINARY or token in SYMBOLS.values():
            raise _unreadable(f"found '{token}', expected: {', '.join(BINARY)}")
        values = self.set_of_values() if operator in {"in", "notin"} else [self.value()]
        try:
            return _checked(key, operator, tuple(sorted(set(values))))
        except SelectorError as error:
            raise _unreadable(str(error)) from None

    def value(self) -> str:
        if self.next in {"", ","}:
            return ""
        token = self.take()
        if not _is_word(token):
            raise _unreadable(f"found '{token}', expected: identifier")
        return token

    def set_of_values(self) -> list[str]:
        if (opening := self.take()) != "(":
            raise _unreadable(f"found '{opening}' expected: '('")
        if not _is_word(self.next) and self.next not in {",", ")"}:
            raise _unreadable(f"found '{self.next}', expected: ',', ')' or identifier")
        values = []
        while True:
            values.append("" if self.next in {",", ")"} else self.word_of_set())
            if self.next == ")":
                self.take()
                return values
            if self.next != ",":
                raise _unreadable(f"found '{self.next}', expected: ',' or ')'")
            self.take()

    def word_of_set(self) -> str:
        token = self.take()
        if not _is_word(token):
            raise _unreadable(f"found '{token}', expected: ',', or identifier")
        return token


def _unreadable(problem: str) -> SelectorError:
    return SelectorError(f"unable to parse requirement: {problem}")


def _is_word(text: str) -> bool:
    return text != "" and text[0] not in "=!(),<>"


def _starts_requirement(text: str) -> bool:
    return text == "!" or _is_word(text)


def _checked(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    errors: list[FieldError] = []
    if problems := is_qualified_name(key):
        errors.append(invalid("key", key, "; ".join(problems)))
    errors += _count_errors(operator, values)
    for index, value in enumerate(values):
        if problems := is_label_value(value):
            errors.append(invalid(f"values[{index}][{key}]", value, "; ".join(problems)))
    if errors:
        texts = list(dict.fromkeys(map(str, errors)))
        raise SelectorError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return Requirement(key, operator, values)


def _count_errors(operator: str, values: Sequence[str]) -> list[FieldError]:
    if operator in {"in", "notin"} and not values:
        return [invalid("values", [], "for 'in', 'notin' operators, values set can't be empty")]
    if operator in {EXISTS, NOT_EXISTS} and values:
        return [invalid("values", list(values), "values set must be empty for exists and does not exist")]
    if operator in {"gt", "lt"} and _integer(values[0]) is None:
        return [invalid("values[0]", values[0], "for 'Gt', 'Lt' operators, the value must be an integer")]
    return []


def _integer(text: str) -> int | None:
    """Read a 64-bit integer as Go does; labels hold other things too."""
    number = int(text) if INTEGER.fullmatch(text) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _by_key(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    return tuple(sorted(requirements, key=lambda requirement: requirement.key))
