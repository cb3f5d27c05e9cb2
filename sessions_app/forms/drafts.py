"""What people do before a task exists: wizards in progress, templates, remembered prices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from django.db import transaction

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import BcflError, InvalidTask, WrongStage
from sessions_app.forms.tables import STEPS
from sessions_app.forms.values import Values, form_of, task_values
from sessions_app.models import Invitation, NetworkPrice, Task, TaskDraft, TaskTemplate, User
from sessions_app.services import tasks as task_services
from sessions_app.services.invitations import invitation_create
from sessions_app.services.tasks import task_launch_from_wallet

Launch = Literal["fund", "wallet", "keep"]
MOST_DRAFTS = 100  # of one person
MOST_CHARACTERS = 300_000  # of all that was typed into one draft
MOST_PRICES = 20
_KIND = re.compile(r"[a-z0-9_]{1,60}")


class DraftMoved(BcflError):
    """Another page saved the draft after this one had read it."""


class DraftUnfinished(BcflError):
    """A draft has fields that must be settled before it can become a task."""


def draft_start(
    *, by: User, values: Mapping[str, Any], origin: str = "", task: Task | None = None
) -> TaskDraft:
    """Begin a wizard; with ``task``, one that changes this unstarted task (the same one again if
    it was begun before). Raises NotAllowed, WrongStage."""
    require(by, "draft.create")
    if task is not None:
        require(by, "task.change", task)
        if task.stage not in (Task.Stage.DRAFT, Task.Stage.FAILED):
            raise WrongStage("Only a draft can be changed. Clone this task to vary it.")
        begun = TaskDraft.objects.filter(task=task).first()
        if begun is not None:
            return begun
    have = by.task_drafts.count()
    if have >= MOST_DRAFTS:
        raise WrongStage(
            f"You have {have} drafts, the most is {MOST_DRAFTS}. Delete one under Tasks → Drafts."
        )
    with transaction.atomic():
        draft = TaskDraft.objects.create(
            owner=by, values=_clean_values(values), origin=origin[:160], task=task
        )
        audit.record(by, "draft.create", draft, {"title": draft.title, "origin": origin})
    return draft


def draft_for_change(*, task: Task, by: User) -> TaskDraft:
    """The draft in which an unstarted task is changed; begun with what the task is now."""
    return draft_start(
        by=by, values=task_values(task), origin=f"Change of task {task.pk}", task=task
    )


def draft_from_task(*, task: Task, by: User) -> TaskDraft:
    """A wizard with the settings of a task: anyone who may create one may vary another's."""
    if task.config is None:
        raise WrongStage(
            f"Task {task.pk} was created by another client and its configuration is not stored "
            "here, so there is nothing to clone."
        )
    values = task_values(task) | {"title": f"{task.title[:112]}, again"}
    return draft_start(by=by, values=values, origin=f"Clone of task {task.pk}, {task.title}")


def draft_save(
    *,
    draft_id: int,
    by: User,
    values: Mapping[str, Any],
    step: str = "",
    editor: str = "",
    version: int | None = None,
    turn: int | None = None,
) -> TaskDraft:
    """Keep what was typed, valid or not. ``editor`` names the page that saves and ``version`` the
    one it knows: raises DraftMoved when another page has saved since; without ``version`` it
    saves over whatever is there. What arrives after a later ``turn`` of the same page is dropped:
    the later one knew all of it. Raises NotAllowed."""
    with transaction.atomic():
        draft = TaskDraft.objects.select_for_update().get(pk=draft_id)
        require(by, "draft.change", draft)
        if turn is not None and draft.editor == editor and turn < draft.turn:
            return draft
        other = draft.editor and draft.editor != editor
        if version is not None and draft.version > version and other:
            raise DraftMoved(
                f"This draft was changed on another page at {draft.updated_at:%H:%M:%S} UTC. What "
                "you typed is still here, but not saved: reload to take the other page's, or keep "
                "yours."
            )
        merged = _clean_values({**draft.values, **values})
        if merged != draft.values or (step and step != draft.step):
            draft.values = merged
            draft.step = step if step in STEPS else draft.step
            draft.version += 1
            draft.editor, draft.turn = editor[:32], turn or 0
            draft.save()
        elif turn is not None:  # nothing new, but what it overtook is older still
            draft.editor, draft.turn = editor[:32], turn
            draft.save(update_fields=["editor", "turn"])
    return draft


def draft_delete(*, draft: TaskDraft, by: User) -> None:
    require(by, "draft.change", draft)
    with transaction.atomic():
        audit.record(by, "draft.change", draft, {"title": draft.title, "deleted": True})
        draft.delete()


@dataclass(frozen=True)
class Finished:
    """``trouble``: why the task could not be started; it is kept then."""

    task: Task
    invited: Sequence[Invitation]
    trouble: str = ""


def draft_finish(*, draft: TaskDraft, by: User, launch: Launch) -> Finished:
    """Make the task (or the change) of a draft, which then is no more, send its invitations, and
    start it if asked: from the hosted account, or for a wallet to sign.

    Raises NotAllowed, DraftUnfinished, and what the task's services raise.
    """
    require(by, "draft.change", draft)
    form = form_of(draft.values)
    if not form.is_valid():
        first = form.problems()[0]
        raise DraftUnfinished(f"{first.label}: {first.message}")
    terms = form.terms
    with transaction.atomic():
        if draft.task is None:
            task = task_services.task_create(
                owner=by,
                title=terms.title,
                config=terms.config,
                pool=terms.pool,
                stake=terms.stake,
                evaluators=terms.evaluators,
                outside_evaluators=terms.outside_evaluators,
                hosted_places=terms.hosted_places,
                min_participants=terms.min_participants,
                quorum=terms.quorum,
                **terms.seconds,
            )
        else:
            most = terms.config.participants
            task = task_services.task_change(
                task=draft.task,
                by=by,
                title=terms.title,
                config=terms.config,
                pool=terms.pool,
                stake=terms.stake,
                evaluators=terms.evaluators,
                outside_evaluators=terms.outside_evaluators,
                hosted_places=most if terms.hosted_places is None else terms.hosted_places,
                min_participants=most if terms.min_participants is None else terms.min_participants,
                quorum=terms.quorum,
                seconds=terms.seconds,
            )
        invited = [
            invitation_create(by=by, email=email, task=task, message=terms.invite_message)
            for email in [*terms.invite_emails, *[""] * terms.invite_links]
        ]
        draft.delete()
    if launch == "keep":
        return Finished(task, invited)
    start = task_services.task_launch if launch == "fund" else task_launch_from_wallet
    try:
        return Finished(start(task=task, by=by), invited)
    except BcflError as error:  # the task is kept: nothing typed is lost
        return Finished(task, invited, str(error))


# --- templates ------------------------------------------------------------------------------


def template_save(
    *, task: Task, by: User, name: str, description: str = "", shared: bool = False
) -> TaskTemplate:
    """The settings of a task under a name; saved again under the same name, it is replaced."""
    require(by, "template.create")
    name = name.strip()
    if not 1 <= len(name) <= 80:
        raise InvalidTask(
            f"The name has {len(name)} characters. Needs 1 to 80, such as “Our monthly run”.",
            field="name",
        )
    if len(description) > 240:
        raise InvalidTask(
            f"The description has {len(description)} characters, at most 240 fit. Shorten it.",
            field="description",
        )
    if task.config is None:
        raise WrongStage(f"The configuration of task {task.pk} is not stored here.")
    with transaction.atomic():
        template, _ = TaskTemplate.objects.update_or_create(
            owner=by,
            name=name,
            defaults={
                "description": description.strip(),
                "values": task_values(task),
                "shared": shared,
            },
        )
        details = {"name": name, "task": task.pk, "shared": shared}
        audit.record(by, "template.create", template, details)
    return template


def template_delete(*, template: TaskTemplate, by: User) -> None:
    require(by, "template.delete", template)
    with transaction.atomic():
        audit.record(by, "template.delete", template, {"name": template.name})
        template.delete()


# --- prices of other networks ---------------------------------------------------------------


def price_remember(
    *, by: User, name: str, gas_price: int, coin_price: Decimal | None
) -> NetworkPrice:
    """``gas_price`` in wei per gas; ``coin_price`` of one whole coin, in any currency."""
    require(by, "price.remember")
    have = NetworkPrice.objects.filter(user=by).exclude(name=name).count()
    if have >= MOST_PRICES:
        raise InvalidTask(
            f"{have} networks are remembered, the most is {MOST_PRICES}. Forget one first.",
            field="name",
        )
    price, _ = NetworkPrice.objects.update_or_create(
        user=by, name=name, defaults={"gas_price": gas_price, "coin_price": coin_price}
    )
    return price


def price_forget(*, price_id: int, by: User) -> None:
    NetworkPrice.objects.filter(pk=price_id, user=by).delete()


def _clean_values(values: Mapping[str, Any]) -> Values:
    """Text, or lists of it, under names that fields can have."""
    clean: Values = {}
    for name, value in values.items():
        if not _KIND.fullmatch(name):
            continue
        clean[name] = [str(v) for v in value] if isinstance(value, (list, tuple)) else str(value)
    size = sum(len(str(value)) for value in clean.values())
    if size > MOST_CHARACTERS:
        raise InvalidTask(
            f"{size:,} characters are more than a draft holds ({MOST_CHARACTERS:,}). Shorten the "
            "layers."
        )
    return clean
