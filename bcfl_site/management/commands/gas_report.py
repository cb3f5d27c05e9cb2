"""Gas of every call, measured on an Anvil of its own."""

from __future__ import annotations

import json
import tempfile
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from bcfl_site.embedded.anvil import Anvil
from chain.artifacts import revert_decoder
from chain.client import ChainClient
from chain.gas import BUDGETS, BUDGETS_AT_TEN, REFERENCE, GasRun, ProtocolDriver, over_budget

GAS_TABLE = settings.BASE_DIR / "contracts" / "snapshots" / "gas_report.json"


def counts(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"{text} is not like 4,10,25,100") from None
    if not all(2 <= number <= 1_000 for number in numbers):
        raise ArgumentTypeError(f"{text}: participants go from 2 to 1000")
    return numbers


class Command(BaseCommand):
    help = (
        "Run a whole task for each number of participants on a temporary Anvil and print what "
        "every call cost, beside the budgets and the reference design."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--participants", type=counts, default=[4, 10, 25, 100])
        parser.add_argument("--json", action="store_true")
        parser.add_argument(
            "--write",
            action="store_true",
            help=f"Write the figures to {GAS_TABLE.relative_to(settings.BASE_DIR)}, from which "
            "quotes are made.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        runs = measure(options["participants"])
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(run) for run in runs], indent=2))
        else:
            self._table(runs)
        if options["write"]:
            table = {str(run.participants): run.figures() for run in runs}
            GAS_TABLE.write_text(json.dumps(table, indent=2) + "\n")
        worst = {name for run in runs for name in over_budget(run)}
        if worst:
            self.stderr.write(self.style.ERROR(f"over budget: {', '.join(sorted(worst))}"))

    def _table(self, runs: list[GasRun]) -> None:
        head = "".join(f"{run.participants:>12,}" for run in runs)
        self.stdout.write(f"{'participants':<34}{head}{'budget':>12}")
        figures = [run.figures() for run in runs]
        for name in figures[0]:
            row = "".join(f"{one[name]:>12,}" for one in figures)
            limit = f"{BUDGETS[name]:>12,}" if name in BUDGETS else ""
            note = " (at 10)" if name in BUDGETS_AT_TEN else ""
            self.stdout.write(f"{name:<34}{row}{limit}{note}")
        for name, known in REFERENCE.items():
            row = "".join(f"{known.get(run.participants) or '':>12}" for run in runs)
            self.stdout.write(f"{'reference: ' + name:<34}{row}")


def measure(participants: list[int]) -> list[GasRun]:
    runs = []
    for number in participants:
        with (
            tempfile.TemporaryDirectory(prefix="bcfl-gas-") as folder,
            Anvil(log_path=Path(folder) / "anvil.log", history=None) as anvil,
        ):
            client = ChainClient(anvil.rpc_url, reverts=revert_decoder())
            runs.append(ProtocolDriver(client).run(number))
            client.close()
    return runs


def _as_json(run: GasRun) -> dict[str, Any]:
    figures = run.figures()
    return {
        "participants": run.participants,
        "gas": figures,
        "budgets": {
            name: limit
            for name, limit in BUDGETS.items()
            if name not in BUDGETS_AT_TEN or run.participants == 10
        },
        "over_budget": {name: list(pair) for name, pair in over_budget(run).items()},
        "reference": {
            name: known[run.participants]
            for name, known in REFERENCE.items()
            if run.participants in known
        },
        "calls": run.calls,
    }
