import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.durations import InvalidDurationError, parse_duration

UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("-0", 0.0),
        ("20ms", 0.02),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("-1s", -1.0),
        ("+5s", 5.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("1h1m1s1ms1us1ns", 3661.001001001),
        ("3µs", 3e-6),
        ("3μs", 3e-6),  # the Greek letter, which Go takes as well
        ("1s1s", 2.0),
        ("0.9999999999999999999999999ns", 0.0),
        ("00000000000000000000000001s", 1.0),
        ("9223372036854775807ns", 9223372036.854775807),
    ],
)
def test_gos_durations_are_understood(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "20",
        "ms",
        "1 s",
        "s1",
        "1s ",
        "--1s",
        "1,5s",
        "1.2.3s",
        ".s",
        "-",
        "+",
        "1d",
        "1S",
        "0x1s",
        "00",
        "٣s",
        "1s2",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9223372036854775808ns", "2562048h", "9" * 5000 + "s"])
def test_what_does_not_fit_64_bits_of_nanoseconds_is_refused(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="too long"):
        parse_duration(text)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS))), min_size=1, max_size=6),
    st.sampled_from(["", "+", "-"]),
)
def test_the_parts_add_up(parts: list[tuple[int, str]], sign: str) -> None:
    text = sign + "".join(f"{count}{unit}" for count, unit in parts)
    total = sum(count * UNITS[unit] for count, unit in parts)
    assert parse_duration(text) == (-total if sign == "-" else total) / 1e9


@given(st.integers(0, 10**9), st.integers(0, 999), st.sampled_from(["us", "ms", "s", "m", "h"]))
def test_three_decimals_are_exact(whole: int, thousandths: int, unit: str) -> None:
    if (whole + 1) * UNITS[unit] < 2**63:
        expected = (whole * 1000 + thousandths) * UNITS[unit] // 1000 / 1e9
        assert parse_duration(f"{whole}.{thousandths:03d}{unit}") == expected


@given(st.text(max_size=30))
def test_no_text_fails_otherwise(text: str) -> None:
    with contextlib.suppress(InvalidDurationError):
        parse_duration(text)
