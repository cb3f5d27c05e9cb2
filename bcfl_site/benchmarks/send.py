"""How fast submissions are confirmed, beside web3's send-and-wait."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from bcfl_site.benchmarks import columns

HELP = "Submissions a second, relayed through the outbox, beside web3's send-and-wait."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--submissions", type=int, default=100)
    parser.add_argument("--batch", type=int, default=50, help="signatures in one transaction")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")


def run(options: dict[str, Any]) -> dict[str, Any]:
    """Both from nothing signed; ours until the updates are in the database."""
    from bcfl_site.benchmarks.chain_home import chain_home

    with chain_home(options["database"]) as home:
        found = home.child("send", str(options["submissions"]), str(options["batch"]))
    ours, plain = found["relayed_seconds"], found["plain_seconds"]
    return {
        "submissions": found["members"],
        "batch": options["batch"],
        "relayed_seconds": round(ours, 3),
        "relayed_per_second": round(found["members"] / ours, 1),
        "plain_seconds": round(plain, 3),
        "plain_per_second": round(found["members"] / plain, 1),
        "ratio": round(plain / ours, 1),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }


def table(report: dict[str, Any]) -> str:
    rows = [
        [name, f"{report[f'{key}_seconds']:.2f}", f"{report[f'{key}_per_second']:,.0f}"]
        for name, key in (("relayed, to the database", "relayed"), ("web3 send-and-wait", "plain"))
    ]
    head = f"{report['submissions']} submissions; {report['ratio']} times the plain way\n\n"
    return head + columns(["", "seconds", "per second"], rows)
