"""Who has what: the labels of each participant's share, from the very partition that training
will use. No TensorFlow, and of pictures in files the labels alone are read."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sessions_app.selectors.task.series import csv_text
from training import data
from training.errors import TrainingError
from training.specs import DatasetSpec, TaskConfig

SHOWN = 40  # bars in the picture; tables and exports hold all
COLOURS = 10
BAR = 1000  # width of the picture's longest bar


@dataclass(frozen=True)
class Piece:
    """A class in a bar: where it begins and how wide it is, of BAR; ``key`` 1 to COLOURS."""

    label: str
    count: int
    x: float
    width: float
    key: int


@dataclass(frozen=True)
class Share:
    slot: int
    samples: int
    counts: Sequence[int]
    pieces: Sequence[Piece]

    @property
    def name(self) -> str:
        return f"Share {self.slot + 1}"


@dataclass(frozen=True)
class PartitionPicture:
    classes: Sequence[str]
    shares: Sequence[Share]
    holdout: int
    holdout_counts: Sequence[int]

    @property
    def shown(self) -> Sequence[Share]:
        return self.shares[:SHOWN]

    @property
    def hidden(self) -> int:
        return len(self.shares) - len(self.shown)

    @property
    def keys(self) -> list[tuple[str, int]]:
        return [(name, at % COLOURS + 1) for at, name in enumerate(self.classes)]

    @property
    def sentence(self) -> str:
        sizes = [share.samples for share in self.shares]
        most_classes = max(sum(1 for n in share.counts if n) for share in self.shares)
        fewest = min(sum(1 for n in share.counts if n) for share in self.shares)
        spread = (
            f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
        )
        kinds = f"{fewest}" if fewest == most_classes else f"{fewest} to {most_classes}"
        return (
            f"{spread} samples each, of {kinds} of {len(self.classes)} classes; "
            f"{self.holdout:,} held out."
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "shares": [
                {"share": s.slot + 1, "samples": s.samples, "counts": list(s.counts)}
                for s in self.shares
            ],
            "holdout": {"samples": self.holdout, "counts": list(self.holdout_counts)},
        }

    def as_csv(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["share", "samples", *map(csv_text, self.classes)])
        for share in self.shares:
            writer.writerow([share.slot + 1, share.samples, *share.counts])
        writer.writerow(["held out", self.holdout, *self.holdout_counts])
        return out.getvalue()


def partition_picture(config: TaskConfig) -> PartitionPicture:
    """Raises DataError when the data cannot be read or dealt so."""
    return _picture(config.dataset, config.participants, config.seed)


@lru_cache(maxsize=64)
def _picture(spec: DatasetSpec, participants: int, seed: int) -> PartitionPicture:
    try:
        found = data.summary(spec, participants, seed)
    except OSError as error:
        raise TrainingError(f"The data cannot be read: {error}.") from error
    largest = max(slot["samples"] for slot in found["slots"]) or 1
    return PartitionPicture(
        classes=found["classes"],
        shares=[
            Share(
                slot["slot"],
                slot["samples"],
                slot["counts"],
                _pieces(slot["counts"], found["classes"], largest),
            )
            for slot in found["slots"]
        ],
        holdout=found["holdout"]["samples"],
        holdout_counts=found["holdout"]["counts"],
    )


def _pieces(counts: Sequence[int], classes: Sequence[str], largest: int) -> list[Piece]:
    pieces, at = [], 0.0
    for index, count in enumerate(counts):
        width = BAR * count / largest
        if count:
            label = classes[index]
            pieces.append(Piece(label, count, round(at, 1), round(width, 1), index % COLOURS + 1))
        at += width
    return pieces
