"""A model card (Mitchell et al. 2019, arXiv 1810.03993), generated from the ledger.

Nobody writes it: what is in it follows from the task's configuration, whose hash is on chain, and
from the events up to the version's round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count

from sessions_app.formats import count, percent
from sessions_app.models import Reward, Task, TaskEvent, Update
from sessions_app.selectors.models.registry import Bytes, RegisteredModel, Version, bytes_of
from sessions_app.selectors.people.people import Names, Party, names_of
from sessions_app.selectors.task.config import Fact, configuration_facts, task_config
from training.blobs import BlobStore
from training.privacy import epsilon
from training.specs import ALGORITHMS, DATASETS, PARTITIONS, TaskConfig

ROBUST = {"median", "trimmed_mean", "krum", "multi_krum"}


CONTRIBUTOR_COLUMNS = ("name", "address", "samples", "share", "rounds", "earned_wei")


@dataclass(frozen=True)
class Contributor:
    """`samples` a round, `share` of all samples (0 to 1), `rounds` with an update up to here."""

    party: Party
    samples: int
    share: float
    rounds: int
    earned: int  # wei

    def as_json(self) -> dict[str, Any]:
        """CONTRIBUTOR_COLUMNS; the amount in wei as text, for it is more than a double holds."""
        return {
            "name": self.party.name,
            "address": self.party.address,
            "samples": self.samples,
            "share": round(self.share, 6),
            "rounds": self.rounds,
            "earned_wei": str(self.earned),
        }


@dataclass(frozen=True)
class Agreement:
    """What one evaluator said of this round's result."""

    party: Party
    tx_hash: str
    agrees: bool


@dataclass(frozen=True)
class Entry:
    """One transaction or hash behind the model."""

    name: str
    value: str
    kind: str  # "transaction" or "hash"


@dataclass(frozen=True)
class ModelCard:
    task: Task
    version: Version
    stored: Bytes
    parameters: int | None
    intended: str
    classes: int | None
    input_shape: Sequence[int]
    data_facts: Sequence[Fact]
    training_facts: Sequence[Fact]
    privacy: str
    contributors: Sequence[Contributor]
    agreements: Sequence[Agreement]
    hashes: Sequence[Entry]
    transactions: Sequence[Entry]
    limits: Sequence[str]
    config: dict[str, Any] | None

    @property
    def agreed(self) -> int:
        return sum(a.agrees for a in self.agreements)

    @property
    def total_samples(self) -> int:
        return sum(c.samples for c in self.contributors)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types; amounts in wei as text, accuracy 0 to 1."""
        v, task = self.version, self.task
        return {
            "model": {"id": task.pk, "title": task.title, "onchain_id": task.onchain_id},
            "version": v.number,
            "stage": v.stage,
            "model_hash": v.model_hash,
            "config_hash": task.config_hash,
            "base_model_hash": v.base_hash or None,
            "bytes": {"state": self.stored.state, "size": self.stored.size or None},
            "parameters": self.parameters,
            "accuracy": None if v.accuracy_ppm is None else v.accuracy_ppm / 1e6,
            "loss": v.loss,
            "finalized": {
                "transaction": v.tx_hash or None,
                "block": v.block,
                "time": _utc(v.time) or None,
            },
            "rounds": {"trained": v.number, "planned": task.rounds},
            "intended": self.intended,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "data": {fact.name: fact.value for fact in self.data_facts},
            "training": {fact.name: fact.value for fact in self.training_facts},
            "privacy": self.privacy,
            "participants": [c.as_json() for c in self.contributors],
            "evaluators": [
                {
                    "name": a.party.name,
                    "address": a.party.address,
                    "transaction": a.tx_hash,
                    "agrees": a.agrees,
                }
                for a in self.agreements
            ],
            "quorum": task.quorum,
            "transactions": {entry.name: entry.value for entry in self.transactions},
            "hashes": {entry.name: entry.value for entry in self.hashes},
            "limits": list(self.limits),
            "config": self.config,
        }

    def as_markdown(self) -> str:
        v, task = self.version, self.task
        accuracy = "not measured" if v.accuracy_ppm is None else f"{percent(v.accuracy_ppm, 2)} %"
        loss = "not known here" if v.loss is None else f"{v.loss:.4f}"
        lines = [
            f"# {_plain(task.title)}, version {v.number}",
            "",
            f"{self.intended} Stage: {v.label.lower()}.",
            "",
            "## Results",
            "",
            "| measure | value |",
            "|---|---|",
            f"| Accuracy on held-out data | {accuracy} |",
            f"| Loss on held-out data (cross-entropy, nats) | {loss} |",
            f"| Rounds trained | {v.number} of {task.rounds} planned |",
            *([f"| Weights | {self.parameters:,} |"] if self.parameters else []),
            f"| Stored bytes | {_BYTES[self.stored.state]} |",
            *_facts("Data", self.data_facts),
            *_facts("Training", self.training_facts),
            "",
            "## Privacy",
            "",
            self.privacy,
            "",
            "## Participants",
            "",
            "| participant | address | samples | share | rounds |",
            "|---|---|---:|---:|---:|",
            *(
                f"| {_plain(c.party.name)} | `{c.party.address}` | {c.samples:,} | "
                f"{100 * c.share:.1f} % | {c.rounds} |"
                for c in self.contributors
            ),
            "",
            "## Evaluators",
            "",
            "| evaluator | address | says the same | transaction |",
            "|---|---|---|---|",
            *(
                f"| {_plain(a.party.name)} | `{a.party.address}` | "
                f"{'yes' if a.agrees else 'no'} | `{a.tx_hash}` |"
                for a in self.agreements
            ),
            "",
            "## On chain",
            "",
            "| what | value |",
            "|---|---|",
            *(f"| {e.name} | `{e.value}` |" for e in (*self.hashes, *self.transactions)),
            "",
            "## Limits",
            "",
            *(f"- {limit}" for limit in self.limits),
        ]
        return "\n".join(lines) + "\n"


_BYTES = {
    "match": "hash to what the chain names",
    "missing": "not here",
    "differ": "REFUSED: not what the chain names",
}


def model_card(model: RegisteredModel, version: Version) -> ModelCard:
    """Five queries, and one look at the blob."""
    task = model.task
    config = task_config(task)
    facts = configuration_facts(config)
    stored = bytes_of(version)
    contributors, agreements = _people(task, version)
    return ModelCard(
        task=task,
        version=version,
        stored=stored,
        parameters=_parameters(version, stored),
        intended=_intended(config),
        classes=config.dataset.classes if config else None,
        input_shape=config.dataset.input_shape if config else (),
        data_facts=_data_facts(config, facts),
        training_facts=facts[3:],
        privacy=_privacy(config, version.number),
        contributors=contributors,
        agreements=agreements,
        hashes=_hashes(task, version),
        transactions=_transactions(task, version),
        limits=_limits(task, version, config, len(contributors), len(agreements)),
        config=task.config,
    )


def _people(task: Task, version: Version) -> tuple[list[Contributor], list[Agreement]]:
    of_rounds = Update.objects.filter(round__task=task, round__number__lte=version.number)
    rounds = dict(of_rounds.values_list("participant_id").annotate(rounds=Count("pk")).order_by())
    last = dict(of_rounds.order_by("round__number").values_list("participant_id", "samples"))
    members = {m.pk: m for m in task.members.filter(pk__in=rounds)}
    earned = dict(
        Reward.objects.filter(round__task=task, round__number__lte=version.number)
        .order_by("round__number")
        .values_list("participant_id", "cumulative")
    )
    said = list(
        TaskEvent.objects.filter(
            task=task, name="AggregateSubmitted", round_number=version.number
        ).select_related("log")
    )
    names: Names = names_of([*(m.address for m in members.values()), *(e.actor for e in said)])
    total = sum(last.values())
    contributors = [
        Contributor(
            party=names.party(member.address),
            samples=last[pk],
            share=last[pk] / total if total else 0.0,
            rounds=rounds[pk],
            earned=earned.get(pk, 0),
        )
        for pk, member in sorted(members.items(), key=lambda pair: pair[1].index)
    ]
    agreements = [
        Agreement(
            names.party(event.actor),
            event.tx_hash,
            event.log.args.get("modelHash") == version.model_hash,
        )
        for event in said
    ]
    return contributors, agreements


def _parameters(version: Version, stored: Bytes) -> int | None:
    if stored.state != "match":
        return None
    weights = BlobStore.default().open_weights(version.model_hash)
    return sum(tensor.size for tensor in weights.values())


def _intended(config: TaskConfig | None) -> str:
    if config is None:
        return (
            "Trained by another client's task: its configuration is not stored here, only its hash."
        )
    data = config.dataset
    shape = " × ".join(map(str, data.input_shape))
    what = f"{shape} pixels" if len(data.input_shape) > 1 else f"{shape} numbers"
    return f"Tells {data.classes} classes apart from {what} like those of {_label(config)}."


def _label(config: TaskConfig) -> str:
    source = config.dataset.source
    return source.file if source else DATASETS[config.dataset.name].label


def _data_facts(config: TaskConfig | None, facts: Sequence[Fact]) -> list[Fact]:
    if config is None:
        return []
    choice = DATASETS[config.dataset.name]
    source = config.dataset.source
    return [
        facts[0],
        Fact("About it", f"{source.file}, SHA-256 {source.sha256}" if source else choice.help),
        *facts[1:3],
        *([Fact("Samples", f"{config.dataset.samples:,}")] if config.dataset.samples else []),
    ]


def _privacy(config: TaskConfig | None, rounds: int) -> str:
    """What bounds what an update, or the model, tells about a participant's data."""
    if config is None:
        return "Not known: the configuration is not stored here."
    params = config.privacy.params
    if config.privacy.noisy and rounds:
        spent = epsilon(params["noise"], params["delta"], rounds)
        return (
            f"Every change was clipped to length {params['clip']:g} and given Gaussian noise "
            f"of {params['noise']:g} clip lengths before it left its participant: (ε, δ) = "
            f"({spent:.3g}, {params['delta']:g}) for the participant's whole data set over "
            f"{count(rounds, 'round')}. Smaller ε is stronger; above 10 it promises little."
        )
    if config.privacy.noisy:
        return "Nobody has sent an update yet, so nothing has been told of anybody's data."
    return (
        "Raw data stayed with the participants. Nothing more is promised: updates were neither "
        "clipped nor noised, so the aggregator saw each, and the model may remember samples."
    )


def _hashes(task: Task, version: Version) -> list[Entry]:
    rows = [("Model", version.model_hash), ("Started from", version.base_hash)]
    rows.append(("Configuration", task.config_hash))
    found = task.round_set.filter(number=version.number).first()
    if found is not None:
        rows.append(("Reward root", found.reward_root))
    return [Entry(name, value, "hash") for name, value in rows if value]


def _transactions(task: Task, version: Version) -> list[Entry]:
    rows = [("Task created", task.created_tx)]
    found = task.round_set.filter(number=version.number).first()
    if found is not None:
        rows += [("Round opened", found.opened_tx), ("Round finalised", found.finalized_tx)]
    return [Entry(name, value, "transaction") for name, value in rows if value]


def _limits(
    task: Task, version: Version, config: TaskConfig | None, people: int, evaluators: int
) -> list[str]:
    limits = []
    if version.number == 0:
        limits.append("Untrained: these are the weights before round 1. It answers at random.")
    if config is not None:
        data = config.dataset
        limits.append(
            f"Held-out samples come from {_label(config)} too. Data of another origin "
            "may be answered worse, and nothing here measures how much."
        )
        if data.partition != "iid":
            limits.append(
                f"Participants held unlike data ({PARTITIONS[data.partition].label}): classes "
                "that few of them had may be answered worse than the average says."
            )
        if config.algorithm.name not in ROBUST:
            limits.append(
                f"{ALGORITHMS[config.algorithm.name].label} does not leave out hostile updates "
                "that pass the checks of form and norm."
            )
    if version.number:
        limits.append(
            f"Accuracy is what {count(evaluators, 'evaluator')} computed and signed (quorum "
            f"{task.quorum}); the chain holds their agreement, it does not compute."
        )
    if 0 < people < 3:
        limits.append(
            f"Only {count(people, 'participant')} trained it: each can work out what the others "
            "added."
        )
    limits.append("Not examined for fairness between groups, nor against adversarial inputs.")
    return limits


def _facts(title: str, facts: Sequence[Fact]) -> list[str]:
    if not facts:
        return []
    rows = [f"| {fact.name} | {_plain(fact.value)} |" for fact in facts]
    return ["", f"## {title}", "", "| what | value |", "|---|---|", *rows]


def _utc(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, tz=UTC).isoformat()


def _plain(text: str) -> str:
    """Text of people inside Markdown: no table breaks, no markup, no HTML."""
    for mark in "\\|`*_[]<>#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
