"""The gas budgets of the protocol, held on a real chain."""

from __future__ import annotations

import json
from io import StringIO

from django.core.management import call_command

from bcfl_site.management.commands.gas_report import GAS_TABLE


def test_every_call_is_within_its_budget_and_submission_is_flat() -> None:
    out = StringIO()
    call_command("gas_report", participants=[4, 10, 25], json=True, stdout=out)
    four, ten, twenty_five = json.loads(out.getvalue())
    assert ten["gas"]["round, direct"] <= 450_000
    assert ten["gas"]["round, relayed"] <= 235_000
    for run in (four, ten, twenty_five):
        assert run["over_budget"] == {}
    # A few gas differ by the zero bytes of the hash; nothing grows with the participants.
    costs = [run["gas"]["submitUpdate"] for run in (four, ten, twenty_five)]
    assert max(costs) - min(costs) < 100
    # Quotes are made from the committed table, which must be what is measured today.
    committed = json.loads(GAS_TABLE.read_text())
    for run in (four, ten, twenty_five):
        for name, gas in committed[str(run["participants"])].items():
            assert abs(run["gas"][name] - gas) < 0.02 * gas, name
    # A tenth of the reference design's submission, which grows as well.
    assert ten["reference"]["submitUpdate"] > 6 * ten["gas"]["submitUpdate"]
