"""McMahan et al. 2017 (arXiv 1602.05629), table 2: rounds until MNIST is read with 99 %."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from bcfl_site.benchmarks.training import MODELS
from bcfl_site.benchmarks.workers import workers
from training.specs import ALGORITHMS

if TYPE_CHECKING:
    from training.specs import TaskConfig

HELP = "Rounds until MNIST is read with 99 %: 100 participants, a tenth of them a round."

PURPOSE_CHOICE = 98  # of the seeds: who takes part in a round


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=25, help="at most")
    parser.add_argument("--target", type=float, default=0.99, help="test accuracy to stop at")
    parser.add_argument("--partition", choices=("iid", "shards"), default="iid")
    parser.add_argument("--participants", type=int, default=100)
    parser.add_argument("--fraction", type=float, default=0.1, help="C: of them in a round")
    parser.add_argument("--epochs", type=int, default=5, help="E")
    parser.add_argument("--batch-size", type=int, default=10, help="B")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="fedavg")
    parser.add_argument("--model", choices=MODELS, default="mcmahan")
    parser.add_argument("--dataset", choices=("mnist", "fashion_mnist"), default="mnist")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=1)


def run(options: dict[str, Any]) -> dict[str, Any]:
    """{"curve": [test accuracy after round 1, 2, ...], "reached": round or None, ...}. Each round
    is reported on standard error as it ends."""
    from training.data import generator

    config = _config(options)
    chosen = max(1, round(options["fraction"] * options["participants"]))
    curve: list[float] = []
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        workers(options["workers"], folder) as pool,
    ):
        model_ref = pool.start(config)
        for number in range(1, options["rounds"] + 1):
            rng = generator(config.seed, PURPOSE_CHOICE, number)
            slots = sorted(rng.permutation(config.participants)[:chosen].tolist())
            done = pool.one_round(config, slots, number, model_ref)
            model_ref = done.model_ref
            curve.append(pool.ask(_evaluate, config.to_dict(), model_ref))
            sys.stderr.write(
                f"round {number}: {100 * curve[-1]:.2f} % on the test part, training loss "
                f"{done.loss:.4f}, {done.seconds:.1f} s\n"
            )
            sys.stderr.flush()
            if curve[-1] >= options["target"]:
                break
    reached = next((at for at, one in enumerate(curve, 1) if one >= options["target"]), None)
    names = ("dataset", "model", "partition", "participants", "fraction", "epochs", "batch_size")
    more = ("learning_rate", "algorithm", "target", "seed")
    return {
        **{name: options[name] for name in (*names, *more)},
        "curve": curve,
        "reached": reached,
        "seconds": time.perf_counter() - started,
        "model_hash": model_ref,
    }


def table(report: dict[str, Any]) -> str:
    best = max(report["curve"])
    lines = [
        f"{report['model']} on {report['dataset']} ({report['partition']}), "
        f"{report['participants']} participants, C = {report['fraction']:g}, "
        f"E = {report['epochs']}, B = {report['batch_size']}, learning rate "
        f"{report['learning_rate']:g}, {report['algorithm']}",
        *(
            f"{number:4d}  {100 * accuracy:6.2f} %  {'#' * round(60 * accuracy)}"
            for number, accuracy in enumerate(report["curve"], 1)
        ),
        f"{100 * report['target']:g} % reached in round {report['reached']}"
        if report["reached"]
        else f"{100 * report['target']:g} % not reached; best {100 * best:.2f} %",
        f"{report['seconds']:.0f} s; model {report['model_hash']}",
    ]
    return "\n".join(lines)


def _config(options: dict[str, Any]) -> TaskConfig:
    from training.specs import TaskConfig

    name, params = MODELS[options["model"]]
    return TaskConfig.from_dict(
        {
            "dataset": {"name": options["dataset"], "partition": options["partition"]},
            "model": {"name": name, "params": params},
            "algorithm": {"name": options["algorithm"]},
            "local": {
                "epochs": options["epochs"],
                "batch_size": options["batch_size"],
                "learning_rate": options["learning_rate"],
                "optimizer": "sgd",
            },
            "participants": options["participants"],
            "rounds": options["rounds"],
            "seed": options["seed"],
        }
    )


def _evaluate(config: dict[str, Any], model_ref: str) -> float:
    from training import local
    from training.blobs import BlobStore
    from training.specs import TaskConfig

    weights = BlobStore.default().open_weights(model_ref)
    return local.evaluate(TaskConfig.from_dict(config), weights).accuracy
