"""News for people: in the page's bell, by mail, and to their webhooks.

Nobody calls this when something happens: every tick reads the events stored since the last one, so
a process that dies loses nothing, and keys make telling twice harmless.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from smtplib import SMTPException
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from chain.models import Network, OutgoingStatus, OutgoingTransaction
from sessions_app import publish
from sessions_app.formats import amount, count, percent, words
from sessions_app.models import (
    Notification,
    OutreachCursor,
    Participant,
    Reward,
    Round,
    Task,
    TaskEvent,
    TrainingRun,
    User,
    Webhook,
    WebhookDelivery,
)

log = structlog.get_logger(__name__)

# Event → (what it is, the ways it reaches a person who has chosen nothing).
EVENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "round.finalized": ("A round of my task is finalized", ()),
    "task.completed": ("A task of mine, or with a seat of mine, is completed", ("app",)),
    "task.cancelled": ("A task of mine, or with a seat of mine, is cancelled", ("app",)),
    "reward.earned": ("I earned a reward", ("app",)),
    "fault": ("Something of my task failed", ("app", "mail")),
}
WAYS = ("app", "mail")
NEWS_AGE = timedelta(hours=1)  # what happened before is history: a backfill tells nobody
MAILED = 2 * NEWS_AGE.total_seconds()  # how long a mail without a row is remembered
BATCH = 500
_OF_CHAIN = {
    "RoundFinalized": "round.finalized",
    "TaskCompleted": "task.completed",
    "TaskCancelled": "task.cancelled",
}


@dataclass(frozen=True)
class News:
    """``key`` tells apart what may be told twice; ``thread`` is what replaces one another."""

    event: str
    key: str
    thread: str
    title: str
    text: str
    task: Task
    at: datetime
    tone: str
    data: dict[str, Any]


def ways_of(user: User, event: str) -> tuple[str, ...]:
    return tuple(user.notify.get(event, EVENTS[event][1]))


def advance() -> int:
    """Tell everybody what has happened since the last time. Returns how many were told."""
    told = sum(_advance_chain(network) for network in Network.objects.all())
    return told + _advance_faults()


def _advance_chain(network: Network) -> int:
    cursor, _ = OutreachCursor.objects.get_or_create(network=network)
    found = (
        TaskEvent.objects.filter(
            task__network=network, log_id__gt=cursor.log_id, name__in=list(_OF_CHAIN)
        )
        .select_related("task__owner")
        .order_by("log_id")[:BATCH]
    )
    events = list(found)
    if not events:
        return 0
    told = 0
    oldest = (timezone.now() - NEWS_AGE).timestamp()
    with transaction.atomic():
        for event in events:
            if event.block_time >= oldest:
                told += _chain_event(event)
        OutreachCursor.objects.filter(pk=cursor.pk, log_id__lt=events[-1].log_id).update(
            log_id=events[-1].log_id
        )
    return told


def _chain_event(event: TaskEvent) -> int:
    name, task = _OF_CHAIN[event.name], event.task
    at = datetime.fromtimestamp(event.block_time, tz=UTC)
    data: dict[str, Any] = {"block": event.block_number, "tx": event.tx_hash}
    if name == "round.finalized":
        return _round_finalized(task, event.round_number or 0, at, data)
    done = name == "task.completed"
    news = News(
        event=name,
        key=f"{name}:{task.pk}",
        thread=f"{name}:{task.pk}",
        title=f"{task.title} is {'completed' if done else 'cancelled'}",
        text=_ending(task),
        task=task,
        at=at,
        tone="ok" if done else "wait",
        data=data,
    )
    return tell({*_owner(task), *_people_of(task)}, news)


def _ending(task: Task) -> str:
    done = task.round_set.filter(phase=Round.Phase.FINALIZED).count()
    text = f"{done} of {count(task.rounds, 'round')} finished."
    return f"{text} What was earned can be claimed." if done else text


def _round_finalized(task: Task, number: int, at: datetime, data: dict[str, Any]) -> int:
    round_ = Round.objects.filter(task=task, number=number).first()
    if round_ is None:  # taken back by a reorg meanwhile
        return 0
    data |= {"round": number, "accuracy_ppm": round_.accuracy_ppm, "model": round_.model_hash}
    told = tell(
        _owner(task),
        News(
            event="round.finalized",
            key=f"round.finalized:{task.pk}:{number}",
            thread=f"round.finalized:{task.pk}",
            title=f"Round {number} of {task.rounds} of {task.title} is finalized",
            text=f"Held-out accuracy {percent(round_.accuracy_ppm)} %.",
            task=task,
            at=at,
            tone="chain",
            data=data,
        ),
    )
    rewards = Reward.objects.filter(round=round_, amount__gt=0).select_related("participant")
    earners = _users_by_address({reward.participant.address for reward in rewards})
    for reward in rewards:
        member = reward.participant
        news = News(
            event="reward.earned",
            key=f"reward.earned:{task.pk}:{number}:{member.address}",
            thread=f"reward.earned:{task.pk}:{member.address}",
            title=f"{amount(reward.amount, 4)} FLT earned in round {number} of {task.title}",
            text=f"{amount(member.earned, 4)} FLT in this task so far.",
            task=task,
            at=at,
            tone="ok",
            data=data | {"address": member.address, "amount_wei": str(reward.amount)},
        )
        told += tell(earners.get(member.address, ()), news)
    return told


def _advance_faults() -> int:
    """Failed launches, refused transactions and failed trainings of the last hour."""
    found = _faults()
    return sum(tell(_owner(news.task), news) for news in _untold(found)) if found else 0


def _untold(found: list[News]) -> list[News]:
    """Those that still have somebody to reach. Faults stand for an hour and are looked at every
    two seconds: three queries in all, where each would cost some."""
    owners = {owner.pk: owner for news in found for owner in _owner(news.task)}
    bell = set(
        Notification.objects.filter(user__in=owners, event="fault").values_list("user", "key")
    )
    hooks: dict[int, list[int]] = {}
    for hook in Webhook.objects.filter(user__in=owners, active=True):
        if "fault" in hook.events:
            hooks.setdefault(hook.user_id, []).append(hook.pk)
    sent = set(
        WebhookDelivery.objects.filter(webhook__user__in=owners, event="fault").values_list(
            "webhook", "key"
        )
    )

    def knows(owner: User, news: News) -> bool:
        ways = ways_of(owner, "fault")
        if not ways or (owner.pk, news.thread) in bell:
            return True
        return "app" not in ways and cache.get(_mailed(owner, news)) is not None

    return [
        news
        for news in found
        for owner in _owner(news.task)
        if not knows(owner, news)
        or any((hook, news.key) not in sent for hook in hooks.get(owner.pk, ()))
    ]


def _faults() -> list[News]:
    since = timezone.now() - NEWS_AGE
    found = []
    failed = Task.objects.filter(stage=Task.Stage.FAILED, launched_at__gte=since)
    for task in failed.select_related("owner"):
        found.append(_fault(task, f"launch:{task.launched_at}", "The launch failed", task.failure))
    calls = OutgoingTransaction.objects.filter(
        status=OutgoingStatus.FAILED, reference__startswith="task:", queued_at__gte=since
    )
    rows = list(calls.select_related("account")[:BATCH])
    numbers = {int(row.reference.split(":")[1]) for row in rows}
    tasks = {t.pk: t for t in Task.objects.filter(pk__in=numbers).select_related("owner")}
    for row in rows:
        if (task_ := tasks.get(int(row.reference.split(":")[1]))) is not None:
            title = f"{words(row.function).capitalize()} by {row.account.label} failed"
            found.append(_fault(task_, f"call:{row.pk}", title, row.error))
    runs = TrainingRun.objects.filter(
        status=TrainingRun.Status.FAILED, finished_at__gte=since
    ).select_related("seat__task__owner", "seat__account")
    for run in runs[:BATCH]:
        title = f"{run.seat.account.label} could not train round {run.round_number}"
        found.append(_fault(run.seat.task, f"training:{run.pk}", title, run.error))
    return found


def _fault(task: Task, key: str, title: str, cause: str) -> News:
    return News(
        event="fault",
        key=f"fault:{task.pk}:{key}"[:100],
        thread=f"fault:{task.pk}:{key}"[:100],
        title=f"{title}: {task.title}",
        text=cause or "The page of the task says more.",
        task=task,
        at=timezone.now(),
        tone="bad",
        data={"cause": cause},
    )


def tell(people: Iterable[User], news: News) -> int:
    """Everyone by the ways they chose, and their webhooks. Nobody is told the same thing twice."""
    told = 0
    for user in people:
        told += _notify(user, news)
        for hook in Webhook.objects.filter(user=user, active=True):
            if news.event in hook.events:
                WebhookDelivery.objects.get_or_create(
                    webhook=hook,
                    key=news.key,
                    defaults={
                        "event": news.event,
                        "data": _payload(news),
                        "next_at": timezone.now(),
                    },
                )
    return told


def _notify(user: User, news: News) -> bool:
    ways = ways_of(user, news.event)
    before = Notification.objects.filter(user=user, key=news.thread).first()
    if (
        not ways
        or (before is not None and before.at >= news.at)
        or (before is not None and news.event == "fault")
    ):
        return False
    if "app" not in ways and not cache.add(_mailed(user, news), True, MAILED):
        return False
    if "app" in ways:
        Notification.objects.update_or_create(
            user=user,
            key=news.thread,
            defaults={
                "event": news.event,
                "title": news.title[:200],
                "text": news.text[:500],
                "task": news.task,
                "tone": news.tone,
                "at": news.at,
                "read_at": None,
            },
        )
        publish.person_changed(user.pk)
    if "mail" in ways and user.email:
        transaction.on_commit(lambda: _mail(user, news))
    return True


def _mailed(user: User, news: News) -> str:
    """What is only mailed leaves no row, and a fault is read again at every tick of its hour."""
    key = hashlib.sha256(news.key.encode()).hexdigest()  # caches take no spaces in a key
    return f"mailed:{user.pk}:{key}"


def _mail(user: User, news: News) -> None:
    """A dead mail server must not keep the rest from being told; the bell has it anyway."""
    link = settings.SITE_URL + reverse("task", args=(news.task.pk,))
    stop = settings.SITE_URL + reverse("settings")
    text = f"{news.text}\n\n{link}\n\nChoose what is mailed to you: {stop}#notifications\n"
    try:
        send_mail(f"BCFL Console: {news.title}"[:150], text, None, [user.email])
    except (OSError, SMTPException) as error:
        log.warning("mail not sent", to=user.email, error=str(error))


def _payload(news: News) -> dict[str, Any]:
    task = news.task
    return {
        "task": {"id": task.pk, "title": task.title, "onchain_id": task.onchain_id},
        "url": settings.SITE_URL + reverse("task", args=(task.pk,)),
        "title": news.title,
        "at": news.at.isoformat(timespec="seconds"),
        **news.data,
    }


def _owner(task: Task) -> set[User]:
    return {task.owner} if task.owner and task.owner.is_active else set()


def _people_of(task: Task) -> set[User]:
    found = _users_by_address(
        set(Participant.objects.filter(task=task).values_list("address", flat=True))
    )
    return {user for users in found.values() for user in users}


def _users_by_address(addresses: set[str]) -> dict[str, set[User]]:
    """Who is told about an address: by hosted account or linked wallet. Two queries."""
    found: dict[str, set[User]] = {}
    users = User.objects.filter(
        Q(account__address__in=addresses) | Q(wallets__address__in=addresses), is_active=True
    ).distinct()
    for user in users.select_related("account").prefetch_related("wallets"):
        own = {wallet.address for wallet in user.wallets.all()}
        if user.account is not None:
            own.add(user.account.address)
        for address in own & addresses:
            found.setdefault(address, set()).add(user)
    return found
