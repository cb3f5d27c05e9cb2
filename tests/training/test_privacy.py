"""Private updates: never longer than promised, noisy with a secret, and accounted for."""

import math
from dataclasses import replace
from pathlib import Path

import dp_accounting
import numpy as np
import pytest
from dp_accounting import rdp
from hypothesis import given
from hypothesis import strategies as st

from tests.training.factories import (
    address,
    evaluate_logistic,
    gradient_logistic,
    logistic_weights,
    tensors,
)
from training import data, privacy
from training.blobs import BlobStore
from training.errors import SpecError, TrainingError
from training.round import aggregate_round
from training.specs import (
    AggregateJob,
    AggregateResult,
    ModelSpec,
    PrivacySpec,
    TaskConfig,
    UpdateRef,
)
from training.weights import distance, encode

SECRET = b"sixteen bytes or"
PARAMS = {"clip": 1.0, "noise": 0.5, "delta": 1e-5}
QUIET = {**PARAMS, "noise": 1e-300}


def test_clipping_by_hand() -> None:
    """A step of (3, 4) is 5 long: clipped to 1 it is (0.6, 0.8). A shorter one stays."""
    before = tensors(w=[1, 1])
    clipped = privacy.privatise(tensors(w=[4, 5]), before, QUIET, b"k")
    assert clipped["w"] == pytest.approx([1.6, 1.8], abs=1e-6)
    short = tensors(w=[1.25, 1.5])
    assert privacy.privatise(short, before, QUIET, b"k")["w"].tolist() == [1.25, 1.5]
    assert privacy.privatise(before, before, QUIET, b"k")["w"].tolist() == [1, 1]


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), st.floats(1e-3, 1e3))
def test_no_step_is_longer_than_the_clip(step: list[float], clip: float) -> None:
    before = tensors(w=[0.0] * len(step))
    private = privacy.privatise(tensors(w=step), before, {**QUIET, "clip": clip}, b"k")
    assert distance(private, before) <= clip * (1 + 1e-5)


def test_noise_is_normal_and_as_large_as_said() -> None:
    """200,000 weights over two tensors: mean, deviation, tails and no correlation."""
    before = {"a": np.zeros((400, 300), np.float32), "b": np.zeros(80_000, np.float32)}
    private = privacy.privatise(before, before, {**PARAMS, "clip": 4.0}, b"key")
    drawn = np.concatenate([private["a"].reshape(-1), private["b"]]) / 2.0  # z · C = 2
    assert abs(drawn.mean()) < 5 / math.sqrt(drawn.size)
    assert drawn.std() == pytest.approx(1.0, abs=0.01)
    for limit, share in ((1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)):
        assert (abs(drawn) < limit).mean() == pytest.approx(share, abs=0.005)
    assert abs(np.corrcoef(drawn[:100_000], drawn[100_000:])[0, 1]) < 0.02
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


def test_a_job_delivered_again_draws_the_same_noise_and_no_other_job_does() -> None:
    job = {"task_id": 1, "round": 2, "participant": address(3), "model_ref": "0x1"}
    key = privacy.noise_key(SECRET, **job)
    assert key == privacy.noise_key(SECRET, **job)
    others = [{**job, name: "other"} for name in job]
    keys = {privacy.noise_key(SECRET, **other) for other in others}
    keys.add(privacy.noise_key(b"another secret of 16", **job))
    assert len(keys | {key}) == len(job) + 2
    with pytest.raises(TrainingError, match="it takes 16"):
        privacy.noise_key(b"short", **job)


def test_hosted_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCFL_NOISE_SECRET", "x" * 16)
    assert privacy.hosted_secret() == b"x" * 16
    monkeypatch.delenv("BCFL_NOISE_SECRET")
    with pytest.raises(TrainingError, match="BCFL_NOISE_SECRET has 0 bytes"):
        privacy.hosted_secret()


def delta_of(epsilon: float, noise: float) -> float:
    """Balle and Wang 2018 (arXiv 1805.06530), theorem 8, for sensitivity 1."""

    def phi(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    return phi(0.5 / noise - epsilon * noise) - math.exp(epsilon) * phi(
        -0.5 / noise - epsilon * noise
    )


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (2.0, 10), (0.7, 3), (5.0, 100)])
def test_epsilon_of_everyone_every_round_is_exact(noise: float, rounds: int) -> None:
    spent = privacy.epsilon(noise, 1e-5, rounds)
    assert delta_of(spent, noise / math.sqrt(rounds)) == pytest.approx(1e-5, rel=1e-3)


def test_epsilon_against_published_figures() -> None:
    # Balle and Wang: noise 1 at δ = 10⁻⁵ is ε = 4.377.
    assert privacy.epsilon(1.0, 1e-5, 1) == pytest.approx(4.377, abs=1e-3)
    # MNIST as in Abadi et al. 2016, here with batches of 256, 60 epochs and noise 1.1. Rényi
    # accounting (Mironov 2017) is another road to the same promise, and a little looser.
    steps, rate = 60 * 60_000 // 256, 256 / 60_000
    accountant = rdp.RdpAccountant()
    accountant.compose(
        dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(1.1)), steps
    )
    renyi = accountant.get_epsilon(1e-5)
    assert 0.85 * renyi < privacy.epsilon(1.1, 1e-5, steps, rate) < renyi


def test_epsilon_grows_with_rounds_and_shrinks_with_noise_and_sampling() -> None:
    spent = [privacy.epsilon(1.0, 1e-5, rounds) for rounds in range(6)]
    assert spent[0] == 0
    assert spent == sorted(set(spent))
    assert privacy.epsilon(2.0, 1e-5, 5) < spent[5]
    assert privacy.epsilon(1.0, 1e-5, 5, sampling_rate=0.1) < spent[5]
    assert privacy.epsilon(1.0, 1e-5, 4, averaged=4) == privacy.epsilon(2.0, 1e-5, 4)
    assert privacy.epsilon(0.0, 1e-5, 1) == math.inf


def test_configuration_of_privacy() -> None:
    plain = TaskConfig()
    assert "privacy" not in plain.to_dict()  # hashes of older tasks stay
    private = TaskConfig(privacy=PrivacySpec("gaussian", {"noise": 2}))
    assert private.to_dict()["privacy"] == {
        "name": "gaussian",
        "params": {"clip": 1.0, "noise": 2.0, "delta": 1e-5},
    }
    assert TaskConfig.from_dict(private.to_dict()) == private
    assert private.hash() != plain.hash()
    for privacy_, field in (
        ({"name": "magic"}, "privacy.name"),
        ({"name": "gaussian", "params": {"noise": 0}}, "privacy.params.noise"),
        ({"name": "none", "params": {"clip": 1}}, "privacy.params.clip"),
        ({"name": "gaussian", "params": {"delta": 0.05}}, None),
    ):
        config = {"privacy": privacy_, "participants": 10}
        if field is None:
            TaskConfig.from_dict(config)
            field, config["participants"] = "privacy.params.delta", 20
        with pytest.raises(SpecError) as caught:
            TaskConfig.from_dict(config)
        assert caught.value.field == field


def test_a_round_of_private_updates(tmp_path: Path) -> None:
    """Noise far longer than the norm bound is what the task asked for; a longer update is not.
    What the round has spent is in the result."""
    config = TaskConfig(
        model=ModelSpec("logistic"),
        participants=3,
        privacy=PrivacySpec("gaussian", {"clip": 1.0, "noise": 8.0}),
    )
    blobs = BlobStore(tmp_path)
    reference = logistic_weights(config, np.random.default_rng(0))
    model_ref = blobs.put(encode(reference))
    members = [address(number) for number in (1, 2, 3)]
    updates = []
    for slot, member in enumerate(members):
        share = data.share(config, slot)
        slope = gradient_logistic(reference, share.x, share.y)
        learnt = {name: (t - slope[name]).astype(np.float32) for name, t in reference.items()}
        key = privacy.noise_key(SECRET, member=member)
        private = privacy.privatise(learnt, reference, config.privacy.params, key)
        assert 150 < distance(private, reference) < 260  # 8 · √650 = 204; norm_bound is 100
        if slot == 2:
            private["logits/bias"] = private["logits/bias"] + np.float32(200)
        updates.append(UpdateRef(member, blobs.put(encode(private)), len(share), slot))
    job = AggregateJob(config.to_dict(), 1, 4, model_ref, updates, members)
    result = aggregate_round(job, blobs, evaluate_logistic)
    assert result.accepted == members[:2]
    ((liar, reason),) = result.rejected
    assert (liar, reason.split(":")[0]) == (members[2], "norm")
    assert result.epsilon == pytest.approx(privacy.epsilon(8.0, 1e-5, 4))
    assert AggregateResult.from_dict(result.to_dict()).epsilon == result.epsilon
    open_ = replace(config, privacy=PrivacySpec())
    plain = aggregate_round(replace(job, config=open_.to_dict()), blobs, evaluate_logistic)
    assert plain.epsilon is None
