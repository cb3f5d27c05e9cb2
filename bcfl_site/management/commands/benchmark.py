"""Measures a part of the system beside the plain way to do the same."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bcfl_site.benchmarks import NAMES, benchmark
from training.errors import TrainingError


class Command(BaseCommand):
    help = "Measure a part of the system beside the plain way to do the same, in the same run."
    requires_system_checks = []  # it needs neither database nor services

    def add_arguments(self, parser: ArgumentParser) -> None:
        kinds = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
        for name in NAMES:
            module = benchmark(name)
            sub = kinds.add_parser(name, help=module.HELP, description=module.HELP)
            module.add_arguments(sub)
            sub.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        module = benchmark(options["benchmark"])
        try:
            report = module.run(options)
        except TrainingError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(report, indent=2) if options["json"] else module.table(report))
