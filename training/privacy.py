"""Differential privacy of a participant's update: clipping, Gaussian noise, and what it has cost.

The promise: whoever sees an update, and so every model made of it, can hardly tell whether the
participant's whole data set took part or an update without any change was sent instead. Clipped
to length C with noise of z · C on each weight, one round is a Gaussian mechanism of sensitivity C
and noise multiplier z (Dwork and Roth 2014, appendix A; Abadi et al. 2016, arXiv 1607.00133;
for whole participants McMahan et al. 2018, arXiv 1710.06963). The noise is the participant's own,
so the promise holds against the aggregator and the evaluators too.

Not covered: how many samples somebody has (that stands on chain), and attacks on the rounding of
floating-point noise (Mironov 2012).

Pure: no Django, Celery, web3 or TensorFlow.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.canonical import canonical_json
from training.errors import TrainingError
from training.weights import Float32, Weights, distance

LEAST_SECRET = 16  # bytes
_CHUNK = 1 << 16  # weights that get their noise at a time
_TAIL = 6.0  # standard deviations beyond √d: noise is longer with probability e^-18


def hosted_secret() -> bytes:
    """The secret of the participants that this server trains for, from the environment."""
    secret = os.environ.get("BCFL_NOISE_SECRET", "").encode()
    if len(secret) < LEAST_SECRET:
        raise TrainingError(
            f"BCFL_NOISE_SECRET has {len(secret)} bytes, but private updates need at least "
            f"{LEAST_SECRET}. Start the worker with the secret that all workers share."
        )
    return secret


def noise_key(secret: bytes, **job: Any) -> bytes:
    """32 bytes for one job: the same whenever it is delivered again, another for any other job.

    Never from the task's seed, which is public: who can draw the noise again can take it off.
    `job` must hold all that the update depends on (task, round, participant, global model,
    configuration); one noise on two different updates would give away their difference.
    """
    if len(secret) < LEAST_SECRET:
        raise TrainingError(f"a noise secret of {len(secret)} bytes, but it takes {LEAST_SECRET}.")
    return hmac.digest(secret, b"bcfl update noise" + canonical_json(job), "sha256")


def privatise(
    weights: Weights, reference: Weights, params: Mapping[str, Any], key: bytes
) -> dict[str, Float32]:
    """`weights` with its step from `reference` clipped to `clip` and noise `noise` · `clip` added.

    The bits of the noise come from SHAKE-256 of `key` and a counter: a stream that nobody without
    the key can guess, which NumPy's generators do not promise.
    """
    length = distance(weights, reference)
    scale = min(1.0, params["clip"] / length) if length > 0 else 1.0
    deviation = params["noise"] * params["clip"]
    private: dict[str, Float32] = {}
    counter = 0
    for name in sorted(reference):
        before = reference[name].reshape(-1).astype(np.float64)
        step = (weights[name].reshape(-1) - before) * scale
        for at in range(0, step.size, _CHUNK):
            part = step[at : at + _CHUNK]
            part += deviation * _normals(key, counter, part.size)
            counter += 1
        private[name] = (before + step).astype(np.float32).reshape(reference[name].shape)
    return private


def longest_update(params: Mapping[str, Any], count: int) -> float:
    """What an honest private update of `count` weights does not exceed: its clipped step, and
    noise of norm z · C · (√count + 6), which is longer once in 10⁷ (Laurent and Massart 2000)."""
    clip: float = params["clip"]
    return clip + params["noise"] * clip * (math.sqrt(count) + _TAIL)


def epsilon(
    noise: float, delta: float, rounds: int, sampling_rate: float = 1.0, averaged: int = 1
) -> float:
    """ε after `rounds` rounds at δ = `delta`: the smaller, the better; infinite without noise.

    `sampling_rate` is the chance of taking part in a round (each drawn on its own); our tasks ask
    everyone every round, which is 1 and exact. Below 1, ε comes from privacy loss distributions.
    `averaged` updates of one length reach the observer as one average alone: their noises add up,
    √averaged times as much beside one participant's step.
    """
    if rounds < 1 or sampling_rate <= 0:
        return 0.0
    multiplier = noise * math.sqrt(averaged)
    if multiplier <= 0:
        return math.inf
    import dp_accounting  # takes SciPy and a second or two

    if sampling_rate >= 1:
        # r Gaussian rounds are one whose noise is √r times smaller (Dong et al. 2022, cor. 3.3).
        return float(dp_accounting.get_epsilon_gaussian(multiplier / math.sqrt(rounds), delta))
    accountant = dp_accounting.pld.PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    )
    round_ = dp_accounting.PoissonSampledDpEvent(
        sampling_rate, dp_accounting.GaussianDpEvent(multiplier)
    )
    accountant.compose(round_, rounds)
    return float(accountant.get_epsilon(delta))


def _normals(key: bytes, counter: int, count: int) -> npt.NDArray[np.float64]:
    """`count` standard normal values by Box and Muller (1958) from 53-bit uniform ones."""
    pairs = (count + 1) // 2
    stream = hashlib.shake_256(key + counter.to_bytes(8, "big")).digest(16 * pairs)
    bits = np.frombuffer(stream, dtype="<u8") >> np.uint64(11)
    uniform = (bits.astype(np.float64) + 0.5) * 2.0**-53  # inside (0, 1): the logarithm is finite
    radius = np.sqrt(-2.0 * np.log(uniform[:pairs]))
    angle = 2.0 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
