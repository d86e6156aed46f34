"""Numbers of JSON, read by the compiled reader and by its twin in Python, with Python's own json as the judge.

Tried: every way to write a number, halfway between doubles, subnormal, at the ends of 64 bits, with thousands of
digits; spaces and nesting; texts that are cut off or changed at any place; texts inside of others, whose next byte must
not be looked at; texts so long that other threads run meanwhile.
"""

import importlib
import json
import math
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.server.json_numbers import WIDE, Kind, Reader, fastest_reader, read_in_python

_COMPILED = fastest_reader() is not read_in_python
_HEADERS = Path(sysconfig.get_path("include"), "Python.h").exists()
compiled = pytest.mark.skipif(not _COMPILED, reason="the reader is not compiled")
readers = pytest.mark.parametrize(
    "read", [pytest.param(read_in_python, id="python"), pytest.param(fastest_reader(), id="compiled", marks=compiled)]
)
KINDS: list[Kind] = ["f", "d", "i", "u"]
kinds = st.sampled_from(KINDS)


@pytest.mark.skipif(not shutil.which("cc") or not _HEADERS, reason="no C compiler, or no headers of Python")
def test_it_is_compiled_where_there_is_a_compiler() -> None:
    assert _COMPILED, "skerry.server._numbers is missing: run `make install`"


def test_without_it_python_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skerry.server._numbers", None)
    assert fastest_reader() is read_in_python


# The judge.


def judged(text: bytes, kind: Kind) -> bytearray | None:
    """What has to come out."""
    try:
        found = json.loads(text.decode("ascii"), parse_int=_Whole, parse_float=_Pointed, parse_constant=_refuse)
        values = [_value(token, kind) for token in _flat(found, 0)] if isinstance(found, list) else None
    except (ValueError, RecursionError, OverflowError):
        return None
    if values is None:
        return None
    with np.errstate(over="ignore"):
        return bytearray(np.array(values, WIDE[kind]).tobytes())


class _Whole(str):
    __slots__ = ()


class _Pointed(str):
    __slots__ = ()


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _flat(value: Any, depth: int) -> Iterator[Any]:
    if isinstance(value, list) and depth <= 100:
        for element in value:
            yield from _flat(element, depth + 1)
    else:
        yield value


def _value(token: Any, kind: Kind) -> float:
    if not isinstance(token, _Whole | _Pointed):
        raise TypeError if isinstance(token, Iterator) else ValueError(token)
    if kind in "iu":
        number, bounds = int(token) if isinstance(token, _Whole) else None, np.iinfo(WIDE[kind])
        if number is None or not bounds.min <= number <= bounds.max:
            raise ValueError(token)
        return number
    value = float(token)
    if math.isinf(value):
        raise OverflowError(token)
    return abs(value) if isinstance(token, _Whole) and value == 0 else value


def same(text: bytes, kind: Kind) -> None:
    expected = judged(text, kind)
    assert read_in_python(text, kind) == expected
    assert fastest_reader()(text, kind) == expected
    surrounded = memoryview(b"1" + text + b"1")[1:-1]
    assert fastest_reader()(surrounded, kind) == expected


# Numbers.


def _exactly(number: Fraction) -> str:
    """All digits; the denominator is a power of two."""
    places = number.denominator.bit_length() - 1
    return f"{Decimal(number.numerator * 5**places):f}" + f"e-{places}"


@st.composite
def _around_a_tie(draw: st.DrawFn) -> str:
    """In the middle of two doubles, or of two FP32, or beside it by one in a far digit."""
    if draw(st.booleans()):
        low = draw(st.floats(0, 1.7e308))
        middle = (Fraction(low) + Fraction(math.nextafter(low, math.inf))) / 2
    else:
        single = np.float32(draw(st.floats(0, 2.0**127, width=32)))
        middle = (Fraction(float(single)) + Fraction(float(np.nextafter(single, np.float32(np.inf))))) / 2
    digits, exponent = _exactly(middle).split("e")
    more = draw(st.sampled_from(["", "0", "1", "0" * 30 + "1"]))
    beside = draw(st.sampled_from([0, 0, -1, 1])) if more == "" else 0
    return f"{int(digits) + beside}{more}e{int(exponent) - len(more)}"


@st.composite
def _digits(draw: st.DrawFn) -> str:
    """Any number of digits with a point anywhere."""
    digits = draw(st.text("0123456789", min_size=1, max_size=draw(st.sampled_from([3, 9, 20, 45, 900]))))
    at = draw(st.integers(0, len(digits)))
    whole = digits[:at].lstrip("0") or "0"
    point = f".{digits[at:]}" if at < len(digits) else ""
    power = draw(st.one_of(st.none(), st.integers(-30, 30), st.integers(-400, 400), st.integers(-(10**30), 10**30)))
    exponent = "" if power is None else draw(st.sampled_from(["e", "E"])) + draw(st.sampled_from(["", "+", "-"]))
    exponent += "" if power is None else str(abs(power))
    return draw(st.sampled_from(["", "-"])) + whole + point + exponent


_edges = st.builds(
    lambda edge, beside: str(edge + beside),
    st.sampled_from([0, 2**31, 2**32, 2**53, 2**63, 2**64, -(2**63), -(2**64), 10**19, 10**20]),
    st.integers(-2, 2),
)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.integers(0, 2**53).map(lambda bits: repr(bits * 2.0**-1074)),
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(-1000, 1000, places=4).map(str),
    _edges,
    _digits(),
    _around_a_tie(),
)


@settings(deadline=None, max_examples=1000)
@given(st.lists(numbers, max_size=6), kinds)
def test_numbers(tokens: list[str], kind: Kind) -> None:
    same(f"[{','.join(tokens)}]".encode(), kind)


@settings(deadline=None, max_examples=1000)
@given(numbers)
def test_one_number(token: str) -> None:
    for kind in KINDS:
        same(f"[{token}]".encode(), kind)


@readers
@pytest.mark.parametrize(
    "token",
    [
        *("+1", "01", "-01", "00", "1.", ".5", "-.5", "-", "--1", "1e", "1e+", "1.e5", "1.5e", "0x1", "1_0", "1 2"),
        *("NaN", "Infinity", "-Infinity", "nan", "inf", "null", "true", '"1"', "{}", "1e400", "-1e400", "1" * 310),
        *(
            "\N{ARABIC-INDIC DIGIT ONE}",
            "1f",
            "1.5.5",
            "1e5e5",
            "1e5.5",
            "1,",
            ",1",
            "1,,1",
            "1\0",
            "1\x0b",
            "\xa01",
            "1/",
            "1:",
        ),
    ],
)
def test_what_is_no_number(token: str, read: Reader) -> None:
    for kind in KINDS:
        assert read(f"[{token}]".encode(), kind) is None
        assert read(f"[7, {token}, 7]".encode(), kind) is None
        assert (
            read(f"[7.5, {token}, 7.5, 7.25, 7.125]".encode(), kind) is None
        )  # short ones are read in a way of theirs
        assert read(f"[7.5,{token}]".encode(), kind) is None


_short = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "-"]),
    st.one_of(st.integers(0, 99999), st.sampled_from(["0", "00", "01"])),
    st.one_of(
        st.just(""), st.just("."), st.integers(0, 9999999).map(".{}".format), st.integers(0, 99).map(".0{}".format)
    ),
    st.sampled_from(["", "", "", "", "e1", "E-2"]),
)


@readers
@given(texts=st.lists(_short, min_size=1, max_size=9), tail=st.sampled_from(["", " ", "        "]))
@settings(deadline=None, max_examples=200)
def test_short_numbers_behind_each_other(texts: list[str], tail: str, read: Reader) -> None:
    for sent in (texts, [each for each in texts if judged(f"[{each}]".encode(), "d") is not None]):
        text = f"[7.5, {', '.join(sent)}{tail}]".encode() if sent else b"[7.5]"
        for kind in ("f", "d"):
            assert read(text, kind) == judged(text, kind)


@readers
def test_a_zero_has_a_sign_if_it_is_no_integer(read: Reader) -> None:
    found = np.frombuffer(read(b"[-0, -0.0, -0e0, 0.0, -1e-999]", "d") or b"", "<f8")
    assert np.signbit(found).tolist() == [False, True, True, False, True]


@readers
def test_what_is_beyond_fp32_is_infinite(read: Reader) -> None:
    assert np.frombuffer(read(b"[1e39, -1e39, 3.4e38]", "f") or b"", "<f4").tolist() == [
        math.inf,
        -math.inf,
        np.float32(3.4e38),
    ]


@readers
@pytest.mark.parametrize("exponent", ["", "e-20000", "e100", "e-20200", "e20000"])
def test_very_many_digits(exponent: str, read: Reader) -> None:
    for digits in ("1" * 20_000, "0." + "0" * 20_000 + "1", "1" + "0" * 20_000, "5" + "0" * 20_000 + ".5"):
        text = f"[{digits}{exponent}]".encode()
        assert read(text, "d") == judged(text, "d")


@compiled
def test_an_exponent_may_make_up_for_any_number_of_zeros() -> None:
    """The twin, which is msgspec, counts them to 99 999 only."""
    text = b"[0.%b1e100001]" % (b"0" * 100_000)
    assert fastest_reader()(text, "d") == judged(text, "d") == bytearray(np.float64(1).tobytes())


# Arrays.

_space = st.text(" \t\r\n", max_size=3)


@st.composite
def _arrays(draw: st.DrawFn) -> str:
    """Spaces and lists wherever they may be."""

    def spaced(text: str) -> str:
        return draw(_space) + text + draw(_space)

    def element(depth: int) -> str:
        return array(depth + 1) if depth < 4 and draw(st.booleans()) else spaced(draw(number))

    def array(depth: int) -> str:
        elements = ",".join([element(depth) for _ in range(draw(st.integers(0, 4)))])
        return spaced(f"[{elements or draw(_space)}]")

    number = st.one_of(st.integers(-99, 99).map(str), st.floats(-99, 99).map(repr))
    return array(0)


@settings(deadline=None, max_examples=300)
@given(_arrays(), kinds)
def test_arrays(text: str, kind: Kind) -> None:
    same(text.encode(), kind)


@settings(deadline=None, max_examples=100)
@given(_arrays(), kinds)
def test_a_text_that_is_cut_off_anywhere(text: str, kind: Kind) -> None:
    for length in range(len(text)):
        same(text[:length].encode(), kind)


@settings(deadline=None, max_examples=500)
@given(st.one_of(_arrays(), st.lists(numbers, max_size=4).map(lambda found: f"[{', '.join(found)}]")), st.data())
def test_a_text_that_is_changed_somewhere(text: str, data: st.DataObject) -> None:
    changed = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        byte = data.draw(st.one_of(st.sampled_from(b'[],.-+eE0159 \n"{}:nt\0'), st.integers(0, 255)))
        changed[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from([b"", bytes([byte])]))
    same(bytes(changed), data.draw(kinds))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40), kinds)
def test_any_bytes(text: bytes, kind: Kind) -> None:
    same(text, kind)


@readers
@pytest.mark.parametrize(
    "text", [b"", b" ", b"1", b"[", b"]", b"[]]", b"[[]", b"[1][2]", b"[1] 2", b"[1 [2]]", b"[[1] 2]", b"[,]", b"[1,]"]
)
def test_what_is_no_array(text: bytes, read: Reader) -> None:
    assert read(text, "d") is None


@readers
def test_how_deep_lists_may_be(read: Reader) -> None:
    assert read(b"[" * 101 + b"1" + b"]" * 101, "d") == bytearray(np.float64(1).tobytes())
    assert read(b"[" * 102 + b"1" + b"]" * 102, "d") is None
    assert read(b"[" * 1_000_000, "d") is None


# Long texts, which are read while other threads run.


def _long() -> bytes:
    rng = np.random.default_rng(3)
    numbers = rng.normal(size=20_000).tolist()
    hard = ["0.500000000000000166533453693773481063544750213623046875", "4.9e-324", "-1e-300", "123456789" * 30]
    return f"[{', '.join([*map(repr, numbers), *hard, *map(repr, numbers)])}]".encode()


@readers
def test_long_texts_in_several_threads(read: Reader) -> None:
    text = _long()
    expected = judged(text, "d")
    assert expected is not None
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(lambda _: read(text, "d"), range(12)))
        assert all(found is None for found in pool.map(lambda _: read(text[:-1] + b",]", "d"), range(12)))


@readers
def test_the_result_is_no_longer_than_its_numbers(read: Reader) -> None:
    found = read(b"[" + b"[]," * 50_000 + b"1]", "f")
    assert found is not None
    assert len(found) == 4
    assert sys.getsizeof(found) < 1000


@compiled
def test_it_says_what_it_takes() -> None:
    read: Any = importlib.import_module("skerry.server._numbers").read
    with pytest.raises(ValueError, match="kind is one of 'f', 'd', 'i' and 'u', not 'x'"):
        read(b"[]", "x")
    with pytest.raises(TypeError, match="2 arguments"):
        read(b"[]")
    with pytest.raises(TypeError):
        read("[]", "f")
    with pytest.raises(BufferError):
        read(memoryview(b"[  ]")[::2], "f")
