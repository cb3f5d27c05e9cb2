"""What stands against rejected updates: one canonical document a round. Pure.

Its keccak256 is the evidence hash of `FLCoordinator.slash`, so evaluators that found the same
agree on the hash, and whoever has the document and the updates can check every line of it. No
clock and no name of an evaluator is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.canonical import canonical_json
from training.errors import UpdateRejected
from training.jobs import AggregateJob, UpdateRef

VERSION = 1


@dataclass(frozen=True)
class Rejection:
    """`reason` is one of `UpdateRejected.REASONS`, `message` says value and limit."""

    update: UpdateRef
    reason: str
    message: str

    @classmethod
    def of(cls, update: UpdateRef, error: UpdateRejected) -> Rejection:
        return cls(update, error.reason, error.message)


def document(job: AggregateJob, config_hash: str, rejections: Sequence[Rejection]) -> bytes:
    """Canonical JSON: which task, round, configuration and global model, then each rejected
    update in the order of addresses and member indices."""
    ordered = sorted(rejections, key=lambda one: (one.update.participant.lower(), one.update.index))
    lines: list[dict[str, Any]] = [
        {
            **asdict(one.update),
            "participant": one.update.participant.lower(),
            "reason": one.reason,
            "message": one.message,
        }
        for one in ordered
    ]
    return canonical_json(
        {
            "kind": "rejected updates",
            "version": VERSION,
            "task_id": job.task_id,
            "round": job.round,
            "config_hash": config_hash,
            "model_hash": job.model_ref,
            "rejected": lines,
        }
    )
