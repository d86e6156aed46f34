import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.machinery.quantity import LARGEST, NANO, Format, Quantity, QuantityError

# What kubectl makes of each text.
GOLDEN = re.findall(r"^(.*) => (.*)$", (Path(__file__).parent / "golden" / "quantities.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("text", "result"), GOLDEN)
def test_golden(text: str, result: str) -> None:
    if result.startswith("error: "):
        with pytest.raises(QuantityError) as refused:
            Quantity.parse(text)
        assert f"error: {refused.value}" == result
    else:
        assert str(Quantity.parse(text)) == result


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (2, "2"),
        (0.5, "500m"),
        (-3, "-3"),
        ("+1", "1"),
        ("5.", "5"),
        ("00012", "12"),
        ("1E3", "1e3"),
        ("1e+3", "1e3"),
        ("9223372036854775808", "9223372036854775807"),
        ("1e1000", "9223372036854775807"),
        ("1e9999999999999999", "9223372036854775807"),
        ("-1e999", "-9223372036854775807"),
        ("0e999", "0"),
        ("1e-9999999999999999", "1e-9"),
    ],
)
def test_what_is_read_beside_the_canonical_form(written: str | float, canonical: str) -> None:
    assert str(Quantity.parse(written)) == canonical


@pytest.mark.parametrize("text", [".", "-", "+", "", "m", "1 ", " 1", "nan", "1\n"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        Quantity.parse(text)


def test_a_quantity_has_a_limited_length() -> None:
    with pytest.raises(QuantityError, match="unable to parse numeric part of quantity"):
        Quantity.parse("1" * 5000)


def test_whole_numbers_and_thousandths_are_rounded_away_from_zero() -> None:
    assert (Quantity.parse("1500m").to_int(), Quantity.parse("1500m").millis()) == (2, 1500)
    assert (Quantity.parse("-1500m").to_int(), Quantity.parse("-1n").millis()) == (-2, -1)
    assert (Quantity.parse("2Ki").to_int(), Quantity.parse("2").to_int()) == (2048, 2)
    assert Quantity.parse("1n").millis() == 1
    assert Quantity.parse("1500m").decimal == Decimal("1.5")


def test_quantities_compare_by_their_number() -> None:
    assert Quantity.parse("1024Ki") == Quantity.parse("1048576")
    assert Quantity.parse("1Mi") > Quantity.parse("1M")
    assert Quantity.parse("1Mi") >= Quantity.parse("1Mi")
    assert len({Quantity.parse("1"), Quantity.parse("1000m")}) == 1
    assert Quantity.parse("1") != "1"
    assert not Quantity.parse("0Gi")
    assert Quantity.parse("1n")


def test_sums_keep_the_format_of_the_first_that_is_not_zero() -> None:
    assert str(Quantity.parse("1Gi") + Quantity.parse("1048576")) == "1025Mi"
    assert str(Quantity.parse("0") + Quantity.parse("1Gi")) == "1Gi"
    assert str(Quantity.parse("1Gi") - Quantity.parse("1Mi")) == "1023Mi"
    assert str(Quantity.parse("0") - Quantity.parse("1Gi")) == "-1Gi"


FORMATS: list[Format] = ["DecimalSI", "BinarySI", "DecimalExponent"]
QUANTITIES = st.builds(
    Quantity,
    st.one_of(st.integers(-LARGEST, LARGEST), st.integers(-99999, 99999).map(lambda number: number * NANO)),
    st.sampled_from(FORMATS),
)


@given(QUANTITIES)
def test_the_canonical_form_is_read_back(quantity: Quantity) -> None:
    again = Quantity.parse(str(quantity))
    assert again == quantity
    assert str(Quantity.parse(str(again))) == str(again)
    if quantity.format != "BinarySI" or str(quantity).endswith("i"):
        assert str(again) == str(quantity)


def test_a_binary_number_without_a_suffix_is_read_as_a_decimal_one() -> None:
    """As in Kubernetes: 5000 says nothing of what it was."""
    assert str(Quantity(5000 * NANO, "BinarySI")) == "5000"
    assert str(Quantity.parse("5000")) == "5k"


@given(QUANTITIES, QUANTITIES)
def test_sums_are_exact(one: Quantity, other: Quantity) -> None:
    assert (one + other) == (other + one)
    assert (one + other) - other == one
    assert (one < other) == (one.decimal < other.decimal)


@given(QUANTITIES)
def test_rounding_is_by_less_than_one(quantity: Quantity) -> None:
    exact = Fraction(quantity.nanos, NANO)
    assert 0 <= abs(quantity.to_int()) - abs(exact) < 1
    assert 0 <= abs(quantity.millis()) - abs(exact * 1000) < 1


@given(st.from_regex(r"[+-]?[0-9]{0,4}\.?[0-9]{0,12}(n|u|m||k|M|Gi|Ki|e-?[0-9]{1,2})", fullmatch=True))
def test_any_such_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        quantity = Quantity.parse(text)
    except QuantityError:
        return
    assert Quantity.parse(str(quantity)) == quantity
