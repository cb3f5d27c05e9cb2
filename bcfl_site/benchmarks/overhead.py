"""The same federated task with the chain and without it, in turns, on one machine."""

from __future__ import annotations

import json
import os
import tempfile
import time
from argparse import ArgumentParser
from statistics import median
from typing import TYPE_CHECKING, Any

from bcfl_site.benchmarks import columns
from bcfl_site.benchmarks.workers import TASK, Workers, workers
from training.specs import DATASETS, MODELS

if TYPE_CHECKING:
    from bcfl_site.embedded.stack import Stack
    from training.specs import AggregateJob, AggregateResult

HELP = "What the chain adds to a round: the same task with and without it, in turns."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=DATASETS, default="digits")
    parser.add_argument(
        "--model", choices=[name for name in MODELS if name != "layers"], default="cnn"
    )
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=4, help="at least 2: the first is left out")
    parser.add_argument("--epochs", type=int, default=100, help="the more, the longer a round")
    parser.add_argument("--repeat", type=int, default=2, help="tasks on each side")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=1)


def run(options: dict[str, Any]) -> dict[str, Any]:
    """{"on", "off": {"rounds": [seconds], "seconds" (median), "samples_per_second", "accuracy"},
    "added_seconds", "share" (of a round with the chain), "chain_wait" (seconds), ...}.

    Both sides train on as many one-threaded processes, write updates and models through a blob
    store, and check, evaluate and score every update. Round 1 is left out: it compiles.
    """
    from bcfl_site.embedded.stack import Stack

    on: list[dict[str, Any]] = []
    off: list[dict[str, Any]] = []
    processes = {"TRAINING_PROCESSES": str(options["workers"]), "BCFL_DEMO": "0"}
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(settings=processes) as stack,
        workers(options["workers"], folder) as pool,
    ):
        for _ in range(options["repeat"]):
            on.append(_with_chain(stack, options))
            off.append(_without_chain(pool, on[-1]["config"]))
    sides: dict[str, dict[str, Any]] = {}
    for name, tasks in (("on", on), ("off", off)):
        rounds = [seconds for task in tasks for seconds in task["rounds"]]
        sides[name] = {
            "rounds": rounds,
            "seconds": median(rounds),
            "samples_per_second": on[0]["samples"] * options["epochs"] / median(rounds),
            "accuracy": tasks[-1]["accuracy"],
        }
    names = ("dataset", "model", "participants", "rounds", "epochs", "repeat", "workers", "seed")
    added = sides["on"]["seconds"] - sides["off"]["seconds"]
    return {
        **{name: options[name] for name in names},
        **sides,
        "samples": on[0]["samples"],
        "added_seconds": added,
        "share": added / sides["on"]["seconds"],
        "chain_wait": median(seconds for task in on for seconds in task["chain_wait"]),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
    }


def table(report: dict[str, Any]) -> str:
    rows = [
        [
            f"chain {name}",
            f"{report[name]['seconds']:.2f}",
            f"{min(report[name]['rounds']):.2f}",
            f"{max(report[name]['rounds']):.2f}",
            f"{report[name]['samples_per_second']:,.0f}",
            f"{100 * report[name]['accuracy']:.1f}",
        ]
        for name in ("on", "off")
    ]
    return (
        f"{report['participants']} participants, {report['samples']:,} samples in all, "
        f"{report['model']} on {report['dataset']}, E = {report['epochs']}; {report['repeat']} "
        f"tasks of {report['rounds']} rounds on each side, the first round of each left out; "
        f"{report['workers']} training processes; load {report['load_of_the_machine']}\n\n"
        + columns(["a round", "median s", "least", "most", "samples/s", "accuracy %"], rows)
        + f"\n\nThe chain adds {report['added_seconds']:.2f} s to a round: "
        f"{100 * report['share']:.1f} % of this one. Of them {report['chain_wait']:.2f} s wait for "
        "blocks."
    )


def _with_chain(stack: Stack, options: dict[str, Any]) -> dict[str, Any]:
    names = ("dataset", "model", "participants", "rounds", "epochs", "seed")
    arguments = [part for name in names for part in (f"--{name}", str(options[name]))]
    printed = stack.manage("run_task", *arguments, "--wait", "--json", "--seconds", "3600")
    report = json.loads(printed)
    rounds = report["rounds"]
    return {
        "config": report["config"],
        "rounds": [round_["seconds"]["total"] for round_ in rounds[1:]],
        "chain_wait": [round_["seconds"]["chain_wait"] for round_ in rounds[1:]],
        "accuracy": rounds[-1]["accuracy"],
        "samples": sum(one["samples"] for one in report["participants"]),
    }


def _without_chain(pool: Workers, plain: dict[str, Any]) -> dict[str, Any]:
    from training.specs import AggregateJob, TaskConfig, UpdateRef

    config = TaskConfig.from_dict(plain)
    model_ref, state_ref = pool.start(config), ""
    members = [f"0x{slot + 1:040x}" for slot in range(config.participants)]
    rounds, accuracy = [], 0.0
    for number in range(1, config.rounds + 1):
        started = time.perf_counter()
        trained, _ = pool.train(config, range(config.participants), number, model_ref)
        updates = [
            UpdateRef(members[slot], content_hash, samples, slot)
            for slot, (content_hash, samples, _) in enumerate(trained)
        ]
        job = AggregateJob(plain, TASK, number, model_ref, updates, members, state_ref)
        result = pool.ask(_aggregate, job)
        model_ref, state_ref, accuracy = result.model_hash, result.state_ref, result.accuracy
        rounds.append(time.perf_counter() - started)
    return {"rounds": rounds[1:], "accuracy": accuracy}


def _aggregate(job: AggregateJob) -> AggregateResult:
    from training import local
    from training.blobs import BlobStore
    from training.round import aggregate_round

    return aggregate_round(job, BlobStore.default(), local.evaluate)
