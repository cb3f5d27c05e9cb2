"""What a task leaves behind: the model of each round, the updates it was made of, and those that
were refused, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sessions_app.models import Round, Task, TrainingRun, Update
from sessions_app.selectors.people.people import Names, Party

SHOWN_ROUNDS = 8  # on the task page; the page of artefacts has them all


@dataclass(frozen=True)
class UpdateArtefact:
    """``update_hash`` as committed on chain; ``content_hash`` of the bytes, known for those that
    were trained or received here."""

    party: Party
    update_hash: str
    content_hash: str
    samples: int
    tx_hash: str
    reason: str = ""  # why the evaluator refused it


@dataclass(frozen=True)
class RoundArtefacts:
    """``evidence``: hash of the document that names the refused updates, empty without any."""

    number: int
    final: bool
    model_hash: str
    reward_root: str
    tx_hash: str
    updates: Sequence[UpdateArtefact] = field(default_factory=tuple)
    evidence: str = ""

    @property
    def rejected(self) -> list[UpdateArtefact]:
        return [update for update in self.updates if update.reason]


@dataclass(frozen=True)
class Artefacts:
    """Rounds newest first. ``older`` is the number to go on from, None at the end."""

    rounds: Sequence[RoundArtefacts]
    older: int | None
    total: int


def task_artefacts(
    task: Task, names: Names, *, before: int | None = None, limit: int = SHOWN_ROUNDS
) -> Artefacts:
    """Four queries, whatever the numbers."""
    rounds = task.round_set.order_by("-number")
    total = rounds.count()
    if before is not None:
        rounds = rounds.filter(number__lt=before)
    page = list(rounds[: limit + 1])
    more, page = len(page) > limit, page[:limit]
    found = [round_.number for round_ in page]
    refused = _refused(task, found)
    updates = _updates(task, page, names, refused)
    return Artefacts(
        rounds=[
            RoundArtefacts(
                number=round_.number,
                final=round_.phase == Round.Phase.FINALIZED,
                model_hash=round_.model_hash,
                reward_root=round_.reward_root,
                tx_hash=round_.finalized_tx or round_.opened_tx,
                updates=updates.get(round_.number, ()),
                evidence=refused[round_.number].evidence if round_.number in refused else "",
            )
            for round_ in page
        ],
        older=found[-1] if more else None,
        total=total,
    )


@dataclass(frozen=True)
class _Refused:
    reasons: dict[str, str]  # by address
    evidence: str


def _updates(
    task: Task, rounds: Sequence[Round], names: Names, refused: dict[int, _Refused]
) -> dict[int, list[UpdateArtefact]]:
    numbers = [round_.number for round_ in rounds]
    contents = {
        (run.round_number, run.seat.account.address): run.content_hash
        for run in TrainingRun.objects.filter(seat__task=task, round_number__in=numbers)
        .exclude(content_hash="")
        .select_related("seat__account")
    }
    found: dict[int, list[UpdateArtefact]] = {}
    rows = Update.objects.filter(round__in=rounds).select_related("round", "participant")
    for row in rows.order_by("participant__index"):
        number, address = row.round.number, row.participant.address
        reason = refused[number].reasons.get(address, "") if number in refused else ""
        found.setdefault(number, []).append(
            UpdateArtefact(
                party=names.party(address),
                update_hash=row.update_hash,
                content_hash=contents.get((number, address), ""),
                samples=row.samples,
                tx_hash=row.tx_hash,
                reason=reason,
            )
        )
    return found


def _refused(task: Task, numbers: Sequence[int]) -> dict[int, _Refused]:
    """Round → whom our evaluator refused and why, with the hash of its evidence."""
    rows = task.round_runs.filter(number__in=numbers, result__isnull=False)
    return {
        number: _Refused(dict(rejected or ()), evidence or "")
        for number, rejected, evidence in rows.values_list(
            "number", "result__rejected", "result__evidence"
        )
    }


def evidence_of(task: Task, number: int) -> str:
    """The evidence hash of one round, empty when nothing was refused in it."""
    found = _refused(task, [number]).get(number)
    return found.evidence if found else ""
