"""Seeded runs of everything that may go wrong between chain and database."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bcfl_site.benchmarks.chain_home import chain_home


class Command(BaseCommand):
    help = (
        "Play tasks on a temporary Anvil while blocks are reorganised, processes die, the node "
        "lies and work is done twice; then compare the tables with those of a clean replay. "
        "Touches neither the console's chain nor its database."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="of the first run (default 1)")
        parser.add_argument("--seeds", type=int, default=1, help="how many runs (default 1)")
        parser.add_argument("--steps", type=int, default=60, help="in each run (default 60)")
        parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        failed: list[int] = []
        seen: Counter[str] = Counter()
        runs = []
        for seed in range(options["seed"], options["seed"] + options["seeds"]):
            with chain_home(options["database"]) as home:
                run = home.child(str(seed), str(options["steps"]), module="bcfl_site.fault_child")
            runs.append(run)
            seen.update(run["seen"])
            if run["differences"]:
                failed.append(seed)
            if not options["json"]:
                words = "; ".join(run["differences"]) or "equal to a clean replay"
                self.stdout.write(
                    f"seed {seed}: {run['steps']} steps, {run['blocks']} blocks, {run['events']} "
                    f"logs, {run['sent']} sent: {words}"
                )
                self.stdout.flush()
        if options["json"]:
            report = {"runs": runs, "seen": dict(sorted(seen.items())), "failed": failed}
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self.stdout.write(", ".join(f"{name} {n}" for name, n in sorted(seen.items())))
        if failed:
            raise CommandError(f"{len(failed)} of {len(runs)} seeds differ: {failed}")
