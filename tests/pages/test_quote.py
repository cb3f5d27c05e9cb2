"""A quote against the transactions of a whole task on a real chain."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import pytest

from bcfl_site.embedded.anvil import Anvil
from chain.client import ChainClient
from chain.gas import ROUNDS, ProtocolDriver
from sessions_app.models import NetworkPrice, User
from sessions_app.selectors.wizard.quote import (
    Quote,
    QuoteTerms,
    current_price,
    price_rows,
    quote,
    task_quote,
)
from tests import factories

FLT = factories.FLT
GWEI = factories.GWEI


def terms(**changes: int) -> QuoteTerms:
    return dataclasses.replace(
        QuoteTerms(participants=6, rounds=ROUNDS, pool=1_000 * FLT, stake=10 * FLT), **changes
    )


def by_function(made: Quote) -> dict[str, int]:
    return {line.function: line.gas for line in made.lines if line.function != "approve"}


def test_a_quote_is_what_a_task_of_six_then_costs() -> None:
    """Six were never measured for the table: the quote lies on the line between 4 and 10."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Anvil(log_path=Path(folder) / "anvil.log", history=None) as anvil,
    ):
        client = ChainClient(anvil.rpc_url)
        run = ProtocolDriver(client).run(6)
        client.close()
    made = quote(terms(), gas_price=GWEI)
    quoted = by_function(made)
    calls = run.calls
    real = {
        "createTask": calls["createTask"][1],
        "start": calls["start"][0],
        "submitUpdate": ROUNDS * sum(calls["submitUpdate"][6:12]),
        "submitScores": sum(calls["submitScores"]),
        "submitAggregate": sum(calls["submitAggregate"]),
        "returnStake": sum(calls["returnStake"]),
    }
    for function, gas in real.items():
        assert abs(quoted[function] - gas) < 0.03 * gas, (function, quoted[function], gas)
    relayed = sum(calls["submitUpdatesBySig"])
    assert abs(made.relayed.gas - ROUNDS * relayed) < 0.03 * ROUNDS * relayed


def test_the_parties_add_up_and_relaying_moves_the_updates_to_the_operator() -> None:
    made = quote(terms(participants=10, evaluators=3, quorum=2), gas_price=12 * GWEI)
    parties = ("operator", "participant", "evaluator")
    assert sum(made.gas_of(party) for party in parties) == made.gas
    assert made.total_fee == made.gas * 12 * GWEI
    assert made.gas_relayed < made.gas
    assert made.gas_of("operator", relayed=True) > made.gas_of("operator")
    assert made.gas_of("participant", relayed=True) < made.gas_of("participant")
    assert made.gas_of("evaluator", relayed=True) == made.gas_of("evaluator")
    one = quote(terms(participants=10), gas_price=12 * GWEI)
    assert made.gas_of("evaluator") > 3 * one.gas_of("evaluator") * 0.8


def test_without_a_stake_nobody_approves_or_returns_one() -> None:
    made = quote(terms(stake=0), gas_price=None)
    calls = {(line.party, line.function) for line in made.lines}
    assert ("participant", "approve") not in calls
    assert ("participant", "returnStake") not in calls
    assert made.total_fee is None


@pytest.mark.parametrize("participants", [1, 2, 4, 7, 100, 1000])
def test_any_number_of_participants_has_a_quote(participants: int) -> None:
    small = quote(terms(participants=participants), gas_price=1)
    large = quote(terms(participants=participants + 1), gas_price=1)
    assert 0 < small.gas < large.gas
    assert small.relayed.gas > 0


def test_a_quote_survives_being_stored() -> None:
    made = quote(terms(participants=3), gas_price=12 * GWEI)
    assert Quote.from_json(made.as_json()) == made


def test_a_saved_task_carries_its_quote(operator: User) -> None:
    from sessions_app.services import tasks as task_services
    from training.specs import TaskConfig

    factories.account("Evaluator 1", "evaluator")
    factories.running_task(operator, rounds=1)
    task = task_services.task_create(
        owner=operator, title="Quoted", config=TaskConfig(participants=4, rounds=7), pool=70 * FLT
    )
    task.refresh_from_db()
    stored = task_quote(task)
    assert stored is not None
    assert stored.terms == QuoteTerms(participants=4, rounds=7, pool=70 * FLT, stake=0)
    assert stored.gas_price == current_price() == 12 * GWEI


def test_remembered_prices_stand_beside_this_chain(operator: User) -> None:
    NetworkPrice.objects.create(user=operator, name="Mainnet", gas_price=30 * GWEI, coin_price=2000)
    NetworkPrice.objects.create(user=operator, name="A rollup", gas_price=GWEI // 100)
    made = quote(terms(), gas_price=2 * GWEI)
    here, rollup, mainnet = price_rows(made, operator)
    assert (here.pk, here.fee, here.money) == (None, made.gas * 2 * GWEI, None)
    assert (rollup.name, rollup.money) == ("A rollup", None)
    assert mainnet.fee == made.gas * 30 * GWEI
    assert mainnet.money == pytest.approx(made.gas * 30e-9 * 2000)
