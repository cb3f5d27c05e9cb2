"""Pages of a list by the place of their rows on the chain.

A page starts behind the last row of the one before, found by an index: as quick on the last page
as on the first, and rows that arrive meanwhile move nothing. No OFFSET, no COUNT of everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet

from sessions_app.errors import BcflError

RowT = TypeVar("RowT", bound=Model)
PAGE = 50
NEW_AT_MOST = 100  # rows counted for "n new"
CHUNK = 1_000  # rows in one query of an export


class BadQuery(BcflError):
    """A filter or a cursor in the address that means nothing; the text is for people."""


@dataclass(frozen=True)
class Order:
    """Two columns that together are unique, newest (largest) first."""

    first: str
    second: str

    def of(self, row: Any) -> tuple[Any, Any]:
        return getattr(row, self.first), getattr(row, self.second)

    @property
    def descending(self) -> tuple[str, str]:
        return f"-{self.first}", f"-{self.second}"

    def below(self, cursor: tuple[Any, Any]) -> Q:
        """(first, second) < cursor, written so that an index on first bounds the scan."""
        first, second = cursor
        return Q(**{f"{self.first}__lte": first}) & (
            Q(**{f"{self.first}__lt": first}) | Q(**{f"{self.second}__lt": second})
        )

    def above(self, cursor: tuple[Any, Any]) -> Q:
        first, second = cursor
        return Q(**{f"{self.first}__gte": first}) & (
            Q(**{f"{self.first}__gt": first}) | Q(**{f"{self.second}__gt": second})
        )


TRANSACTIONS = Order("block_number", "index")
LOGS = Order("block_number", "log_index")
BLOCKS = Order("number", "id")
HOLDERS = Order("balance", "id")
OUTGOING = Order("network_id", "id")  # of one network, so by id


@dataclass(frozen=True)
class Slice(Generic[RowT]):
    """One page. Cursors are texts for the address; empty where there is nothing that way."""

    rows: Sequence[RowT] = field(default_factory=list)
    newer: str = ""
    older: str = ""
    newest: str = ""  # of the first row: what "n new" is counted from


def write_cursor(order: Order, row: Any) -> str:
    first, second = order.of(row)
    return f"{first}.{second}"


def read_cursor(text: str) -> tuple[int, int] | None:
    """None for an empty text. Raises BadQuery."""
    if not text:
        return None
    first, _, second = text.partition(".")
    if not (_is_number(first) and _is_number(second)):
        raise BadQuery(f"“{text[:40]}” is no place in this list. Start again from its first page.")
    return int(first), int(second)


def page_of(
    sources: Sequence[QuerySet[RowT]],
    order: Order,
    *,
    before: str = "",
    after: str = "",
    size: int = PAGE,
) -> Slice[RowT]:
    """The union of `sources` on one page: older than `before`, newer than `after`, or the newest.

    One query for each source, each along its own index; a row in two of them comes once.
    Raises BadQuery.
    """
    low, high = read_cursor(after), read_cursor(before)
    if low is not None:
        rows = _merged(
            [s.filter(order.above(low)).order_by(order.first, order.second) for s in sources],
            order,
            size + 1,
            newest_first=False,
        )
        more, rows = len(rows) > size, rows[:size][::-1]
        return Slice(
            rows,
            newer=write_cursor(order, rows[0]) if more else "",
            older=write_cursor(order, rows[-1]) if rows else "",
            newest=write_cursor(order, rows[0]) if rows else after,
        )
    if high is not None:
        sources = [s.filter(order.below(high)) for s in sources]
    rows = _merged([s.order_by(*order.descending) for s in sources], order, size + 1)
    more, rows = len(rows) > size, rows[:size]
    return Slice(
        rows,
        newer=write_cursor(order, rows[0]) if rows and high is not None else "",
        older=write_cursor(order, rows[-1]) if more else "",
        newest=write_cursor(order, rows[0]) if rows else "",
    )


def count_new(sources: Sequence[QuerySet[RowT]], order: Order, after: str) -> int:
    """Rows newer than the cursor `after`, at most NEW_AT_MOST. Raises BadQuery."""
    low = read_cursor(after)
    if low is not None:
        sources = [s.filter(order.above(low)) for s in sources]
    ordered = [s.order_by(order.first, order.second).select_related(None) for s in sources]
    return len(_merged(ordered, order, NEW_AT_MOST, newest_first=False))


def every(sources: Sequence[QuerySet[RowT]], order: Order) -> Iterator[list[RowT]]:
    """All rows, newest first, CHUNK at a time, each with a query of its own: a slow reader of an
    export holds neither a transaction nor a server-side cursor open."""
    cursor: tuple[int, int] | None = None
    while True:
        chosen = sources if cursor is None else [s.filter(order.below(cursor)) for s in sources]
        rows = _merged([s.order_by(*order.descending) for s in chosen], order, CHUNK)
        if rows:
            yield rows
        if len(rows) < CHUNK:
            return
        cursor = order.of(rows[-1])


def count_up_to(rows: QuerySet[Any], most: int) -> int:
    """How many, counted no further than `most` + 1."""
    return len(rows.order_by().values_list("pk", flat=True)[: most + 1])


def _merged(
    sources: Sequence[QuerySet[RowT]], order: Order, size: int, *, newest_first: bool = True
) -> list[RowT]:
    found = {row.pk: row for source in sources for row in source[:size]}
    return sorted(found.values(), key=order.of, reverse=newest_first)[:size]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 78
