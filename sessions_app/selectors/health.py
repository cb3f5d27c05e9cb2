"""Whether the console is well: each part with a state word, its figures, and the next step."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.template.defaultfilters import filesizeformat
from redis import Redis
from redis.exceptions import RedisError

from chain.models import OutgoingStatus, OutgoingTransaction
from sessions_app.formats import words
from sessions_app.models import TrainingRun, WebhookDelivery
from sessions_app.selectors.chrome import chain_status

LAG = 5  # blocks behind the head, from which on it is worth a word
DISK_LOW = 2 * 1024**3  # bytes
QUEUE_LONG = 200  # tasks
REDIS_WAITS = 0.5  # seconds
ERRORS_SHOWN = 8


@dataclass(frozen=True)
class Check:
    """``tone``: ok, wait or bad. ``next_step`` is empty when all is well."""

    name: str
    word: str
    tone: str
    figures: str
    next_step: str = ""


@dataclass(frozen=True)
class Trouble:
    what: str
    cause: str
    at: datetime | None
    url: str = ""


@dataclass(frozen=True)
class Health:
    checks: Sequence[Check]
    errors: Sequence[Trouble]

    @property
    def sentence(self) -> str:
        bad = [check.name for check in self.checks if check.tone == "bad"]
        if bad:
            return f"Needs a hand: {', '.join(bad)}."
        slow = [check.name for check in self.checks if check.tone == "wait"]
        return f"Works; keep an eye on: {', '.join(slow)}." if slow else "All is well."


CHECK_COLUMNS = ("part", "state", "tone", "figures", "next_step")


def check_records(checks: Sequence[Check]) -> list[dict[str, str]]:
    return [
        {
            "part": check.name,
            "state": check.word,
            "tone": check.tone,
            "figures": check.figures,
            "next_step": check.next_step,
        }
        for check in checks
    ]


def health() -> Health:
    """Five queries, and two questions to Redis."""
    checks = [*_chain(), _outbox(), *_redis(), _database(), _disk()]
    return Health(checks, _errors())


def _chain() -> list[Check]:
    chain = chain_status()
    figures = f"block {chain.block:,} of {chain.head:,}" if chain.block >= 0 else "no block read"
    tone = "bad" if not chain.ok else "wait" if chain.lag > LAG else "ok"
    step = chain.message
    if tone == "wait":
        step = "The follower catches up by itself; when the gap grows, the node answers slowly."
    first = Check("Chain", chain.label, "ok" if chain.ok else "bad", chain.network_label, "")
    return [first, Check("Follower", f"{chain.lag:,} behind", tone, figures, step)]


def _outbox() -> Check:
    rows = OutgoingTransaction.objects.filter(
        status__in=(OutgoingStatus.QUEUED, OutgoingStatus.SENT)
    )
    waiting = rows.count()
    tone = "wait" if waiting > QUEUE_LONG else "ok"
    step = "Is the control worker running? See Workers." if tone == "wait" else ""
    return Check("Outbox", "Sending" if waiting else "Empty", tone, f"{waiting:,} waiting", step)


def _redis() -> list[Check]:
    client = Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_WAITS, socket_connect_timeout=REDIS_WAITS
    )
    try:
        begun = time.perf_counter()
        lengths = {name: client.llen(name) for name in ("control", "training")}
        spent = (time.perf_counter() - begun) * 1000
        memory = client.info("memory")["used_memory"]
    except (RedisError, OSError) as error:
        step = "Start Redis (make up does), or look at REDIS_URL."
        return [
            Check("Redis", "Away", "bad", str(error)[:120], step),
            Check("Queues", "Unknown", "bad", "Redis holds them", step),
        ]
    finally:
        client.close()
    depth = sum(int(length) for length in lengths.values())
    tone = "wait" if depth > QUEUE_LONG else "ok"
    return [
        Check("Redis", "Answers", "ok", f"in {spent:.1f} ms, {filesizeformat(memory)} used"),
        Check(
            "Queues",
            "Long" if tone == "wait" else "Short",
            tone,
            ", ".join(f"{name} {length}" for name, length in lengths.items()),
            "Start another worker." if tone == "wait" else "",
        ),
    ]


def _database() -> Check:
    begun = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    spent = (time.perf_counter() - begun) * 1000
    figures = f"{connection.vendor}, in {spent:.1f} ms"
    if connection.vendor == "sqlite":
        path = Path(str(connection.settings_dict["NAME"]))
        if path.exists():
            figures += f", {filesizeformat(path.stat().st_size)}"
    return Check("Database", "Answers", "ok", figures)


def _disk() -> Check:
    home = Path(settings.BCFL_HOME)
    disk = shutil.disk_usage(home if home.exists() else home.parent)
    count, size = _blobs(Path(settings.BLOB_ROOT), int(time.time() // 60))
    low = disk.free < DISK_LOW
    figures = (
        f"{filesizeformat(disk.free)} of {filesizeformat(disk.total)} free; "
        f"models {filesizeformat(size)} in {count:,} files"
    )
    step = "Make room in BCFL_HOME, or move BLOB_ROOT to a larger disk." if low else ""
    return Check("Disk", "Nearly full" if low else "Room", "bad" if low else "ok", figures, step)


@lru_cache(maxsize=1)
def _blobs(root: Path, minute: int) -> tuple[int, int]:
    """(files, bytes) of the model store, walked at most once a minute: there may be many."""
    count = size = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(FileNotFoundError):  # a file that was written aside and renamed
                size += os.stat(os.path.join(folder, name)).st_size
                count += 1
    return count, size


def _errors() -> list[Trouble]:
    """The newest of each kind, newest first. Three queries."""
    calls = OutgoingTransaction.objects.filter(status=OutgoingStatus.FAILED)
    found = [
        Trouble(f"{words(r.function).capitalize()} by {r.account.label}", r.error, r.queued_at)
        for r in calls.select_related("account").order_by("-pk")[:ERRORS_SHOWN]
    ]
    runs = TrainingRun.objects.filter(status=TrainingRun.Status.FAILED)
    found += [
        Trouble(
            f"Training of {r.seat.account.label}, round {r.round_number}", r.error, r.finished_at
        )
        for r in runs.select_related("seat__account").order_by("-pk")[:ERRORS_SHOWN]
    ]
    sent = WebhookDelivery.objects.filter(status=WebhookDelivery.Status.FAILED)
    found += [
        Trouble(f"Webhook to {r.webhook.url}", r.error, r.finished_at)
        for r in sent.select_related("webhook").order_by("-pk")[:ERRORS_SHOWN]
    ]
    dated = [trouble for trouble in found if trouble.at is not None]
    return sorted(dated, key=lambda t: t.at or datetime.min, reverse=True)[:ERRORS_SHOWN]
