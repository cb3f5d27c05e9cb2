"""How the fields of the wizard stand on its pages: which card of which step, and when shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.forms.boundfield import BoundField
from django.utils.text import slugify

from sessions_app.forms.tables import SECONDS


@dataclass(frozen=True)
class FieldRow:
    """``shown_for``: the choices it belongs to, as ``model=mlp``, several parted by ``;``;
    ``hidden`` while another is made. ``hint``: the sentence of the choice that is made."""

    field: BoundField
    shown_for: str
    hidden: bool
    hint: str


@dataclass(frozen=True)
class Section:
    """A card of a step. ``more``: folded away until it is asked for, or wrong."""

    title: str
    names: Sequence[str]
    more: bool = False
    rows: Sequence[FieldRow] = field(default_factory=list)

    @property
    def id(self) -> str:
        return slugify(self.title.split(":")[0])

    @property
    def shown_for(self) -> str:
        """What all of its fields belong to; empty when a field is always shown."""
        found = {row.shown_for for row in self.rows}
        return found.pop() if len(found) == 1 else ""

    @property
    def hidden(self) -> bool:
        return bool(self.shown_for) and all(row.hidden for row in self.rows)

    @property
    def has_errors(self) -> bool:
        return any(row.field.errors for row in self.rows)


@dataclass(frozen=True)
class Problem:
    """What must be settled before the task can be made: where, and what to write."""

    step: str
    name: str
    label: str
    message: str


def layout(names: Iterable[str]) -> dict[str, list[Section]]:
    """Step → its cards. ``names``: all fields, of which those of a kind stand together."""
    names = list(names)

    def of(kind: str) -> list[str]:
        return [name for name in names if name.startswith(f"{kind}__")]

    return {
        "data": [
            Section("Task", ["title"]),
            Section(
                "Data",
                ["dataset", "own_file", "participants", "partition", *of("partition")],
            ),
            Section("Everyone's own data", of("private")),
            Section("Model", ["model", *of("model")]),
            Section("More: held-out share, seed", ["holdout", "seed"], more=True),
        ],
        "training": [
            Section("Rounds", ["rounds", "algorithm", *of("algorithm")]),
            Section("Local training", of("local")),
            Section("Scoring", ["scoring", *of("scoring")]),
            Section("Privacy", ["privacy", *of("privacy")]),
        ],
        "terms": [
            Section("Money", ["pool", "stake", "reward_mode"]),
            Section("Who takes part", ["hosted_places", "min_participants"]),
            Section("Invitations", of("invite")),
            Section("Who scores", ["evaluators", "outside_evaluators", "quorum"]),
            Section("Deadlines: how long to wait for whom", list(SECONDS), more=True),
        ],
    }
