"""How fast the follower fills an empty database, beside the plain way to do it."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from bcfl_site.benchmarks import columns

HELP = "Events a second from a real Anvil into the database, beside process_log and save()."
WINDOWS = 10
PLAIN_EVENTS = 3_000  # the plain way is as slow at the start as later; minutes are saved


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument(
        "--plain-events", type=int, default=PLAIN_EVENTS, help="how many the plain way is given"
    )


def run(options: dict[str, Any]) -> dict[str, Any]:
    """Rates in events a second, by the clock and by the CPU time of the follower's process."""
    from bcfl_site.benchmarks.chain_home import chain_home

    with chain_home(options["database"]) as home:
        filled = home.child("fill", str(options["events"]))
        ours = home.child("sync")
        plain = home.child("plain", str(min(options["plain_events"], filled["events"])))
    rate = ours["events"] / ours["seconds"]
    plain_rate = plain["events"] / plain["seconds"]
    windows = _windows(ours["marks"])
    return {
        "database": ours["database"],
        "filled": filled,
        "events": ours["events"],
        "seconds": ours["seconds"],
        "events_per_second": round(rate),
        "events_per_cpu_second": round(ours["events"] / ours["cpu_seconds"]),
        "plain_events": plain["events"],
        "plain_events_per_second": round(plain_rate),
        "plain_events_per_cpu_second": round(plain["events"] / plain["cpu_seconds"]),
        "ratio": round(rate / plain_rate, 1),
        "windows": windows,
        "rows": ours["rows"],
        "rounds_whose_rewards_differ": ours["rounds_whose_rewards_differ"],
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }


def table(report: dict[str, Any]) -> str:
    rows = [
        [
            f"{w['events']:,}",
            f"{w['events_per_second']:,}",
            f"{w['events_per_cpu_second']:,}",
            f"{w['memory_mb']:.0f}",
        ]
        for w in report["windows"]
    ]
    head = (
        f"{report['events']:,} events into {report['database']} in {report['seconds']:.1f} s: "
        f"{report['events_per_second']:,}/s, {report['ratio']} times the plain way "
        f"({report['plain_events_per_second']:,}/s); load {report['load_of_the_machine']}"
    )
    return head + "\n\n" + columns(["up to event", "events/s", "per CPU s", "MB"], rows)


def _windows(marks: list[list[float]]) -> list[dict[str, Any]]:
    """About ten stretches of equal size, in order."""
    total = marks[-1][0]
    found = []
    before = [0.0, 0.0, 0.0, 0.0]
    for mark in marks:
        if mark[0] - before[0] >= total / WINDOWS * 0.98 or mark is marks[-1]:
            events, seconds, cpu = (mark[i] - before[i] for i in range(3))
            if events:
                found.append(
                    {
                        "events": int(mark[0]),
                        "events_per_second": round(events / seconds),
                        "events_per_cpu_second": round(events / max(cpu, 1e-9)),
                        "memory_mb": mark[3],
                    }
                )
            before = mark
    return found
