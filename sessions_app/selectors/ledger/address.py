"""One address: who it is in our world, what it holds, what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from chain.models import Account
from sessions_app.formats import exact_amount
from sessions_app.models import Participant, Task, TokenBalance, TokenTransfer, User
from sessions_app.selectors.ledger import filters as narrowed
from sessions_app.selectors.ledger.filters import Filters
from sessions_app.selectors.ledger.keyset import LOGS, TRANSACTIONS, page_of
from sessions_app.selectors.ledger.rows import (
    TransactionRow,
    TransferRow,
    names_in_transfers,
    network_id,
    transaction_rows,
    transfer_rows,
)
from sessions_app.selectors.people.people import ZERO_ADDRESS, Party

SHOWN = 20
CHART_TRANSFERS = 500


@dataclass(frozen=True)
class Role:
    """What the address is in a task; ``member`` for a participant."""

    task: Task
    role: str
    member: Participant | None = None


@dataclass(frozen=True)
class BalancePoint:
    time: int  # unix seconds of the block
    block: int
    balance: int  # wei, after the last transfer of that block


@dataclass(frozen=True)
class AddressPage:
    party: Party
    person: str  # who signs in with it
    balance: int | None
    points: Sequence[BalancePoint]
    all_points: bool  # from its first transfer on
    transfers: Sequence[TransferRow]
    more_transfers: bool
    transactions: Sequence[TransactionRow]
    more_transactions: bool
    roles: Sequence[Role]
    more_roles: bool
    known: bool
    supply: bool  # the zero address

    @property
    def chart(self) -> dict[str, Any]:
        """For the browser: times in unix seconds, balances in FLT."""
        return {
            "time": [point.time for point in self.points],
            "block": [point.block for point in self.points],
            "balance": [float(exact_amount(point.balance)) for point in self.points],
        }


def address_page(address: str) -> AddressPage:
    """A constant number of queries. Knows every address: one never seen has an empty page."""
    network = network_id()
    chosen = Filters(address=address, who=address)
    account = Account.objects.filter(address=address).first()
    sources = [s.defer("input") for s in narrowed.transactions(network, chosen)]
    transactions = page_of(sources, TRANSACTIONS, size=SHOWN)
    transfers = page_of(narrowed.transfers(network, chosen), LOGS, size=SHOWN)
    held = TokenBalance.objects.filter(network_id=network, address=address).first()
    points, complete = _points(network, address, held.balance if held else 0)
    roles = _roles(network, address, account)
    users = User.objects.filter(account=account) if account else User.objects.none()
    names = names_in_transfers(transfers.rows, address)
    party = names.party(address)
    return AddressPage(
        party=party,
        person=", ".join(user.get_full_name() or user.get_username() for user in users),
        balance=held.balance if held else None,
        points=points,
        all_points=complete,
        transfers=transfer_rows(transfers.rows, names, of=address),
        more_transfers=bool(transfers.older),
        transactions=transaction_rows(transactions.rows),
        more_transactions=bool(transactions.older),
        roles=roles[:SHOWN],
        more_roles=len(roles) > SHOWN,
        known=bool(party.kind or transfers.rows or transactions.rows or roles),
        supply=address == ZERO_ADDRESS,
    )


def _points(network: int, address: str, balance: int) -> tuple[list[BalancePoint], bool]:
    """The balance after each of the latest transfers, walked back from what it is now."""
    if address == ZERO_ADDRESS:
        return [], True
    moved = TokenTransfer.objects.filter(network_id=network)
    columns = (
        "block_number",
        "log_index",
        "log__block__timestamp",
        "sender",
        "recipient",
        "amount",
    )
    rows: set[tuple[int, int, int, str, str, int]] = set()
    for end in ({"sender": address}, {"recipient": address}):
        latest = moved.filter(**end).order_by(*LOGS.descending)
        rows |= set(latest.values_list(*columns)[: CHART_TRANSFERS + 1])
    newest_first = sorted(rows, reverse=True)
    points: dict[int, BalancePoint] = {}
    for block, _, time, sender, recipient, amount in newest_first[:CHART_TRANSFERS]:
        points.setdefault(block, BalancePoint(time, block, balance))
        balance += (amount if sender == address else 0) - (amount if recipient == address else 0)
    return list(points.values())[::-1], len(newest_first) <= CHART_TRANSFERS


def _roles(network: int, address: str, account: Account | None) -> list[Role]:
    """Operator, evaluator and participant, newest task first; three queries."""
    tasks = Task.objects.filter(network_id=network).defer("config").order_by("-pk")
    operated = tasks.filter(operator_address=address)
    scored = tasks.filter(
        Q(evaluators__icontains=address)
        | (Q(pk__in=account.evaluated_tasks.values("pk")) if account else Q(pk=None))
    )
    joined = (
        Participant.objects.filter(address=address, task__network_id=network)
        .select_related("task")
        .defer("task__config")
        .order_by("-task_id")
    )
    roles = [Role(task, "operator") for task in operated[: SHOWN + 1]]
    roles += [Role(task, "evaluator") for task in scored[: SHOWN + 1]]
    roles += [Role(m.task, "participant", m) for m in joined[: SHOWN + 1]]
    return sorted(roles, key=lambda role: -role.task.pk)
