"""The contracts' own tests, their gas, and how much of the sources they reach."""

from __future__ import annotations

import json
import re

from .conftest import ROOT, Forge

SNAPSHOT = ROOT / "contracts" / "snapshots" / "FLCoordinator.json"

# DESIGN section 3, gas of whole transactions.
BUDGETS = {
    "createTask": 230_000,
    "join": 80_000,
    "submitUpdate, 10 participants": 33_000,
    "submitUpdatesBySig of 10": 110_000,
    "claim, repeated": 60_000,
}


def test_unit_fuzz_and_invariant_tests_pass_and_gas_is_as_committed(forge: Forge) -> None:
    done = forge("test")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"invariant_money_and_membership\(\) \(runs: 256, calls: 16384", done.stdout)
    passed = re.search(r"(\d+) tests passed, 0 failed, 0 skipped", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 100


def test_committed_gas_is_within_every_budget() -> None:
    gas = {name: int(value) for name, value in json.loads(SNAPSHOT.read_text()).items()}
    for name, budget in BUDGETS.items():
        assert gas[name] <= budget, f"{name}: {gas[name]} is more than {budget}"
    flat = {gas[f"submitUpdate, {n} participants"] for n in (4, 10, 25, 100, 1000)}
    assert max(flat) - min(flat) <= 50
    for which in ("first", "later"):
        evaluation = (
            gas[f"submitScores, {which} round of 10"] + gas[f"submitAggregate, {which} round of 10"]
        )
        assert evaluation <= 130_000
        assert 10 * gas["submitUpdate, 10 participants"] + evaluation <= 450_000
        assert gas["submitUpdatesBySig of 10"] + evaluation <= 235_000


def test_unit_and_fuzz_tests_alone_reach_the_sources(forge: Forge) -> None:
    """At least 95 % of the lines and of the branches of contracts/src."""
    done = forge("coverage", "--no-match-contract", "Gas|Invariant", "--report", "summary")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    rows = re.findall(
        r"\| contracts/src/(\w+)\.sol .*?\((\d+)/(\d+)\).*?\(\d+/\d+\).*?\((\d+)/(\d+)\)",
        done.stdout,
    )
    assert {row[0] for row in rows} == {
        path.stem for path in (ROOT / "contracts/src").glob("*.sol")
    }
    lines = sum(int(row[1]) for row in rows) / sum(int(row[2]) for row in rows)
    branches = sum(int(row[3]) for row in rows) / sum(int(row[4]) for row in rows)
    assert lines >= 0.95, f"{lines:.1%} of lines"
    assert branches >= 0.95, f"{branches:.1%} of branches"
