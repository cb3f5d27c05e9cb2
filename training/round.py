"""One round as an evaluator sees it: check every update, average, evaluate, score.

Knows neither Celery nor TensorFlow; how a model is evaluated is passed in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache, partial
from typing import Protocol

import numpy as np

from training import privacy
from training.aggregation import ServerState, Update, aggregate, initial_state
from training.blobs import BlobStore
from training.contribution import (
    Gain,
    Integers,
    blockflow,
    cost,
    leave_one_out,
    marginal_gain,
    payable,
    shapley,
    shapley_sampled,
)
from training.data import PURPOSE_SCORING, generator
from training.errors import BlobCorrupt, BlobMissing, UpdateRejected
from training.evidence import Rejection, document
from training.scoring import ppm
from training.specs import AggregateJob, AggregateResult, TaskConfig, UpdateRef, update_hash
from training.weights import Weights, check_update, encode, encoded_size


class Evaluation(Protocol):
    """What `training.local.Metrics` has and a round needs."""

    @property
    def accuracy(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def correct(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def right(self) -> Integers: ...  # of each held-out sample: 1 if classified right, or 0


Evaluate = Callable[[TaskConfig, Weights], Evaluation]
Progress = Callable[[str, int, int], None]  # stage, done, total


@dataclass
class _Findings:
    """What is known so far about the updates of the round, in address order."""

    accepted: list[Update] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    correct: list[int] = field(default_factory=list)  # held-out samples, as accepted
    right: list[Integers] = field(default_factory=list)  # which ones, as accepted
    held_out: int = 0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def aggregate_round(
    job: AggregateJob, blobs: BlobStore, evaluate: Evaluate, progress: Progress | None = None
) -> AggregateResult:
    """Checks and scores each update, averages the accepted ones, evaluates the new global model.

    A bad update is rejected with its reason and the round goes on without it. With no acceptable
    update at all the global model stays as it is. Raises BlobMissing or BlobCorrupt for the
    global model itself. The same job gives the same model hash, whoever runs it.
    """
    config = TaskConfig.from_dict(job.config)
    reference = blobs.open_weights(job.model_ref)
    report = progress or (lambda stage, done, total: None)

    started = time.perf_counter()
    findings = _check_updates(job, config, reference, blobs, evaluate, report)
    before = _state(job, config, reference, blobs)
    accepted = _weighted(job, config, findings)
    scores = _scores(job, config, before, accepted, findings, evaluate, report)
    scored = time.perf_counter()

    report("aggregating", 0, 1)
    state = aggregate(config.algorithm, before, accepted) if accepted else before
    model_hash = blobs.put(encode(state.weights)) if accepted else job.model_ref
    state_ref = blobs.put(encode(state.memory)) if state.memory else ""
    overall = evaluate(config, state.weights)
    report("aggregating", 1, 1)

    return AggregateResult(
        model_hash=model_hash,
        accuracy=overall.accuracy,
        accuracy_ppm=ppm(overall.correct, overall.total),
        loss=overall.loss,
        accepted=[update.participant for update in accepted],
        rejected=findings.rejected,
        scores=scores,
        samples={update.participant: update.samples for update in accepted},
        update_metrics=findings.metrics,
        seconds_score=scored - started,
        seconds_aggregate=time.perf_counter() - scored,
        task_id=job.task_id,
        round=job.round,
        state_ref=state_ref,
        epsilon=_epsilon(config, job.round),
        evidence=_evidence(job, config, findings, blobs),
    )


def _evidence(job: AggregateJob, config: TaskConfig, findings: _Findings, blobs: BlobStore) -> str:
    if not findings.rejections:
        return ""
    return blobs.put(document(job, config.hash(), findings.rejections))


def _epsilon(config: TaskConfig, rounds: int) -> float | None:
    if not config.privacy.noisy:
        return None
    params = config.privacy.params
    return privacy.epsilon(params["noise"], params["delta"], rounds)


def _check_updates(
    job: AggregateJob,
    config: TaskConfig,
    reference: Weights,
    blobs: BlobStore,
    evaluate: Evaluate,
    report: Progress,
) -> _Findings:
    findings = _Findings()
    members = {address.lower(): address for address in job.members}
    seen: set[str] = set()
    ordered = sorted(job.updates, key=lambda update: (update.participant.lower(), update.index))
    for number, update in enumerate(ordered):
        report("scoring", number, len(ordered))
        # One spelling of an address in all results: the members' (usually checksummed).
        address = members.get(update.participant.lower(), update.participant)
        try:
            _check_sender(update, job, members, seen)
            weights, norm = _open_update(update, reference, config, blobs)
            metrics = _evaluate_finite(config, weights, evaluate)
        except UpdateRejected as error:
            findings.rejected.append((address, f"{error.reason}: {error.message}"))
            findings.rejections.append(Rejection.of(update, error))
            continue
        seen.add(address.lower())
        findings.accepted.append(
            Update(
                address,
                update.samples,
                lambda ref=update.content_hash: blobs.open_weights(ref),  # type: ignore[misc]
            )
        )
        findings.correct.append(metrics.correct)
        findings.right.append(metrics.right.astype(np.int8))
        findings.held_out = metrics.total
        findings.metrics[address] = {
            "accuracy": metrics.accuracy,
            "loss": metrics.loss,
            "norm": norm,
            "samples": update.samples,
        }
    report("scoring", len(ordered), len(ordered))
    return findings


def _check_sender(
    update: UpdateRef, job: AggregateJob, members: Mapping[str, str], seen: set[str]
) -> None:
    address = update.participant.lower()
    if address not in members:
        raise UpdateRejected("stranger", f"{update.participant} is not a member of the task")
    if address in seen:
        raise UpdateRejected("duplicate", f"{update.participant} already has an update here")
    if type(update.samples) is not int or not 1 <= update.samples < 2**29:
        raise UpdateRejected(
            "samples", f"{update.samples!r} samples, but it takes 1 to {2**29 - 1}"
        )
    bound = update_hash(update.participant, job.task_id, job.round, update.content_hash)
    if update.update_hash and update.update_hash != bound:
        raise UpdateRejected(
            "hash", f"submitted {update.update_hash}, but sender and content hash to {bound}"
        )


def _open_update(
    update: UpdateRef, reference: Weights, config: TaskConfig, blobs: BlobStore
) -> tuple[Weights, float]:
    """The checked tensors of an update and its distance from the global model."""
    limit = encoded_size(reference)
    try:
        size = blobs.size(update.content_hash)
        if size > limit:  # before reading: hashing a huge file is what a flooder wants
            raise UpdateRejected("size", f"{size} bytes, but this model takes {limit}")
        data = blobs.open(update.content_hash)
    except BlobMissing as error:
        raise UpdateRejected("missing", f"no blob {update.content_hash} in the store") from error
    except BlobCorrupt as error:
        raise UpdateRejected("hash", str(error)) from error
    bound = config.algorithm.params["norm_bound"]
    if config.privacy.noisy:  # the noise alone may be longer, and nothing honest is longer than:
        count = sum(tensor.size for tensor in reference.values())
        bound = privacy.longest_update(config.privacy.params, count)
    return check_update(data, reference, bound)


def _evaluate_finite(config: TaskConfig, weights: Weights, evaluate: Evaluate) -> Evaluation:
    """Finite weights under a generous norm bound can still overflow in a deep model."""
    metrics = evaluate(config, weights)
    if not math.isfinite(metrics.loss):
        raise UpdateRejected("finite", f"its loss on the held-out samples is {metrics.loss}")
    return metrics


def _state(
    job: AggregateJob, config: TaskConfig, reference: Weights, blobs: BlobStore
) -> ServerState:
    if not job.state_ref:
        return initial_state(config.algorithm, reference)
    return ServerState(reference, blobs.open_weights(job.state_ref))


def _weighted(job: AggregateJob, config: TaskConfig, findings: _Findings) -> list[Update]:
    """The accepted updates with what score-weighted algorithms weigh them by."""
    scores = [ppm(correct, findings.held_out) for correct in findings.correct]
    if config.algorithm.name == "blockflow" and scores:
        participants = [update.participant for update in findings.accepted]
        places = [job.members.index(participant) for participant in participants]
        others = {judge: [sheet[at] for at in places] for judge, sheet in job.sheets.items()}
        scores = blockflow({**others, "": scores}, participants)
    return [
        replace(update, score=score)
        for update, score in zip(findings.accepted, scores, strict=True)
    ]


def _scores(
    job: AggregateJob,
    config: TaskConfig,
    before: ServerState,
    accepted: list[Update],
    findings: _Findings,
    evaluate: Evaluate,
    report: Progress,
) -> dict[str, int]:
    """An integer for each accepted update, by the reward mode and the task's scoring."""
    participants = [update.participant for update in accepted]
    if config.reward_mode == "equal":
        return dict.fromkeys(participants, 1)
    if config.reward_mode == "samples":
        return {update.participant: update.samples for update in accepted}
    own, count = findings.correct, len(accepted)
    if config.scoring == "accuracy" or not accepted:
        scores = [ppm(correct, findings.held_out) for correct in own]
        return dict(zip(participants, scores, strict=True))
    most = cost(config.scoring, count, config.scoring_params).evaluations - count
    value = _Coalitions(config, before, accepted, evaluate, lambda done: report("gain", done, most))
    gains: list[Gain]
    if config.scoring == "marginal_gain":
        gains = marginal_gain(findings.right, value(frozenset()))
    elif config.scoring == "leave_one_out":
        gains = leave_one_out(count, value)
    elif config.scoring == "shapley":
        gains = shapley(count, value)
    else:
        gains = shapley_sampled(
            count,
            value,
            config.scoring_params["permutations"],
            Fraction(config.scoring_params["tolerance"]) * findings.held_out,
            generator(config.seed, PURPOSE_SCORING, job.round),
        )
    scores = payable(gains, own, findings.held_out, config.scoring_params["errors"])
    return dict(zip(participants, scores, strict=True))


class _Coalitions:
    """Which held-out samples the model of some of the updates gets right; computed once each."""

    def __init__(
        self,
        config: TaskConfig,
        before: ServerState,
        accepted: list[Update],
        evaluate: Evaluate,
        report: Callable[[int], None],
    ) -> None:
        self._config, self._before, self._evaluate = config, before, evaluate
        # Opened (so hashed) once: a subset is averaged thousands of times. At most 256 stay
        # open, because each holds a file descriptor.
        load = lru_cache(maxsize=256)(lambda index: accepted[index].load())
        self._updates = [
            replace(update, load=partial(load, index)) for index, update in enumerate(accepted)
        ]
        self._report = report
        self._known: dict[frozenset[int], Integers] = {}

    def __call__(self, coalition: frozenset[int]) -> Integers:
        if coalition not in self._known:
            chosen = [self._updates[index] for index in sorted(coalition)]
            algorithm = self._config.algorithm
            state = aggregate(algorithm, self._before, chosen) if chosen else self._before
            right = self._evaluate(self._config, state.weights).right
            self._known[coalition] = right.astype(np.int8)
            self._report(len(self._known))
        return self._known[coalition]
