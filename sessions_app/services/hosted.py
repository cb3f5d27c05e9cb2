"""The accounts that a development chain holds for people: hosted participants and evaluators."""

from __future__ import annotations

from chain.accounts import account_derive
from chain.models import Account
from sessions_app.errors import InvalidTask

# Hosted participants are derived from the development mnemonic from this index on: those below
# are the treasury, the operator, the evaluators and the first ones to sign in.
FIRST_SEAT_INDEX = 20


SEAT_NAMES = (
    "Eastfield",
    "Harbour",
    "Southbank",
    "Northgate",
    "Riverside",
    "Westmere",
    "Hillcrest",
    "Lakeview",
    "Oakwood",
    "Stonebridge",
)


def seat_name(slot: int) -> str:
    """The display name of the hosted participant in a slot: 0 is Eastfield."""
    name = SEAT_NAMES[slot % len(SEAT_NAMES)]
    return name if slot < len(SEAT_NAMES) else f"{name} {slot // len(SEAT_NAMES) + 1}"


def seat_account(slot: int) -> Account:
    """The hosted account that trains on slice `slot`; the same one in every task."""
    return account_derive(label=seat_name(slot), kind="participant", index=FIRST_SEAT_INDEX + slot)


def default_evaluators(count: int = 1) -> list[Account]:
    """The hosted evaluators that score when a task names none."""
    evaluators = list(Account.objects.filter(kind="evaluator").order_by("pk")[:count])
    if len(evaluators) < count:
        raise InvalidTask(
            f"{count} evaluators are needed to score the updates, {len(evaluators)} exist. Run "
            "manage.py seed_demo on a development chain, or add evaluators.",
            field="evaluators",
        )
    return evaluators
