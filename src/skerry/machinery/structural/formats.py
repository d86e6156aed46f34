"""The formats of strings that Kubernetes checks. Any other name is a remark for readers and checks nothing."""

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final
from urllib.parse import urlsplit

_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_DATE_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_GO_DURATION: Final = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*"
)
_LONG_DURATION: Final = re.compile(
    r"(\d+\s*(ns|nanos?|us|µs|micros?|ms|millis?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)\s*)+",
    re.ASCII,
)
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
_HEX_COLOR: Final = re.compile(r"#?([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")
_RGB_COLOR: Final = re.compile(
    r"rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])(\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])){2}\s*\)", re.ASCII
)
_SSN: Final = re.compile(r"\d{3}[- ]?\d{2}[- ]?\d{4}", re.ASCII)
_OBJECT_ID: Final = re.compile(r"[0-9A-Fa-f]{24}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_SHORT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def fits(text: str, name: str) -> bool:
    """Say whether a text has a format; formats that are not known fit everything."""
    check = _CHECKS.get(name.replace("-", "")) if name not in _SPELLED else _SPELLED[name]
    try:
        return check is None or check(text)
    except ValueError:
        return False


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))


def _is_date_time(text: str) -> bool:
    found = _DATE_TIME.fullmatch(text)
    return found is not None and bool(datetime.fromisoformat(f"{found[1]}T{found[2]}"))


def _is_duration(text: str) -> bool:
    return text == "0" or bool(_GO_DURATION.fullmatch(text) or _LONG_DURATION.fullmatch(text))


def _is_uri(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme or text.startswith("/"))


def _is_hostname(text: str) -> bool:
    name = text.removesuffix(".")
    return 0 < len(name) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in name.split("."))


def _is_cidr(text: str) -> bool:
    return "/" in text and bool(ipaddress.ip_network(text, strict=False))


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


def _is_uuid(version: int | None) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        found = uuid.UUID(text)  # refuses all but 32 digits; braces and urn: are let through
        return not text.startswith(("{", "urn:")) and (version is None or found.version == version)

    return check


def _is_luhn(text: str) -> bool:
    digits = [int(char) for char in re.sub(r"[- ]", "", text)]
    doubled = [digit if place % 2 == 0 else sum(divmod(digit * 2, 10)) for place, digit in enumerate(reversed(digits))]
    return 12 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _is_isbn10(text: str) -> bool:
    digits = re.sub(r"[- ]", "", text)
    if not re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
        return False
    values = [10 if char == "X" else int(char) for char in digits]
    return sum(weight * value for weight, value in zip(range(10, 0, -1), values, strict=True)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = re.sub(r"[- ]", "", text)
    if not re.fullmatch(r"\d{13}", digits, re.ASCII):
        return False
    return sum(int(char) * (3 if place % 2 else 1) for place, char in enumerate(digits)) % 10 == 0


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "bsonobjectid": _matches(_OBJECT_ID),
    "byte": _is_base64,
    "cidr": _is_cidr,
    "creditcard": _is_luhn,
    "date": _is_date,
    "datetime": _is_date_time,
    "duration": _is_duration,
    "email": _matches(_EMAIL),
    "hexcolor": _matches(_HEX_COLOR),
    "hostname": _is_hostname,
    "ipv4": lambda text: ipaddress.ip_address(text).version == 4,
    "ipv6": lambda text: ipaddress.ip_address(text).version == 6,
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "mac": _matches(_MAC),
    "rgbcolor": _matches(_RGB_COLOR),
    "ssn": _matches(_SSN),
    "uri": _is_uri,
    "uuid": _is_uuid(None),
    "uuid3": _is_uuid(3),
    "uuid4": _is_uuid(4),
    "uuid5": _is_uuid(5),
}
_SPELLED: Final[Mapping[str, Callable[[str], bool]]] = {
    "k8s-short-name": _matches(_SHORT_NAME),
    "k8s-long-name": lambda text: len(text) <= 253 and all(_SHORT_NAME.fullmatch(part) for part in text.split(".")),
}
