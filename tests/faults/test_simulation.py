"""Seeded faults: whatever happens, the tables are those of a clean replay.

`manage.py simulate_faults --seeds 50` runs more and longer ones.
"""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.redis import Redis
from bcfl_site.fault_projection import Silent
from bcfl_site.fault_simulation import Simulation
from chain import lines
from sessions_app.models import Participant, Task, TokenBalance
from tests.chain.conftest import Chain, on_chain


@pytest.fixture
def fresh_chain(fresh_anvil: Anvil, redis_server: Redis, transactional_db: None) -> Chain:
    return on_chain(fresh_anvil)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_faults_leave_the_tables_of_a_clean_replay(fresh_chain: Chain, seed: int) -> None:
    outcome = Simulation(fresh_chain.anvil, fresh_chain.network, fresh_chain.deployer, seed).run(20)
    assert outcome.differences == [], f"seed {seed}"
    assert outcome.steps == 20
    assert outcome.events > 20


def test_a_process_dies_at_every_labelled_line_and_nothing_is_lost(fresh_chain: Chain) -> None:
    """By SIGKILL, one line after the other, with a reorg before each."""
    simulation = Simulation(fresh_chain.anvil, fresh_chain.network, fresh_chain.deployer, 4)
    with simulation.at_work():
        for label in lines.LABELS:
            simulation.kill(label)
    outcome = simulation.finish()
    assert outcome.differences == []
    killed = {label for label in lines.LABELS if outcome.seen[f"killed at {label}"]}
    assert killed == set(lines.LABELS)


def test_every_label_is_a_line_of_the_program(fresh_chain: Chain) -> None:
    """A step that orphans, writes and sends comes by every label there is."""
    seen: list[str] = []
    simulation = Simulation(fresh_chain.anvil, fresh_chain.network, fresh_chain.deployer, 1)
    simulation.faulty = fresh_chain.client
    simulation.follower = fresh_chain.follower(Silent())  # type: ignore[arg-type]
    lines.watch(seen.append)
    try:
        simulation._ask()
        simulation._send_queue()
        simulation.follower.sync_to_head()
        fresh_chain.anvil.rpc("anvil_reorg", 1, [])
        simulation.follower.sync_to_head()
    finally:
        lines.watch(None)
    assert set(seen) == set(lines.LABELS)


def test_reconcile_finds_nothing_and_then_what_was_changed(fresh_chain: Chain) -> None:
    simulation = Simulation(fresh_chain.anvil, fresh_chain.network, fresh_chain.deployer, 3)
    for _ in range(40):
        simulation.moves.one()
    fresh_chain.follower(Silent()).sync_to_head()  # type: ignore[arg-type]
    assert Task.objects.exists()
    assert Participant.objects.exists()
    call_command("reconcile", "--json", stdout=(out := StringIO()))
    clean = json.loads(out.getvalue())
    assert (clean["rows_different"], clean["wei_different"]) == (0, 0)
    assert clean["compared"]["balance (wei)"] > 5
    assert clean["compared"]["stakes (wei)"] == Task.objects.count()

    balance = TokenBalance.objects.order_by("pk").first()
    assert balance is not None
    TokenBalance.objects.filter(pk=balance.pk).update(balance=balance.balance + 5)
    Task.objects.update(phase=Task.Phase.NONE)
    out = StringIO()
    with pytest.raises(CommandError, match="values differ"):
        call_command("reconcile", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert report["wei_different"] == 10  # the balance, and so the supply
    kinds = {entry["what"] for entry in report["differences"]}
    assert kinds == {"balance (wei)", "supply (wei)", "phase"}
    call_command("rebuild_projection", stdout=StringIO())
    call_command("reconcile", stdout=StringIO())
