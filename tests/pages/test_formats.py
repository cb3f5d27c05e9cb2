from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app import formats

FLT = 10**18


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0"),
        (FLT // 10, "0.1"),
        (1, "<0.0001"),
        (1_234_567 * FLT + FLT // 2, "1,234,567.5"),
        (99_999 * 10**13, "0.9999"),  # cut, never rounded up to money nobody has
        (-5 * FLT, "-5"),
        (None, "–"),
    ],
)
def test_amounts_are_exact(wei: int | None, text: str) -> None:
    assert formats.amount(wei) == text


def test_amounts_line_up_in_columns() -> None:
    assert formats.amount(60 * FLT, 2, keep_zeros=True) == "60.00"
    assert formats.amount(1, 2, keep_zeros=True) == "<0.01"


@given(st.integers(min_value=0, max_value=2**256 - 1))
def test_no_wei_is_lost_in_an_export(wei: int) -> None:
    whole, _, fraction = formats.exact_amount(wei).partition(".")
    assert int(whole) * FLT + int(fraction.ljust(18, "0") or 0) == wei


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0"),
        (31_234_567_000_000, "0.00003123"),
        (FLT, "1"),
        (12_345_678 * 10**11, "1.2345"),
    ],
)
def test_gas_costs_keep_four_places(wei: int, text: str) -> None:
    assert formats.ether(wei) == text


@pytest.mark.parametrize(
    ("gas", "figure", "unit"),
    [(480, "480", ""), (9_999, "9,999", ""), (153_400, "153", "k"), (1_620_000, "1.62", "M")],
)
def test_gas_in_headlines(gas: int, figure: str, unit: str) -> None:
    assert formats.scaled(gas) == formats.Scaled(figure, unit)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.31, "0.31 s"), (14, "14 s"), (300, "5 min"), (7800, "2 h 10 min"), (260_000, "3 d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert formats.duration(seconds).replace("\u00a0", " ") == text


def test_lists_of_names() -> None:
    assert formats.and_list(["A"]) == "A"
    assert formats.and_list(["A", "B"]) == "A and B"
    assert formats.and_list(["A", "B", "C", "D", "E"]) == "A, B and 3 more"


@given(st.binary(min_size=20, max_size=20))
def test_an_address_has_one_face(raw: bytes) -> None:
    address = "0x" + raw.hex()
    assert formats.gradient(address) == formats.gradient(address.upper().replace("0X", "0x"))


@pytest.mark.parametrize(
    ("user_agent", "text"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "HeadlessChrome/130.0.0.0 Safari/537.36",
            "Chrome on Linux",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox on Linux",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "Unknown program"),
    ],
)
def test_browsers_by_name(user_agent: str, text: str) -> None:
    assert formats.browser(user_agent) == text
