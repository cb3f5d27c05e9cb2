"""What templates use to write amounts, hashes and people. None runs a query,
except ``can`` where a rule needs one."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sessions_app import access, formats

register = template.Library()

register.filter("browser", formats.browser)
register.filter("short", formats.short_hash)
register.filter("words", formats.words)
register.filter("percent", formats.percent)
register.filter("duration", formats.duration)
register.filter("ether", formats.ether)


@register.filter
def may(user: Any, action: str) -> bool:
    """Whether the role reaches the action: ``{% if user|may:"task.create" %}``."""
    return access.may_ever(user, action)


@register.simple_tag
def can(user: Any, action: str, thing: Any = None) -> bool:
    """``{% can user "task.launch" task as may_launch %}``, before ``{% if may_launch %}``."""
    return access.can(user, action, thing)


@register.filter
def number(value: float | int | None, digits: int = 0) -> str:
    return formats.number(value, digits)


@register.filter
def flt(wei: int | None, digits: int = 2) -> str:
    """Wei of the reward token as FLT, without the unit."""
    return formats.amount(wei, digits)


@register.filter
def flt_cell(wei: int | None) -> str:
    """FLT with two places always, so that a column lines up."""
    return formats.amount(wei, 2, keep_zeros=True)


@register.filter
def share(value: float | None, digits: int = 1) -> str:
    """A share 0 to 1 as a percentage without the sign; "<0.1" for little that is not nothing."""
    text = formats.percent(None if value is None else round(value * 1_000_000), digits)
    return f"<{0.1**digits:.{digits}f}" if value and float(text) == 0 else text


@register.filter
def signed_percent(ppm: int | None) -> str:
    """A change in ppm as percentage points with its sign: ``+0.8``."""
    if ppm is None:
        return "–"
    text = formats.percent(abs(ppm))
    return f"{'−' if ppm < 0 else '+'}{text}" if float(text) else "±0.0"


@register.filter
def dotted(path: str) -> SafeString:
    """``params.rewardMode``, which may go on in the next line after its dot."""
    return format_html_join(SafeString(".<wbr>"), "{}", ([part] for part in path.split(".")))


@register.filter
def half(value: int) -> int:
    """Hex digits as bytes."""
    return value // 2


@register.filter
def gwei(wei: int | None) -> str:
    """A gas price: 12000000000 → ``12``."""
    return formats.amount(wei, 4, 9)


@register.filter
def scaled(value: int | None) -> formats.Scaled:
    return formats.scaled(value)


@register.simple_tag
@lru_cache(maxsize=512)  # a task page has sixty, and their names are few
def icon(name: str, label: str = "") -> SafeString:
    """An icon of the sprite; decoration unless it has a label."""
    href = f"{static('img/icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>', label, href
        )
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', href)


@register.simple_tag
def identicon(address: str, css: str = "") -> SafeString:
    """A deterministic gradient for an address, in SVG attributes (the CSP refuses styles)."""
    key, first, second = formats.gradient(address)
    return format_html(
        '<svg class="identicon {css}" viewBox="0 0 26 26" aria-hidden="true" focusable="false">'
        '<defs><linearGradient id="id-{key}{css}" x1="0" y1="0" x2="1" y2="1">'
        '<stop offset="0" stop-color="{first}"/><stop offset="1" stop-color="{second}"/>'
        '</linearGradient></defs><rect width="26" height="26" fill="url(#id-{key}{css})"/></svg>',
        css=css,
        key=key,
        first=first,
        second=second,
    )


@register.inclusion_tag("components/hash.html")
def hash(value: str, url: str = "", what: str = "hash", full: bool = False) -> dict[str, Any]:
    """A hash or address, short, copyable, and leading somewhere when it has a page."""
    return {"value": value, "url": url, "what": what, "full": full}


@register.inclusion_tag("components/who.html")
def who(party: Any, note: str = "") -> dict[str, Any]:
    """A participant: identicon, name and short address (a selectors.Party)."""
    return {"party": party, "note": note}


@register.inclusion_tag("components/person.html")
def person(party: Any, note: str = "") -> dict[str, Any]:
    """As ``who``, leading to the participant's profile instead of the ledger."""
    return {"party": party, "note": note}


@register.filter
def flt_fixed(wei: int | None, digits: int) -> str:
    """FLT with so many places always, so that a column lines up."""
    return formats.amount(wei, digits, keep_zeros=True)


@register.filter
def wei_exact(wei: int | None) -> str:
    """All of the places of an amount in FLT: ``12.408163265306122448``."""
    return "–" if wei is None else formats.exact_amount(wei)


@register.simple_tag
def ago(moment: datetime | int | float | None) -> SafeString:
    """``12 s ago``, kept current by the page's clock; the exact time is in the title."""
    if moment is None:
        return SafeString("–")
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, tz=UTC)
    seconds = max(0.0, (timezone.now() - moment).total_seconds())
    text = "just now" if seconds < 1 else f"{formats.duration(round(seconds))} ago"
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        moment.isoformat(timespec="seconds"),
        moment.strftime("%d %b %Y %H:%M:%S %Z"),
        text,
    )


@register.filter
def scientific(value: float | None) -> str:
    """A very small number: ``2.1e-07``."""
    return "–" if value is None else f"{value:.1e}"
