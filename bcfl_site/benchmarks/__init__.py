"""`manage.py benchmark <name>`: one module per benchmark.

A module has HELP (a sentence), `add_arguments(parser)`, `run(options) -> dict` (JSON types, what
was measured) and `table(report) -> str` (the same for people). Heavy imports belong into `run`:
the command line imports every module for its arguments. Compare ratios of one run only.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

NAMES = (
    "training",
    "aggregate",
    "attacks",
    "mnist",
    "ledger",
    "sync",
    "send",
    "live",
    "viewers",
    "overhead",
    "predict",
)


class Benchmark(Protocol):
    HELP: str

    def add_arguments(self, parser: ArgumentParser) -> None: ...
    def run(self, options: dict[str, Any]) -> dict[str, Any]: ...
    def table(self, report: dict[str, Any]) -> str: ...


def benchmark(name: str) -> Benchmark:
    return cast(Benchmark, import_module(f"bcfl_site.benchmarks.{name}"))


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A text table, the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others]).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def numbers(text: str) -> list[int]:
    """ "10,100,1e3" as whole numbers, for arguments."""
    return [int(float(part)) for part in text.split(",")]
