"""Quantities: `100m` of a processor, `1Gi` of memory.

    QuantityError(ValueError)       the text is not a quantity; the message is Kubernetes' own

A quantity is an exact whole number of nanos, the smallest unit that Kubernetes keeps. What is finer is rounded away
from zero ("you want some resources if you got resources"), what does not fit 63 bits is capped. It remembers how it was
written: `1024Ki` is printed as `1Mi`, but `1048576` is not. Two quantities are equal when their numbers are.
Fact: k8s.io/apimachinery `pkg/api/resource`. Where it prints its input back unchanged (`+1`, `1e+3`) we print the
canonical form.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from functools import total_ordering
from typing import Final, Literal, Self

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

PATTERN: Final = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
NANO: Final = 10**9
LARGEST: Final = (2**63 - 1) * NANO
LONGEST: Final = 200

DECIMAL: Final = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
EXPONENTS: Final = {suffix: exponent for exponent, suffix in DECIMAL.items()}


class QuantityError(ValueError):
    """What was given is no quantity."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """A number of nanos, and the format in which it is printed."""

    nanos: int
    format: Format = field(default="DecimalSI")

    @classmethod
    def parse(cls, value: str | float) -> Self:
        """Read a quantity from a manifest, where a plain number will do."""
        text = str(value)
        parts = re.fullmatch(r"([+-]?)([0-9]*)\.?([0-9]*)([eEinumkKMGTP]*[-+]?[0-9]*)", text, re.ASCII)
        if parts is None or not (parts[2] or parts[3]):
            raise QuantityError(f"quantities must match the regular expression '{PATTERN}'")
        if len(text) > LONGEST:
            raise QuantityError("unable to parse numeric part of quantity")
        sign, whole, fraction, suffix = parts.groups()
        base, exponent, form = _suffix(suffix)
        magnitude = _magnitude(int(whole + fraction), base, exponent, len(fraction))
        return cls(-magnitude if sign == "-" else magnitude, form)

    @property
    def decimal(self) -> Decimal:
        return Decimal(self.nanos).scaleb(-9)

    def to_int(self) -> int:
        """Return the whole number, rounded away from zero."""
        return _away_from_zero(self.nanos, NANO)

    def millis(self) -> int:
        """Return the number of thousandths, rounded away from zero."""
        return _away_from_zero(self.nanos, NANO // 1000)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __lt__(self, other: "Quantity") -> bool:
        return self.nanos < other.nanos

    def __str__(self) -> str:
        """Return the canonical form: no fraction, and the largest suffix that keeps it whole."""
        if not self.nanos:
            return "0"
        if self.format == "BinarySI" and abs(self.nanos) >= 1024 * NANO and self.nanos % NANO == 0:
            return _binary(self.nanos // NANO)
        number, exponent = self.nanos, -9
        while exponent < 18 and number % 1000 == 0:
            number, exponent = number // 1000, exponent + 3
        if self.format == "DecimalExponent":
            return f"{number}e{exponent}" if exponent else str(number)
        return f"{number}{DECIMAL[exponent]}"


def _suffix(suffix: str) -> tuple[int, int, Format]:
    """Return base, exponent and format of a suffix."""
    if suffix in EXPONENTS:
        return 10, EXPONENTS[suffix], "DecimalSI"
    if suffix in BINARY:
        return 1024, BINARY.index(suffix), "BinarySI"
    if power := re.fullmatch(r"[eE]([+-]?[0-9]+)", suffix):
        return 10, int(power[1]), "DecimalExponent"
    raise QuantityError("unable to parse quantity's suffix")


def _magnitude(digits: int, base: int, exponent: int, places: int) -> int:
    """Return `digits / 10**places * base**exponent` in nanos; powers beyond all digits are not worth computing."""
    if not digits:
        return 0
    bounded = max(-2 * LONGEST, min(exponent, 2 * LONGEST))
    if bounded < 0:
        return min(_away_from_zero(digits * NANO, 10**places * base**-bounded), LARGEST)
    return min(_away_from_zero(digits * NANO * base**bounded, 10**places), LARGEST)


def _binary(number: int) -> str:
    power = 0
    while number % 1024 == 0 and power < len(BINARY) - 1:
        number, power = number // 1024, power + 1
    return f"{number}{BINARY[power]}"


def _away_from_zero(number: int, divisor: int) -> int:
    return -(number // -divisor) if number >= 0 else number // divisor
