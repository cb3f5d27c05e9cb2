"""What a typed hash, number or name leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.urls import reverse

from chain.models import Account, Block, OutgoingTransaction, Transaction
from sessions_app.models import Round, Task, Update, User
from sessions_app.selectors.ledger.rows import chain_id, network_id
from sessions_app.selectors.people.people import Party, contract_parties

FOUND_AT_MOST = 20
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Found:
    """Several things have the name: the page lists them."""

    tasks: Sequence[Task]
    people: Sequence[Party]

    def __bool__(self) -> bool:
        return bool(self.tasks or self.people)


def find(query: str) -> str:
    """The one page that a typed hash, address, block, task or name leads to; "" when none or
    several do."""
    text = query.strip().lower().lstrip("#").replace(",", "")
    if text.isascii() and text.isdigit():
        return _find_number(int(text), is_task=query.strip().startswith("#"))
    if len(text) == 42 and text.startswith("0x"):
        return reverse("address", args=(query.strip(),))
    if len(text) == 66 and text.startswith("0x"):
        return _find_hash(text)
    named = find_named(query)
    if len(named.people) == 1 and not named.tasks:
        return named.people[0].url
    if len(named.tasks) == 1 and not named.people:
        return reverse("task", args=(named.tasks[0].pk,))
    exact = [party for party in named.people if party.name.lower() == query.strip().lower()]
    return exact[0].url if len(exact) == 1 and not named.tasks else ""


def find_named(query: str) -> Found:
    """Tasks whose title and people whose name has the text."""
    text = query.strip()
    if not text:
        return Found((), ())
    tasks = Task.objects.filter(title__icontains=text).order_by("-pk").only("pk", "title")
    accounts = Account.objects.filter(label__icontains=text).order_by("label", "pk")
    people = [
        Party(*row) for row in accounts.values_list("address", "label", "kind")[:FOUND_AT_MOST]
    ]
    signed = User.objects.exclude(account=None).filter(
        Q(username__icontains=text) | Q(first_name__icontains=text) | Q(last_name__icontains=text)
    )
    for user in signed.select_related("account").order_by("pk")[:FOUND_AT_MOST]:
        if user.account is not None:
            people.append(Party(user.account.address, user.account.label, user.account.kind))
    people += [p for p in contract_parties(chain_id()) if text.lower() in p.name.lower()]
    return Found(list(tasks[:FOUND_AT_MOST]), list({p.address: p for p in people}.values()))


def _find_number(number: int, *, is_task: bool) -> str:
    if number > LARGEST:
        return ""
    if is_task and Task.objects.filter(pk=number).exists():
        return reverse("task", args=(number,))
    if Block.objects.filter(network_id=network_id(), number=number).exists():
        return reverse("block", args=(number,))
    if Task.objects.filter(pk=number).exists():
        return reverse("task", args=(number,))
    return ""


def _find_hash(value: str) -> str:
    network = network_id()
    if Transaction.objects.filter(network_id=network, hash=value).exists():
        return reverse("transaction", args=(value,))
    block = Block.objects.filter(network_id=network, hash=value).first()
    if block is not None:
        return reverse("block", args=(block.number,))
    task = Task.objects.filter(
        Q(config_hash=value) | Q(model_hash=value) | Q(initial_model_hash=value)
    ).first()
    if task is not None:
        return reverse("task", args=(task.pk,))
    round_ = Round.objects.filter(Q(model_hash=value) | Q(reward_root=value)).first()
    if round_ is not None:
        return reverse("task", args=(round_.task_id,)) + "#rounds"
    update = Update.objects.filter(update_hash=value).first()
    if update is not None:
        return reverse("transaction", args=(update.tx_hash,))
    waiting = OutgoingTransaction.objects.filter(tx_hash=value).values_list("reference", flat=True)
    reference = (waiting.first() or "").split(":")
    if len(reference) == 2 and reference[0] == "task" and reference[1].isdigit():
        return reverse("task", args=(int(reference[1]),))  # sent and not mined yet
    return ""
