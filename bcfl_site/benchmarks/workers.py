"""Rounds of local training on worker processes, as the task queue would run them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from training.specs import TaskConfig, TrainJob

TASK = 1

_Answer = TypeVar("_Answer")
Trained = tuple[str, int, float]  # an update's hash, its samples and its loss


@dataclass(frozen=True)
class Round:
    """`seconds` in all and of them those of training; processor seconds of all processes."""

    seconds: float
    training_seconds: float
    cpu_seconds: float
    loss: float  # mean of the participants'
    model_ref: str


@dataclass(frozen=True)
class Workers:
    """One-threaded processes with a blob store in `folder`."""

    count: int
    folder: str
    pool: ProcessPoolExecutor

    def ask(self, function: Callable[..., _Answer], *args: Any) -> _Answer:
        """What `function` returns in one of them."""
        return self.pool.submit(function, *args).result()

    def start(self, config: TaskConfig) -> str:
        """The initial model; afterwards every worker has compiled what the task needs."""
        asked = [self.pool.submit(_warm, config.to_dict()) for _ in range(self.count)]
        (model_ref,) = {one.result() for one in asked}
        return model_ref

    def train(
        self, config: TaskConfig, slots: Iterable[int], number: int, model_ref: str
    ) -> tuple[list[Trained], float]:
        """The updates of a round, and the processor seconds of all workers."""
        from training import data
        from training.jobs import in_groups

        shares = data.partition(config.dataset, config.participants, config.seed)
        epochs = config.local.epochs
        groups = in_groups(
            jobs(config, slots, number, model_ref),
            lambda job: len(shares[job.slot]) * epochs,
            self.count,
        )
        answers = list(self.pool.map(train, groups))
        return [one for group, _ in answers for one in group], sum(used for _, used in answers)

    def one_round(
        self, config: TaskConfig, slots: Sequence[int], number: int, model_ref: str
    ) -> Round:
        """Training and averaging through blobs, as in production."""
        from training.aggregation import Update, aggregate, initial_state
        from training.blobs import BlobStore
        from training.weights import encode

        blobs = BlobStore(self.folder)
        started, used = time.perf_counter(), time.process_time()
        trained, theirs = self.train(config, slots, number, model_ref)
        training_seconds = time.perf_counter() - started
        state = aggregate(
            config.algorithm,
            initial_state(config.algorithm, blobs.open_weights(model_ref)),
            [
                Update(f"0x{slot + 1:040x}", samples, lambda ref=ref: blobs.open_weights(ref))  # type: ignore[misc]
                for slot, (ref, samples, _) in zip(slots, trained, strict=True)
            ],
        )
        new_ref = blobs.put(encode(state.weights))
        return Round(
            seconds=time.perf_counter() - started,
            training_seconds=training_seconds,
            cpu_seconds=time.process_time() - used + theirs,
            loss=sum(loss for *_, loss in trained) / len(trained),
            model_ref=new_ref,
        )


@contextmanager
def workers(count: int, folder: str) -> Iterator[Workers]:
    """As many one-threaded processes as the Procfile's worker would have children."""
    os.environ["BLOB_ROOT"] = folder
    os.environ["BCFL_TRAIN_THREADS"] = "1"
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield Workers(count, folder, pool)


def _warm(config: dict[str, Any]) -> str:
    from training import local
    from training.blobs import BlobStore
    from training.specs import TaskConfig
    from training.weights import encode

    spec = TaskConfig.from_dict(config)
    local.warm_up(spec)
    time.sleep(1.0)  # so that the next one goes to another process
    return BlobStore.default().put(encode(local.initial_weights(spec)))


def train(jobs: Sequence[TrainJob]) -> tuple[list[Trained], float]:
    """The updates, and the processor seconds that they took here."""
    from training import local
    from training.blobs import BlobStore
    from training.errors import TrainingError

    used = time.process_time()
    trained = []
    for result in local.train_all(jobs, BlobStore.default()):
        if isinstance(result, TrainingError):
            raise result
        assert result.loss is not None  # no benchmark trains privately
        trained.append((result.content_hash, result.samples, result.loss))
    return trained, time.process_time() - used


def jobs(config: TaskConfig, slots: Iterable[int], number: int, model_ref: str) -> list[TrainJob]:
    from training.specs import TrainJob

    plain = config.to_dict()
    return [TrainJob(plain, number, slot, f"0x{slot + 1:040x}", TASK, model_ref) for slot in slots]
