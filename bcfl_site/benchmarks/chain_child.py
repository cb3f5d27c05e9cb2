"""The measured half of the chain benchmarks: `python -m bcfl_site.benchmarks.chain_child STEP`.

Prints one line of JSON. Started by `chain_home.ChainHome.child`, which sets the environment.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from bcfl_site.benchmarks.chain_filling import Filler, check_filled  # noqa: E402
from bcfl_site.benchmarks.chain_plain import plain  # noqa: E402
from bcfl_site.benchmarks.chain_sending import send  # noqa: E402
from bcfl_site.benchmarks.chain_silent import Silent  # noqa: E402
from bcfl_site.embedded.anvil import Anvil  # noqa: E402
from chain.artifacts import deployment  # noqa: E402
from chain.memory import collect_seldom  # noqa: E402
from chain.models import Block, Log, Transaction  # noqa: E402
from chain.network import client_current, network_current, network_settings  # noqa: E402
from chain.sync import Follower  # noqa: E402
from sessions_app.models import Round  # noqa: E402


def fill(events: str) -> dict[str, Any]:
    """Deploy and play tasks until at least so many of our events are on the chain."""
    wanted = int(events)
    call_command("migrate", verbosity=0)
    call_command("deploy_contracts", stdout=sys.stderr)
    client, deployed = client_current(), deployment(network_settings()["chain_id"])
    port = int(client.url.rsplit(":", 1)[1])
    anvil = Anvil(
        port=port, log_path=Path("/dev/null")
    )  # not started: only speaks to the running one
    started = time.perf_counter()
    filler = Filler(anvil, client, deployed)
    addresses = sorted(deployed.addresses.values())
    counted, counted_to = 0, 0

    def enough() -> bool:
        nonlocal counted, counted_to
        head = client.head().number
        while counted_to < head:
            last = min(counted_to + 200, head)
            counted += len(client.rpc("eth_getLogs", {
                "fromBlock": hex(counted_to + 1), "toBlock": hex(last), "address": addresses,
            }))  # fmt: skip
            counted_to = last
        return counted >= wanted

    done = filler.fill(enough)
    refused = check_filled(client)[False]
    if refused:
        raise RuntimeError(f"{refused} transactions of the newest block reverted.")
    return {
        "events": counted,
        "transactions": done.transactions,
        "blocks": client.head().number,
        "seconds": round(time.perf_counter() - started, 2),
    }


def sync() -> dict[str, Any]:
    """Follow from nothing to the head; `marks`: [events, seconds, CPU seconds, RSS in MB]."""
    follower = Follower(client_current(), network_current(), Silent())
    collect_seldom()  # as the follower's command does
    marks: list[list[float]] = []
    events = 0
    started, used = time.perf_counter(), time.process_time()
    while True:
        report = follower.sync_once()
        events += report.events
        marks.append(
            [
                events,
                round(time.perf_counter() - started, 4),
                round(time.process_time() - used, 4),
                round(_resident(), 1),
            ]
        )
        if report.caught_up:
            break
    return {
        "events": events,
        "seconds": marks[-1][1],
        "cpu_seconds": marks[-1][2],
        "marks": marks,
        "rows": {
            model.__name__.lower(): model._default_manager.count()
            for model in (Block, Transaction, Log)
        },
        "rounds_whose_rewards_differ": Round.objects.exclude(rewards_match=True).count(),
        "database": connection.vendor,
    }


def _resident() -> float:
    """MB in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


if __name__ == "__main__":
    steps: dict[str, Callable[..., dict[str, Any]]] = {
        "fill": fill,
        "sync": sync,
        "plain": plain,
        "send": send,
    }
    sys.stdout.write(json.dumps(steps[sys.argv[1]](*sys.argv[2:])) + "\n")
