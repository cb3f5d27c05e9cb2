"""Amounts, hashes and times as people read them. Pure: whole numbers in, text out.

Amounts are divided as integers, never as floats, so 0.1 FLT reads 0.1 and the last wei is kept.
A number and its unit are joined by a no-break space; thousands are parted by commas.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

TOKEN_DECIMALS = 18
NBSP = "\u00a0"
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def short_hash(value: str, head: int = 4, tail: int = 4) -> str:
    """``0x8f21…c04e`` of a hash or an address; shorter text stays as it is."""
    if len(value) <= 2 + head + tail + 1:
        return value
    return f"{value[: 2 + head]}…{value[-tail:]}"


def number(value: float | int | None, digits: int = 0) -> str:
    """``18,204``; a dash where there is no number yet."""
    return "–" if value is None else f"{value:,.{digits}f}"


def amount(
    wei: int | None,
    digits: int = 4,
    decimals: int = TOKEN_DECIMALS,
    *,
    keep_zeros: bool = False,
) -> str:
    """Wei as a decimal number of whole tokens, cut (never rounded up) after ``digits`` places.

    Trailing zeros go unless ``keep_zeros``. What is smaller than the last place shown but not
    zero reads ``<0.0001``.
    """
    if wei is None:
        return "–"
    sign, wei = ("-", -wei) if wei < 0 else ("", wei)
    whole, rest = divmod(wei, 10**decimals)
    places = f"{rest:0{decimals}d}"[:digits]
    fraction = places if keep_zeros else places.rstrip("0")
    if wei and not whole and not places.strip("0"):
        return f"{sign}<0.{'0' * (digits - 1)}1" if digits else f"{sign}<1"
    return f"{sign}{whole:,}{'.' + fraction if fraction else ''}"


def exact_amount(wei: int, decimals: int = TOKEN_DECIMALS) -> str:
    """All places, no thousands marks: what CSV and input fields take."""
    whole, rest = divmod(abs(wei), 10**decimals)
    fraction = f"{rest:0{decimals}d}".rstrip("0")
    return f"{'-' if wei < 0 else ''}{whole}{'.' + fraction if fraction else ''}"


def ether(wei: int | None) -> str:
    """Gas costs: four significant places, so 0.0000312 does not read as zero."""
    if wei is None:
        return "–"
    if wei == 0:
        return "0"
    text = f"{wei:019d}"
    whole, fraction = text[:-18].lstrip("0") or "0", text[-18:]
    if whole != "0":
        return f"{int(whole):,}.{fraction[:4]}".rstrip("0").rstrip(".")
    first = len(fraction) - len(fraction.lstrip("0"))
    return f"0.{fraction[: first + 4].rstrip('0')}"


@dataclass(frozen=True)
class Scaled:
    """A large number as a figure and its unit (``1.62`` and ``M``)."""

    figure: str
    unit: str


def scaled(value: int | None) -> Scaled:
    """Gas for a headline: 153000 → 153 k, 1620000 → 1.62 M."""
    if value is None:
        return Scaled("–", "")
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if value >= limit:
            divisor = 1000 if unit == "k" else limit
            figure = value / divisor
            return Scaled(f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}", unit)
    return Scaled(f"{value:,}", "")


def percent(ppm: int | None, digits: int = 1) -> str:
    """Parts per million as a percentage without the sign: 914000 → ``91.4``."""
    return "–" if ppm is None else f"{ppm / 10_000:.{digits}f}"


def duration(seconds: float | None) -> str:
    """``0.31 s``, ``14 s``, ``5 min``, ``2 h 10 min``, ``3 d``."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{max(seconds, 0):.2g}{NBSP}s" if seconds >= 0.01 else f"0{NBSP}s"
    whole = round(seconds)
    if whole < 90:
        return f"{whole}{NBSP}s"
    if whole < 3600:
        return f"{round(whole / 60)}{NBSP}min"
    hours, minutes = divmod(round(whole / 60), 60)
    if hours < 48:
        return f"{hours}{NBSP}h" + (f" {minutes}{NBSP}min" if minutes else "")
    return f"{round(hours / 24)}{NBSP}d"


def words(name: str) -> str:
    """A contract's name for people: ``submitAggregate`` → ``submit aggregate``."""
    return _CAMEL.sub(" ", name).lower()


def and_list(names: list[str], most: int = 3) -> str:
    """``A, B and C``; beyond ``most``: ``A, B and 4 more``."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def gradient(address: str) -> tuple[str, str, str]:
    """An identity for the eye: (key, first colour, second colour), the same for ever."""
    digest = hashlib.sha256(address.lower().encode()).digest()
    hue = int.from_bytes(digest[:2]) * 360 // 65536
    turn = 60 + digest[2] * 240 // 256
    light = 46 + digest[3] * 10 // 256
    return (
        digest[:4].hex(),
        f"hsl({hue} 72% {light}%)",
        f"hsl({(hue + turn) % 360} 78% {light + 22}%)",
    )


def count(value: int, noun: str, plural: str = "") -> str:
    """``1 round``, ``5 rounds``."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


# First match counts: every browser also names those it descends from.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser(user_agent: str) -> str:
    """``Firefox on Linux``; what is no browser keeps its own first words."""
    text = user_agent.replace("HeadlessChrome/", "Chrome/")
    name = next((name for mark, name in _BROWSERS if mark in text), "")
    system = next((name for mark, name in _SYSTEMS if mark in text), "")
    if not name:
        return user_agent[:60] or "Unknown program"
    return f"{name} on {system}" if system else name
