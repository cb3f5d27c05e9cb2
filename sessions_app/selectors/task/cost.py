"""What a task has cost so far, call by call, beside what the quote said it would. No queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sessions_app.selectors.task.data import TaskData
from sessions_app.selectors.wizard.quote import Quote

# Claims, stakes that come back and repairs are sent by whoever wants them: the quote has no number
# of them. Grants of tokens to hosted participants exist on a development chain only.
ORDER = ("approve", "createTask", "start", "join", "submitUpdate", "submitUpdatesBySig",
         "submitScores", "submitAggregate", "claim")  # fmt: skip


@dataclass(frozen=True)
class CostRow:
    """One kind of call. Gas in units, fees in wei; ``quoted`` None: not part of the quote."""

    function: str
    count: int
    quoted_count: int | None
    gas: int
    quoted_gas: int | None
    fee: int

    @property
    def mean(self) -> int | None:
        return round(self.gas / self.count) if self.count else None

    @property
    def share(self) -> float | None:
        """Of the quoted gas, 0 to 1 and beyond."""
        return self.gas / self.quoted_gas if self.quoted_gas else None


@dataclass(frozen=True)
class Cost:
    """``quoted_*`` None without a quote (a task of another client)."""

    rows: Sequence[CostRow]
    gas: int
    fee: int
    quoted_gas: int | None
    quoted_fee: int | None
    quoted_price: int | None  # wei per gas
    made_at: str

    @property
    def share(self) -> float | None:
        return self.gas / self.quoted_gas if self.quoted_gas else None

    @property
    def percent(self) -> int:
        """Of the quoted gas, 0 to 100: the length of the bar."""
        return min(round(100 * self.share), 100) if self.share is not None else 0

    @property
    def outside_quote(self) -> int:
        """Gas of calls that the quote has no number of."""
        return sum(row.gas for row in self.rows if row.quoted_gas is None)


def task_cost(data: TaskData) -> Cost:
    quote = Quote.from_json(data.task.quote) if data.task.quote else None
    quoted: dict[str, tuple[int, int]] = {}
    for line in quote.lines if quote else ():
        count, gas = quoted.get(line.function, (0, 0))
        quoted[line.function] = (count + line.count, gas + line.gas)
    used = {call.function: call for call in data.calls}
    names = sorted({*quoted, *used}, key=lambda name: (_place(name), name))
    rows = []
    for name in names:
        call = used.get(name)
        rows.append(
            CostRow(
                function=name,
                count=call.count if call else 0,
                quoted_count=quoted[name][0] if name in quoted else None,
                gas=call.gas if call else 0,
                quoted_gas=quoted[name][1] if name in quoted else None,
                fee=call.fee if call else 0,
            )
        )
    return Cost(
        rows=rows,
        gas=sum(row.gas for row in rows),
        fee=sum(row.fee for row in rows),
        quoted_gas=quote.gas if quote else None,
        quoted_fee=quote.total_fee if quote else None,
        quoted_price=quote.gas_price if quote else None,
        made_at=quote.made_at if quote else "",
    )


def _place(function: str) -> int:
    return ORDER.index(function) if function in ORDER else len(ORDER)
