"""What the wizard shows around its form: where one can begin, and all of it again at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from sessions_app.formats import amount, count, duration
from sessions_app.forms.layout import Problem
from sessions_app.forms.tables import STEPS
from sessions_app.forms.task import TaskForm
from sessions_app.forms.templates import BUILT_IN
from sessions_app.forms.terms import TaskTerms, contract_params
from sessions_app.forms.values import form_of
from sessions_app.models import Task, TaskDraft, TaskTemplate, User
from sessions_app.selectors.task.config import Fact, configuration_facts
from sessions_app.selectors.wizard.dry_run import DryRun, dry_run
from sessions_app.selectors.wizard.quote import current_price, quote
from training.specs import DATASETS, HOLDOUT, REWARD_MODES

RECENT_TASKS = 20


@dataclass(frozen=True)
class TemplateCard:
    """``key`` starts a draft; ``pk`` and ``may_delete`` only for those that people saved.
    ``missing``: why it cannot be used here."""

    key: str
    name: str
    description: str
    facts: str
    missing: str
    owner: str = ""
    shared: bool = False
    pk: int | None = None
    may_delete: bool = False


@dataclass(frozen=True)
class StartChoices:
    drafts: Sequence[TaskDraft]
    built_in: Sequence[TemplateCard]
    saved: Sequence[TemplateCard]
    tasks: Sequence[Task]


@dataclass(frozen=True)
class Beginning:
    values: Mapping[str, Any]
    origin: str


def visible_templates(user: User) -> list[TaskTemplate]:
    found = TaskTemplate.objects.filter(Q(owner=user) | Q(shared=True))
    return list(found.select_related("owner"))


def start_choices(user: User) -> StartChoices:
    """Four queries."""
    built_in = [
        _card(f"built-in:{t.key}", t.name, t.description, t.values) for t in BUILT_IN.values()
    ]
    saved = [
        _card(
            f"saved:{t.pk}",
            t.name,
            t.description,
            t.values,
            owner="you" if t.owner_id == user.pk else t.owner.short_name,
            shared=t.shared,
            pk=t.pk,
            may_delete=t.owner_id == user.pk or user.is_admin,
        )
        for t in visible_templates(user)
    ]
    tasks = Task.objects.exclude(config=None).order_by("-pk").only("pk", "title")
    return StartChoices(
        drafts=list(TaskDraft.objects.filter(owner=user)[:5]),
        built_in=built_in,
        saved=saved,
        tasks=list(tasks[:RECENT_TASKS]),
    )


def template_values(key: str, user: User) -> Beginning | None:
    """The values behind a template's key, ``blank``, ``built-in:first``, ``saved:7``; None when
    there is no such template for this person."""
    kind, _, name = key.partition(":")
    if kind == "blank":
        return Beginning({}, "")
    if kind == "built-in" and name in BUILT_IN:
        template = BUILT_IN[name]
        return Beginning(template.values, f"Template: {template.name}")
    if kind == "saved":
        for saved in visible_templates(user):
            if str(saved.pk) == name:
                return Beginning(saved.values, f"Template: {saved.name}")
    return None


def _card(
    key: str, name: str, description: str, values: Mapping[str, Any], **more: Any
) -> TemplateCard:
    dataset = DATASETS.get(str(values.get("dataset", "digits")))
    people, rounds = values.get("participants", "5"), values.get("rounds", "5")
    pool = str(values.get("pool", "1000"))
    pool = f"{int(pool):,}" if pool.isdecimal() else pool
    facts = f"{people} participants · {rounds} rounds · {pool} FLT"
    if dataset is None:
        return TemplateCard(
            key, name, description, facts, "Its data set is not known here.", **more
        )
    return TemplateCard(
        key, name, description, f"{dataset.label} · {facts}", dataset.unavailable(), **more
    )


# --- the last step --------------------------------------------------------------------------


@dataclass(frozen=True)
class ReviewPart:
    step: str
    title: str
    facts: Sequence[Fact]
    problems: Sequence[Problem]


@dataclass(frozen=True)
class Review:
    parts: Sequence[ReviewPart]
    ready: bool


def review(form: TaskForm) -> Review:
    problems = form.problems()
    ready = not problems
    facts = configuration_facts(form.config) if form.config else []
    of_data = {"Data set", "Split", "Columns", "Label", HOLDOUT.label, "Model", "Seed"}
    title = form.cleaned_data.get("title")
    people = form.cleaned_data.get("participants")
    by_step: dict[str, list[Fact]] = {
        "data": [
            *([Fact("Title", title)] if title else []),
            *([Fact("Participants", str(people))] if people else []),
            *(fact for fact in facts if fact.name in of_data),
        ],
        "training": [
            *([Fact("Rounds", str(form.config.rounds))] if form.config else []),
            *(fact for fact in facts if fact.name not in of_data),
        ],
        "terms": _term_facts(form.terms) if ready else [],
    }
    parts = [
        ReviewPart(step, STEPS[step], by_step[step], [p for p in problems if p.step == step])
        for step in by_step
    ]
    return Review(parts, ready)


def _term_facts(terms: TaskTerms) -> list[Fact]:
    most = terms.config.participants
    hosted = most if terms.hosted_places is None else terms.hosted_places
    places = f"{hosted} trained for here"
    if hosted < most:
        places += f", {most - hosted} open to wallets and agents"
    names = [a.label for a in terms.evaluators]
    if terms.outside_evaluators:
        names.append(f"{len(terms.outside_evaluators)} elsewhere")
    judges = len(terms.evaluators) + len(terms.outside_evaluators)
    return [
        Fact("Reward pool", f"{amount(terms.pool)} FLT"),
        Fact("Reward a round", f"{amount(terms.pool // terms.config.rounds)} FLT"),
        Fact("Stake each", f"{amount(terms.stake)} FLT" if terms.stake else "none"),
        Fact("Rewards are shared", REWARD_MODES[terms.config.reward_mode].label.lower()),
        Fact("Places", places),
        Fact("Starts with", count(terms.min_participants or most, "participant")),
        Fact("Evaluators", f"{', '.join(names)}; {terms.quorum or judges // 2 + 1} must agree"),
        *([Fact("Invited when it is saved", invited)] if (invited := _invited(terms)) else []),
        Fact("Time to join", duration(terms.seconds["join_seconds"])),
        Fact(
            "Time to submit, score, aggregate",
            ", ".join(
                duration(terms.seconds[f"{part}_seconds"])
                for part in ("update", "score", "aggregate")
            ),
        ),
    ]


def _invited(terms: TaskTerms) -> str:
    told = [", ".join(terms.invite_emails)] if terms.invite_emails else []
    if terms.invite_links:
        told.append(count(terms.invite_links, "link") + " to pass on")
    return "; ".join(told)


def check_draft(form: TaskForm, user: User) -> DryRun:
    """Of a valid form and someone with a hosted account. Asks the node."""
    assert user.account is not None
    assert form.quote_terms is not None
    made = quote(form.quote_terms, gas_price=current_price())
    return dry_run(sender=user.account.address, params=contract_params(form.terms), made=made)


# --- unfinished ones in lists ---------------------------------------------------------------


@dataclass(frozen=True)
class DraftRow:
    pk: int
    title: str
    origin: str
    step: str
    problems: int
    updated_at: datetime
    task_pk: int | None


def draft_rows(user: User) -> list[DraftRow]:
    """Wizards in progress, the last touched first."""
    return [
        DraftRow(
            pk=draft.pk,
            title=draft.title,
            origin=draft.origin,
            step=draft.step,
            problems=len(form_of(draft.values).problems()),
            updated_at=draft.updated_at,
            task_pk=draft.task_id,
        )
        for draft in TaskDraft.objects.filter(owner=user)[:100]
    ]
