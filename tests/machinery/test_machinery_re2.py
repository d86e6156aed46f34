"""RE2 patterns: the same answers as Python's `re` where both read a pattern alike, and never more than linear time."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.machinery.re2 import PatternError, UnsupportedPattern, compiled

PATTERNS = [
    "a",
    "^a$",
    "^$",
    "",
    "a*",
    "^a+b?$",
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$",
    r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
    "^(a|b|ab)*c$",
    "a{2}b{1,}c{0,2}$",
    r"\bfoo\b|\Bx\B",
    "[^a-c]",
    "[]a]",
    "[^]a]",
    "[a-]",
    r"[\d\-x]",
    r"[\w.]+@\W?",
    "(?:ab)+?c",
    "(?i)ABC",
    "(?i:x)Y",
    "(?m)^b$",
    "(?s)a.b",
    "(?P<name>ab)",
    r"\.\*\+\x41",
    "^.*$",
    "x*?y+?",
    "()|a",
    "(a*)*$",
]


@settings(max_examples=60)
@given(st.text(alphabet="abcxyzABCXY019-./*@ \n]", max_size=12))
def test_it_agrees_with_re(text: str) -> None:
    for pattern in PATTERNS:
        # $ means the end of the text alone in RE2; Python also lets a last line end follow.
        python = pattern if "(?m)" in pattern else pattern.replace("$", r"\Z")
        expected = re.search(python, text, re.ASCII) is not None
        assert compiled(pattern).found_in(text) is expected, (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"\Aab\z", "ab", True),
        (r"\Aab\z", "ab\n", False),
        ("[[:alpha:]]+[[:digit:]]$", "ab1", True),
        ("^[[:^space:]]+$", "a b", False),
        (r"^\Qa.b*\E$", "a.b*", True),
        (r"^[^\d]$", "x", True),
        (r"^[\D]$", "4", False),
        (r"\x{1F600}", "\U0001f600", True),
        (r"\101", "A", True),
        ("^(?i)é$", "É", True),
        ("^(?-s:.)$", "\n", False),
        ("(?<year>[0-9]{4})", "in 2026", True),
        (r"^\s$", "\v", False),
        ("^a{,2}$", "a{,2}", True),
    ],
)
def test_what_only_re2_says(pattern: str, text: str, expected: bool) -> None:
    assert compiled(pattern).found_in(text) is expected


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        (r"\y", r"invalid escape sequence: `\y`"),
        (r"(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        (r"(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("[[:odd:]]", "invalid character class range: `[:odd:]`"),
        ("(" * 400, "expression nests too deeply"),
    ],
)
def test_errors_are_in_the_words_of_go(pattern: str, complaint: str) -> None:
    with pytest.raises(PatternError) as caught:
        compiled(pattern)
    assert complaint in str(caught.value)


def test_what_is_not_known_is_told_apart_from_what_is_wrong() -> None:
    for pattern in (r"\p{Greek}", "(a{1000}){1000}"):
        with pytest.raises(UnsupportedPattern):
            compiled(pattern)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*)*x$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_nothing_blows_up(pattern: str) -> None:
    begun = time.perf_counter()
    assert not compiled(pattern).found_in("a" * 20_000 + "!")
    assert time.perf_counter() - begun < 2


@settings(max_examples=200)
@given(st.text(alphabet="ab[](){}*+?|^$\\.-:=<>123,ispPQEdw", max_size=12))
def test_any_text_is_a_pattern_or_a_pattern_error(pattern: str) -> None:
    try:
        found = compiled(pattern)
    except PatternError:
        return
    found.found_in("ab1-")
