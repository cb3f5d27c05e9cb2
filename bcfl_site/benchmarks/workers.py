"""Rounds of local training on worker processes, as the task queue would run them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.specs import TaskConfig, TrainJob

TASK = 1


@contextmanager
def workers(count: int, folder: str) -> Iterator[ProcessPoolExecutor]:
    """As many one-threaded processes as the Procfile's worker would have children."""
    os.environ["BLOB_ROOT"] = folder
    os.environ["BCFL_TRAIN_THREADS"] = "1"
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield pool


def start(pool: ProcessPoolExecutor, config: TaskConfig, workers: int) -> str:
    """The initial model; afterwards every worker has compiled what the task needs."""
    refs = {one.result() for one in [pool.submit(_warm, config.to_dict()) for _ in range(workers)]}
    (model_ref,) = refs
    return model_ref


def _warm(config: dict[str, Any]) -> str:
    from training import local
    from training.blobs import BlobStore
    from training.specs import TaskConfig
    from training.weights import encode

    spec = TaskConfig.from_dict(config)
    local.warm_up(spec)
    time.sleep(1.0)  # so that the next one goes to another process
    return BlobStore.default().put(encode(local.initial_weights(spec)))


def train(job: TrainJob) -> tuple[str, int, float, float]:
    """The update's hash, its samples, its loss and the processor seconds it took."""
    from training import local
    from training.blobs import BlobStore

    used = time.process_time()
    result = local.train(job, BlobStore.default())
    assert result.loss is not None  # no benchmark trains privately
    return result.content_hash, result.samples, result.loss, time.process_time() - used


def jobs(config: TaskConfig, slots: Iterable[int], number: int, model_ref: str) -> list[TrainJob]:
    from training.specs import TrainJob

    plain = config.to_dict()
    return [TrainJob(plain, number, slot, f"0x{slot + 1:040x}", TASK, model_ref) for slot in slots]


def one_round(
    pool: ProcessPoolExecutor,
    config: TaskConfig,
    folder: str,
    slots: Sequence[int],
    number: int,
    model_ref: str,
) -> tuple[float, float, float, str]:
    """Seconds, processor seconds of all processes, mean loss and the new model of a round through
    blobs, as in production."""
    from training.aggregation import Update, aggregate, initial_state
    from training.blobs import BlobStore
    from training.weights import encode

    blobs = BlobStore(folder)
    started, used = time.perf_counter(), time.process_time()
    trained = list(pool.map(train, jobs(config, slots, number, model_ref)))
    state = aggregate(
        config.algorithm,
        initial_state(config.algorithm, blobs.open_weights(model_ref)),
        [
            Update(f"0x{slot + 1:040x}", samples, lambda ref=ref: blobs.open_weights(ref))  # type: ignore[misc]
            for slot, (ref, samples, *_) in zip(slots, trained, strict=True)
        ],
    )
    new_ref = blobs.put(encode(state.weights))
    seconds = time.perf_counter() - started
    processor = time.process_time() - used + sum(one[3] for one in trained)
    return seconds, processor, sum(one[2] for one in trained) / len(trained), new_ref
