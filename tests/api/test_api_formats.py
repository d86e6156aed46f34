"""Small rules: names of ports, keys, variables, addresses, quantities, times."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import cells, formats
from skerry.api.quantities import canonical_quantities, validate_quantity


@pytest.mark.parametrize("name", ["http", "a", "h2c-1", "123456789012345"[:14] + "a"])
def test_good_port_names(name: str) -> None:
    assert formats.is_port_name(name) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("HTTP", "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        ("80", "must contain at least one letter (a-z)"),
        ("a--b", "must not contain consecutive hyphens"),
        ("-a", "must not begin or end with a hyphen"),
        ("a" * 16, "must be no more than 15 characters"),
    ],
)
def test_bad_port_names(name: str, problem: str) -> None:
    assert problem in formats.is_port_name(name)


@pytest.mark.parametrize(
    ("key", "problem"),
    [(".", "must not be '.'"), ("..", "must not be '..'"), ("..a", "must not start with '..'")],
)
def test_keys_that_would_be_paths(key: str, problem: str) -> None:
    assert formats.is_config_key(key) == [problem]


def test_keys_may_be_long_but_not_too_long() -> None:
    assert formats.is_config_key("a" * 253) == []
    assert formats.is_config_key("a" * 254) == ["must be no more than 253 characters"]


@given(st.text())
def test_every_rule_answers_for_any_text(text: str) -> None:
    for rule in (
        formats.is_port_name,
        formats.is_config_key,
        formats.is_env_name,
        formats.is_http_header,
        formats.is_ip_address,
    ):
        assert all(isinstance(problem, str) for problem in rule(text))


@given(st.ip_addresses())
def test_addresses_of_both_families(address: object) -> None:
    assert formats.is_ip_address(str(address)) == []


@pytest.mark.parametrize("value", [True, None, [], {}, "", "1x", "1 Gi"])
def test_what_is_no_quantity_stays_and_is_complained_about(value: object) -> None:
    amounts = {"limits": {"cpu": value}}
    canonical_quantities(amounts, "limits", "requests")
    assert amounts == {"limits": {"cpu": value}}
    assert len(validate_quantity("f", value)) == 1


def test_quantities_are_rewritten_in_place() -> None:
    amounts = {"limits": {"cpu": 0.5, "memory": "2048Mi", "nvidia.com/gpu": 1}, "requests": None}
    canonical_quantities(amounts, "limits", "requests")
    assert amounts == {"limits": {"cpu": "500m", "memory": "2Gi", "nvidia.com/gpu": "1"}, "requests": None}
    canonical_quantities(None, "limits")


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_are_read_in_both_precisions(then: datetime) -> None:
    whole = then.replace(microsecond=0)
    assert cells.moment(whole.strftime("%Y-%m-%dT%H:%M:%SZ")) == whole
    assert cells.moment(then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == then
    assert cells.since(whole.isoformat(), whole + timedelta(seconds=72)) == "72s"


@pytest.mark.parametrize("text", [None, "", "yesterday", 3])
def test_what_is_no_time_is_unknown(text: object) -> None:
    assert cells.since(text, datetime(2026, 1, 1, tzinfo=UTC)) == "<unknown>"
