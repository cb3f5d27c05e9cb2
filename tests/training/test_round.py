"""A round: bad updates are named and left out, the rest is averaged, evaluated and scored."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.factories import (
    Evaluation,
    address,
    evaluate_logistic,
    gradient_logistic,
    logistic_weights,
)
from training import data
from training.aggregation import Update, weighted_mean
from training.blobs import BlobStore
from training.errors import BlobCorrupt, BlobMissing, SpecError
from training.round import aggregate_round
from training.scoring import ppm
from training.specs import (
    AggregateJob,
    AggregateResult,
    AlgorithmSpec,
    ModelSpec,
    TaskConfig,
    UpdateRef,
    keccak_hex,
    update_hash,
)
from training.weights import Float32, encode

CONFIG = TaskConfig(
    model=ModelSpec("logistic"),
    algorithm=AlgorithmSpec("fedavg", {"norm_bound": 50.0}),
    participants=4,
)
MEMBERS = [address(number) for number in (4, 3, 2, 1)]
TASK, ROUND = 9, 2


class Round:
    """A global model and one honest gradient step of each of four participants."""

    def __init__(self, root: Path) -> None:
        self.blobs = BlobStore(root)
        self.reference = logistic_weights(CONFIG, np.random.default_rng(0))
        self.model_ref = self.blobs.put(encode(self.reference))
        self.weights = [self._step(slot) for slot in range(4)]
        self.updates = [self.ref(slot, weights) for slot, weights in enumerate(self.weights)]

    def _step(self, slot: int) -> dict[str, Float32]:
        share = data.share(CONFIG, slot)
        slope = gradient_logistic(self.reference, share.x, share.y)
        return {
            name: (tensor - 2.0 * slope[name]).astype(np.float32)
            for name, tensor in self.reference.items()
        }

    def ref(self, slot: int, weights: dict[str, Float32]) -> UpdateRef:
        return self.ref_to(slot, self.blobs.put(encode(weights)))

    def ref_to(self, slot: int, content_hash: str) -> UpdateRef:
        sender = MEMBERS[slot]
        bound = update_hash(sender, TASK, ROUND, content_hash)
        return UpdateRef(sender, content_hash, len(data.share(CONFIG, slot)), slot, bound)

    def job(self, updates: list[UpdateRef], config: TaskConfig = CONFIG) -> AggregateJob:
        return AggregateJob(config.to_dict(), TASK, ROUND, self.model_ref, updates, MEMBERS)

    def run(self, updates: list[UpdateRef], config: TaskConfig = CONFIG) -> AggregateResult:
        return aggregate_round(self.job(updates, config), self.blobs, evaluate_logistic)


@pytest.fixture
def round_(tmp_path: Path) -> Round:
    return Round(tmp_path)


def test_honest_round_averages_evaluates_and_scores(round_: Round) -> None:
    result = round_.run(round_.updates)
    assert result.rejected == []
    assert result.accepted == sorted(MEMBERS)
    expected = weighted_mean(
        [
            Update(ref.participant, ref.samples, lambda weights=weights: weights)
            for ref, weights in reversed([*zip(round_.updates, round_.weights, strict=True)])
        ],
        round_.reference,
    )
    assert result.model_hash == keccak_hex(encode(expected))
    assert encode(round_.blobs.open_weights(result.model_hash)) == encode(expected)
    overall = evaluate_logistic(CONFIG, expected)
    before = evaluate_logistic(CONFIG, round_.reference)
    assert (result.accuracy, result.loss) == (overall.accuracy, overall.loss)
    assert result.accuracy_ppm == ppm(overall.correct, overall.total)
    assert result.loss < before.loss
    for ref, weights in zip(round_.updates, round_.weights, strict=True):
        own = evaluate_logistic(CONFIG, weights)
        assert result.scores[ref.participant] == ppm(own.correct, own.total)
        metrics = result.update_metrics[ref.participant]
        assert metrics["accuracy"] == own.accuracy
        assert metrics["samples"] == result.samples[ref.participant] == ref.samples
        assert 0 < metrics["norm"] < 50


def test_result_does_not_depend_on_who_asks_or_in_which_order(
    round_: Round, tmp_path: Path
) -> None:
    first = round_.run(round_.updates)
    other = Round(tmp_path / "elsewhere")
    second = other.run(list(reversed(other.updates)))
    times = {"seconds_score": 0.0, "seconds_aggregate": 0.0}
    assert replace(first, **times) == replace(second, **times)


def test_result_is_json(round_: Round) -> None:
    result = round_.run(round_.updates[:3])
    plain = json.loads(json.dumps(result.to_dict()))
    assert AggregateResult.from_dict(plain).scores == result.scores


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("equal", lambda samples: 1), ("samples", lambda samples: samples)],
)
def test_other_reward_modes_score_otherwise(
    round_: Round, mode: str, expected: Callable[[int], int]
) -> None:
    config = replace(CONFIG, reward_mode=mode)
    result = round_.run(round_.updates, config)
    assert result.scores == {ref.participant: expected(ref.samples) for ref in round_.updates}


def _nan(round_: Round) -> UpdateRef:
    bad = {name: tensor.copy() for name, tensor in round_.weights[0].items()}
    bad["logits/bias"][3] = np.nan
    return round_.ref(0, bad)


def _missing(round_: Round) -> UpdateRef:
    return round_.ref_to(0, keccak_hex(b"never stored"))


def _corrupt(round_: Round) -> UpdateRef:
    path = round_.blobs.path(round_.updates[0].content_hash)
    data_ = bytearray(path.read_bytes())
    data_[-1] ^= 1
    path.write_bytes(data_)
    return round_.updates[0]


def _truncated(round_: Round) -> UpdateRef:
    return round_.ref_to(0, round_.blobs.put(encode(round_.weights[0])[:-4]))


def _oversized(round_: Round) -> UpdateRef:
    return round_.ref_to(0, round_.blobs.put(encode(round_.weights[0]) + bytes(5000)))


def _wrong_key(round_: Round) -> UpdateRef:
    weights = round_.weights[0]
    return round_.ref(
        0, {"logits/kernel": weights["logits/kernel"], "logits/bios": weights["logits/bias"]}
    )


def _wrong_shape(round_: Round) -> UpdateRef:
    weights = dict(round_.weights[0])
    weights["logits/kernel"] = np.ascontiguousarray(weights["logits/kernel"].T)
    return round_.ref(0, weights)


def _scaled(round_: Round) -> UpdateRef:
    """Model replacement: the update blown up so that it decides the average."""
    return round_.ref(0, {n: (t * 1000).astype(np.float32) for n, t in round_.weights[0].items()})


def _stranger(round_: Round) -> UpdateRef:
    return replace(round_.updates[0], participant=address(77), update_hash="")


def _no_samples(round_: Round) -> UpdateRef:
    return replace(round_.updates[0], samples=0)


def _absurd_samples(round_: Round) -> UpdateRef:
    return replace(round_.updates[0], samples=2**32 - 1)


def _copied(round_: Round) -> UpdateRef:
    """Somebody else's submission: its hash binds the other sender."""
    return replace(round_.updates[1], participant=MEMBERS[0], index=0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_nan, "finite"),
        (_missing, "missing"),
        (_corrupt, "hash"),
        (_truncated, "format"),
        (_oversized, "size"),
        (_wrong_key, "keys"),
        (_wrong_shape, "shape"),
        (_scaled, "norm"),
        (_stranger, "stranger"),
        (_no_samples, "samples"),
        (_absurd_samples, "samples"),
        (_copied, "hash"),
    ],
)
def test_bad_update_is_rejected_by_name_and_the_round_goes_on(
    round_: Round, make: Callable[[Round], UpdateRef], reason: str
) -> None:
    bad = make(round_)
    result = round_.run([bad, *round_.updates[1:]])
    assert [(who, why.split(": ")[0]) for who, why in result.rejected] == [
        (bad.participant, reason)
    ]
    assert result.accepted == sorted(MEMBERS[1:])
    assert bad.participant not in result.scores
    assert bad.participant not in result.update_metrics
    assert result.model_hash == round_.run(round_.updates[1:]).model_hash


def test_update_whose_outputs_overflow_is_rejected(round_: Round) -> None:
    def evaluate(config: TaskConfig, weights: Mapping[str, Float32]) -> Evaluation:
        metrics = evaluate_logistic(config, weights)
        first = np.array_equal(weights["logits/bias"], round_.weights[0]["logits/bias"])
        return replace(metrics, loss=float("nan")) if first else metrics

    result = aggregate_round(round_.job(round_.updates), round_.blobs, evaluate)
    assert result.rejected == [(MEMBERS[0], "finite: its loss on the held-out samples is nan")]
    assert result.accepted == sorted(MEMBERS[1:])


def test_addresses_are_spelt_as_the_members_spell_them(round_: Round) -> None:
    checksummed = "0x52908400098527886E0F7030069857D2E4169EE7"
    lower = UpdateRef(checksummed.lower(), round_.updates[0].content_hash, 10, 0)
    job = replace(round_.job([lower]), members=[checksummed])
    result = aggregate_round(job, round_.blobs, evaluate_logistic)
    assert result.accepted == [checksummed]
    assert list(result.scores) == list(result.samples) == [checksummed]
    assert list(result.update_metrics) == [checksummed]


def test_second_update_of_one_participant_does_not_count(round_: Round) -> None:
    again = round_.ref(1, round_.weights[0])
    result = round_.run([*round_.updates, again])
    assert [(who, why.split(": ")[0]) for who, why in result.rejected] == [
        (MEMBERS[1], "duplicate")
    ]
    assert len(result.accepted) == 4


def test_round_without_any_acceptable_update_keeps_the_model(round_: Round) -> None:
    for updates in ([], [_nan(round_)]):
        result = round_.run(updates)
        assert result.model_hash == round_.model_ref
        assert result.accepted == []
        assert result.scores == {}
        assert result.accuracy == evaluate_logistic(CONFIG, round_.reference).accuracy


def test_progress_counts_updates_then_aggregates(round_: Round) -> None:
    seen: list[tuple[str, int, int]] = []
    aggregate_round(
        round_.job(round_.updates),
        round_.blobs,
        evaluate_logistic,
        lambda stage, done, total: seen.append((stage, done, total)),
    )
    assert seen == [
        *(("scoring", done, 4) for done in range(5)),
        ("aggregating", 0, 1),
        ("aggregating", 1, 1),
    ]


def test_bad_global_model_stops_the_round(round_: Round) -> None:
    job = replace(round_.job(round_.updates), model_ref=keccak_hex(b"nowhere"))
    with pytest.raises(BlobMissing):
        aggregate_round(job, round_.blobs, evaluate_logistic)
    round_.blobs.path(round_.model_ref).write_bytes(b"rubbish")
    with pytest.raises(BlobCorrupt):
        round_.run(round_.updates)


def test_scorings_pay_gain_and_nothing_for_harm(round_: Round) -> None:
    """Participant 0 sends the opposite of what it learned."""
    harm = {
        name: (3 * round_.reference[name] - 2 * round_.weights[0][name]).astype(np.float32)
        for name in round_.reference
    }
    updates = [round_.ref(0, harm), *round_.updates[1:]]
    for scoring in ("marginal_gain", "leave_one_out", "shapley", "shapley_sampled"):
        config = replace(CONFIG, scoring=scoring)
        result = round_.run(updates, config)
        assert result.accepted == sorted(MEMBERS)
        assert result.scores[MEMBERS[0]] == 0
        assert sum(result.scores.values()) > 0
        again = round_.run(list(reversed(updates)), config)
        assert (again.scores, again.model_hash) == (result.scores, result.model_hash)


def test_exact_shapley_shares_out_at_least_what_the_round_gained(round_: Round) -> None:
    result = round_.run(round_.updates, replace(CONFIG, scoring="shapley"))
    gained = result.accuracy - evaluate_logistic(CONFIG, round_.reference).accuracy
    assert gained > 0
    # More when somebody did harm (that counts as 0), less only by rounding down.
    assert sum(result.scores.values()) >= 1e6 * gained - 4


def test_progress_of_a_costly_scoring_stays_within_its_estimate(round_: Round) -> None:
    seen: list[tuple[int, int]] = []

    def report(stage: str, done: int, total: int) -> None:
        if stage == "gain":
            seen.append((done, total))

    job = round_.job(round_.updates, replace(CONFIG, scoring="shapley"))
    aggregate_round(job, round_.blobs, evaluate_logistic, report)
    assert seen == [(done, 16) for done in range(1, 17)]


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi"])
def test_state_of_a_server_optimiser_goes_from_round_to_round(round_: Round, name: str) -> None:
    config = replace(CONFIG, algorithm=AlgorithmSpec(name))
    first = round_.run(round_.updates, config)
    assert round_.blobs.exists(first.state_ref)
    carried = aggregate_round(
        replace(round_.job(round_.updates, config), state_ref=first.state_ref),
        round_.blobs,
        evaluate_logistic,
    )
    assert carried.model_hash != first.model_hash
    assert carried.state_ref != first.state_ref
    nobody = aggregate_round(
        replace(round_.job([], config), state_ref=first.state_ref), round_.blobs, evaluate_logistic
    )
    assert (nobody.model_hash, nobody.state_ref) == (round_.model_ref, first.state_ref)


def test_blockflow_heeds_the_other_judges(round_: Round) -> None:
    config = replace(CONFIG, algorithm=AlgorithmSpec("blockflow"))
    alone = round_.run(round_.updates, config)
    mean = round_.run(round_.updates, replace(CONFIG, algorithm=AlgorithmSpec("score_mean")))
    assert alone.loss == pytest.approx(mean.loss, rel=1e-4)  # the same but for rounding to ppm
    # Two judges who find members 1 to 3 worthless outvote this evaluator.
    sheet = [900_000, 0, 0, 0]
    job = replace(round_.job(round_.updates, config), sheets={address(8): sheet, address(9): sheet})
    judged = aggregate_round(job, round_.blobs, evaluate_logistic)
    only = round_.blobs.open_weights(judged.model_hash)
    assert encode(only) == encode(round_.weights[0])


def test_sheets_must_fit_the_members(round_: Round) -> None:
    for sheet in ([1, 2, 3], [1, 2, 3, 1_000_001]):
        with pytest.raises(SpecError, match="sheets"):
            replace(round_.job(round_.updates), sheets={address(8): sheet})


def test_rejected_updates_stand_in_a_document_that_hashes_to_the_evidence(round_: Round) -> None:
    """Whoever finds the same, in whatever order the updates came, gets the same evidence hash."""
    gone = replace(round_.updates[0], content_hash="0x" + "5" * 64, update_hash="")
    few = replace(round_.updates[2], samples=0)
    result = round_.run([few, round_.updates[1], gone])
    assert result.evidence == round_.run([gone, few, round_.updates[1]]).evidence
    assert round_.run(round_.updates).evidence == ""
    stored = round_.blobs.get(result.evidence)
    assert keccak_hex(stored) == result.evidence
    document = json.loads(stored)
    assert (document["task_id"], document["round"]) == (TASK, ROUND)
    assert document["config_hash"] == CONFIG.hash()
    assert document["model_hash"] == round_.model_ref
    found = {line["participant"]: line for line in document["rejected"]}
    assert [*found] == sorted(one.participant.lower() for one in (gone, few))
    assert found[gone.participant]["reason"] == "missing"
    assert found[few.participant]["reason"] == "samples"
    for who, why in result.rejected:
        line = found[who.lower()]
        assert why == f"{line['reason']}: {line['message']}"
    assert AggregateResult.from_dict(result.to_dict()).evidence == result.evidence
