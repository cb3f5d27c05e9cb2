"""What a task will cost, from the committed gas measurements."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings

from chain.models import Transaction

# The approval of the pool, as OpenZeppelin's ERC-20 writes a fresh allowance.
APPROVE_GAS = 46_400
START_GAS = 60_000


@dataclass(frozen=True)
class GasTable:
    """Gas units by call; ``price`` in wei per gas, of the newest transaction (None: none yet)."""

    fixed: int  # approve, createTask, start
    join: int  # per participant
    submit: int  # per participant and round
    evaluate: int  # per round: scores and aggregate
    price: int | None

    def total(self, *, participants: int, rounds: int) -> int:
        per_round = participants * self.submit + self.evaluate
        return self.fixed + participants * self.join + rounds * per_round

    def fee(self, *, participants: int, rounds: int) -> int | None:
        """Wei, at the newest price."""
        if self.price is None:
            return None
        return self.price * self.total(participants=participants, rounds=rounds)


@lru_cache(maxsize=1)
def _measured() -> dict[str, int]:
    path = settings.BASE_DIR / "contracts" / "snapshots" / "FLCoordinator.json"
    figures: dict[str, Any] = json.loads(path.read_text())
    return {name: int(value) for name, value in figures.items()}


def gas_table() -> GasTable:
    """One query, for the price."""
    measured = _measured()
    price = (
        Transaction.objects.order_by("-block_number", "-index")
        .values_list("effective_gas_price", flat=True)
        .first()
    )
    return GasTable(
        fixed=APPROVE_GAS + measured["createTask"] + START_GAS,
        join=measured["join"],
        submit=measured["submitUpdate, 10 participants"],
        evaluate=measured["submitScores, first round of 10"]
        + measured["submitAggregate, first round of 10"],
        price=price,
    )
