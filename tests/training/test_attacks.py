"""Hostile participants: what they send, and that the defences stand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.factories import (
    address,
    evaluate_logistic,
    gradient_logistic,
    logistic_weights,
    tensors,
)
from training import data
from training.attacks import ATTACKS, Attempt, flip_labels
from training.blobs import BlobStore
from training.data import Samples
from training.errors import DataError
from training.round import aggregate_round
from training.specs import AggregateJob, AlgorithmSpec, ModelSpec, TaskConfig, UpdateRef
from training.weights import Float32, Weights, encode

ATTACKERS = (7, 8, 9)
CONFIG = TaskConfig(model=ModelSpec("logistic"), participants=10, scoring="shapley")
RULES = {
    "median": {},
    "trimmed_mean": {"trim": 0.3},
    "multi_krum": {"liars": 0.3},
    "krum": {"liars": 0.3},
}


def attempt(**changes: object) -> Attempt:
    base = Attempt(
        reference=tensors(w=[1, 1]),
        own=tensors(w=[2, 1]),
        allies=[tensors(w=[2, 1]), tensors(w=[4, 1])],
        seen=[tensors(w=[9, 9])],
        rng=np.random.default_rng(0),
        strength=2.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_what_attackers_send_by_hand() -> None:
    def sent(name: str) -> list[float]:
        return [float(value) for value in ATTACKS[name].craft(attempt())["w"]]

    assert sent("label_flip") == [2, 1]  # honest work on wrong labels
    assert sent("sign_flip") == [-1, 1]  # 1 - 2 · (2 - 1)
    assert sent("scaling") == [3, 1]  # 1 + 2 · (2 - 1)
    assert sent("free_rider") == [1, 1]
    assert sent("copycat") == [9, 9]
    assert sent("collusion") == [1, 1]  # mean 3, deviation 1: 3 - 2 · 1
    with pytest.raises(DataError, match="no other update to copy"):
        ATTACKS["copycat"].craft(attempt(seen=[]))


def test_gaussian_noise_is_as_large_as_said() -> None:
    reference = {"w": np.zeros(40_000, np.float32)}
    own = {"w": np.full(40_000, 0.5, np.float32)}
    noise = ATTACKS["gaussian"].craft(attempt(reference=reference, own=own, strength=3.0))["w"]
    assert noise.std() == pytest.approx(1.5, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.03)


def test_labels_are_turned_around() -> None:
    share = Samples(np.zeros((3, 2), np.float32), np.array([0, 1, 9], np.int32))
    assert flip_labels(share, 10).y.tolist() == [9, 8, 0]


class Crowd:
    """Ten participants on logistic regression, the last three hostile; rounds run for real."""

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobStore(folder)
        self.members = [address(slot + 1) for slot in range(10)]

    def learn(self, reference: Weights, share: Samples) -> dict[str, Float32]:
        weights = {name: tensor.astype(np.float64) for name, tensor in reference.items()}
        for _ in range(8):
            slope = gradient_logistic(weights, share.x, share.y)  # type: ignore[arg-type]
            weights = {name: tensor - 1.0 * slope[name] for name, tensor in weights.items()}
        return {name: tensor.astype(np.float32) for name, tensor in weights.items()}

    def run(self, config: TaskConfig, attack: str | None, rounds: int = 4) -> tuple[float, float]:
        """Accuracy after the last round, and the attackers' share of all scores."""
        reference: Weights = logistic_weights(config, np.random.default_rng(0))
        bad = total = 0
        accuracy = 0.0
        for number in range(1, rounds + 1):
            sent = self._sent(config, reference, attack, number)
            refs = [
                UpdateRef(self.members[slot], self.blobs.put(encode(weights)), 100, slot)
                for slot, weights in enumerate(sent)
            ]
            ref = self.blobs.put(encode(reference))
            job = AggregateJob(config.to_dict(), 1, number, ref, refs, self.members)
            result = aggregate_round(job, self.blobs, evaluate_logistic)
            assert result.rejected == []
            bad += sum(result.scores[self.members[slot]] for slot in ATTACKERS)
            total += sum(result.scores.values())
            accuracy = result.accuracy
            reference = self.blobs.open_weights(result.model_hash)
        return accuracy, bad / total

    def _sent(
        self, config: TaskConfig, reference: Weights, attack: str | None, number: int
    ) -> list[dict[str, Float32]]:
        shares = [data.share(config, slot) for slot in range(10)]
        if attack and ATTACKS[attack].on_data:
            shares = [
                flip_labels(share, 10) if slot in ATTACKERS else share
                for slot, share in enumerate(shares)
            ]
        learnt = [self.learn(reference, share) for share in shares]
        if attack is None:
            return learnt
        return [
            ATTACKS[attack].craft(
                Attempt(
                    reference,
                    weights,
                    learnt[7:],
                    learnt[:7],
                    np.random.default_rng([number, slot]),
                    ATTACKS[attack].strength,
                )
            )
            if slot in ATTACKERS
            else weights
            for slot, weights in enumerate(learnt)
        ]


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    return Crowd(tmp_path)


def test_thirty_percent_sign_flippers_ruin_the_mean_and_earn_nothing_where_it_stands(
    crowd: Crowd,
) -> None:
    for name, params in {"fedavg": {}, **RULES}.items():
        config = replace(CONFIG, algorithm=AlgorithmSpec(name, params))
        clean, _ = crowd.run(replace(config, scoring="accuracy", scoring_params={}), None)
        attacked, paid = crowd.run(config, "sign_flip")
        if name == "fedavg":
            assert attacked < clean - 0.3
        else:
            assert attacked > clean - 0.03
            assert paid <= 0.02


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_on_multi_krum(crowd: Crowd, attack: str) -> None:
    config = replace(
        CONFIG,
        algorithm=AlgorithmSpec("multi_krum", {"liars": 0.3}),
        scoring="accuracy",
        scoring_params={},
    )
    clean, _ = crowd.run(config, None)
    attacked, _ = crowd.run(config, attack)
    assert attacked > clean - 0.03


def test_a_copy_earns_no_more_than_its_original_and_less_than_two_together(crowd: Crowd) -> None:
    """The copycats of participant 0 share its worth: Shapley is symmetric."""
    reference = logistic_weights(CONFIG, np.random.default_rng(0))
    sent = crowd._sent(CONFIG, reference, "copycat", 1)
    refs = [
        UpdateRef(crowd.members[slot], crowd.blobs.put(encode(weights)), 100, slot)
        for slot, weights in enumerate(sent)
    ]
    job = AggregateJob(
        CONFIG.to_dict(), 1, 1, crowd.blobs.put(encode(reference)), refs, crowd.members
    )
    scores = aggregate_round(job, crowd.blobs, evaluate_logistic).scores
    same = {scores[crowd.members[slot]] for slot in (0, *ATTACKERS)}
    assert len(same) == 1


def test_a_free_rider_gains_nothing(crowd: Crowd) -> None:
    for scoring in ("marginal_gain", "leave_one_out"):
        config = replace(CONFIG, scoring=scoring, scoring_params={})
        _, paid = crowd.run(config, "free_rider", rounds=1)
        assert paid <= 0.02
