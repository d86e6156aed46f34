from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.machinery.humanduration import go_duration, human_duration, parse_go_duration

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"),
        (-1.9, "0s"),
        (-1, "0s"),
        (0, "0s"),
        (0.9, "0s"),
        (72, "72s"),
        (119.9, "119s"),
        (2 * MINUTE, "2m"),
        (2 * MINUTE + 3, "2m3s"),
        (10 * MINUTE - 1, "9m59s"),
        (10 * MINUTE, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 5 * MINUTE + 9, "3h5m"),
        (8 * HOUR - 1, "7h59m"),
        (8 * HOUR, "8h"),
        (48 * HOUR - 1, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 3 * HOUR, "2d3h"),
        (8 * DAY - 1, "7d23h"),
        (8 * DAY, "8d"),
        (100 * DAY, "100d"),
        (2 * 365 * DAY - 1, "729d"),
        (2 * 365 * DAY, "2y"),
        (2 * 365 * DAY + 41 * DAY, "2y41d"),
        (8 * 365 * DAY - 1, "7y364d"),
        (8 * 365 * DAY, "8y"),
        (19 * 365 * DAY, "19y"),
    ],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
    assert human_duration(timedelta(seconds=seconds)) == text


@given(st.integers(0, 30 * 365 * DAY))
def test_a_duration_is_short(seconds: int) -> None:
    assert len(human_duration(seconds)) <= 6


@pytest.mark.parametrize(
    ("elapsed", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(microseconds=7), "7µs"),
        (timedelta(milliseconds=350), "350ms"),
        (timedelta(microseconds=1500), "1.5ms"),
        (timedelta(seconds=15, milliseconds=20), "15.02s"),
        (timedelta(minutes=1), "1m0s"),
        (timedelta(hours=26, seconds=1), "26h0m1s"),
        (timedelta(seconds=-3), "-3s"),
    ],
)
def test_durations_as_go_writes_them(elapsed: timedelta, text: str) -> None:
    assert go_duration(elapsed) == text
    assert parse_go_duration(text) == elapsed


@given(st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_what_is_written_is_read(elapsed: timedelta) -> None:
    assert abs(parse_go_duration(go_duration(elapsed)) - elapsed) <= timedelta(microseconds=2)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "1m-3s", "x1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_go_duration(text)
