"""What a hostile participant may send instead of an honest update. Pure.

For tests, benchmarks and drills: every defence is measured against these. All of them pass the
format checks; some the norm bound catches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.data import Samples
from training.errors import DataError
from training.weights import Float32, Weights


@dataclass(frozen=True, eq=False)
class Attempt:
    """What the attacker has: the global model, what it would honestly send (`own`), the same of
    all that conspire (`allies`, itself among them), updates of others it has seen (`seen`)."""

    reference: Weights
    own: Weights
    allies: Sequence[Weights]
    seen: Sequence[Weights]
    rng: np.random.Generator
    strength: float


@dataclass(frozen=True)
class Attack:
    """`strength` is the usual one; `on_data`: the attacker trains honestly, on wrong labels."""

    name: str
    help: str
    strength: float
    craft: Callable[[Attempt], dict[str, Float32]]
    on_data: bool = False


def flip_labels(share: Samples, classes: int) -> Samples:
    """Class c becomes classes - 1 - c: Fang et al. 2020 (arXiv 1911.11815)."""
    return Samples(share.x, (classes - 1 - share.y).astype(np.int32))


def _own(attempt: Attempt) -> dict[str, Float32]:
    return dict(attempt.own)


def _moved(attempt: Attempt, factor: float) -> dict[str, Float32]:
    """reference + factor · (own - reference)."""
    return {
        name: (before + factor * (attempt.own[name].astype(np.float64) - before)).astype(np.float32)
        for name, before in attempt.reference.items()
    }


def _gaussian(attempt: Attempt) -> dict[str, Float32]:
    """The global model plus noise `strength` times as large as an honest update."""
    square = sum(
        float(((attempt.own[name].astype(np.float64) - before) ** 2).sum())
        for name, before in attempt.reference.items()
    )
    count = sum(before.size for before in attempt.reference.values())
    deviation = attempt.strength * (square / count) ** 0.5
    return {
        name: (before + attempt.rng.normal(0.0, deviation, before.shape)).astype(np.float32)
        for name, before in sorted(attempt.reference.items())
    }


def _copycat(attempt: Attempt) -> dict[str, Float32]:
    if not attempt.seen:
        raise DataError("a copycat, but no other update to copy. Give it one in `seen`.")
    return dict(attempt.seen[0])


def _collusion(attempt: Attempt) -> dict[str, Float32]:
    """All allies send mean - strength · deviation of what they would send honestly, just inside
    the crowd: "a little is enough", Baruch et al. 2019 (arXiv 1902.06156)."""
    crafted = {}
    for name in attempt.reference:
        stack = np.stack([one[name].astype(np.float64) for one in attempt.allies])
        crafted[name] = (stack.mean(axis=0) - attempt.strength * stack.std(axis=0)).astype(
            np.float32
        )
    return crafted


ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("label_flip", "Trains on labels turned around.", 1.0, _own, on_data=True),
        Attack(
            "sign_flip",
            "Sends the opposite of what it learned, strength times as long.",
            4.0,
            lambda attempt: _moved(attempt, -attempt.strength),
        ),
        Attack("gaussian", "Sends noise, strength times as large as an update.", 10.0, _gaussian),
        Attack(
            "scaling",
            "Blows its update up to replace the model (Bagdasaryan et al. 2020).",
            10.0,
            lambda attempt: _moved(attempt, attempt.strength),
        ),
        Attack(
            "free_rider",
            "Returns the global model without any work.",
            1.0,
            lambda attempt: dict(attempt.reference),
        ),
        Attack("copycat", "Sends the bytes of somebody else's update.", 1.0, _copycat),
        Attack("collusion", "Several send the same lie, just inside the crowd.", 1.5, _collusion),
    )
}
