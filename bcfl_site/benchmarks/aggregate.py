"""Averaging updates: our rules beside NumPy's ways, and a plain copy of the same bytes."""

from __future__ import annotations

import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bcfl_site.benchmarks import columns, numbers

if TYPE_CHECKING:
    from training.weights import Float32

HELP = "Averaging updates: GB/s, speed against NumPy with identical output, and memory."

MOST_BYTES = 1 << 30  # of stacked updates: NumPy's mean needs three times as much on top
FEW = 50  # robust rules read all updates at once; NumPy's median takes its time


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--participants", type=numbers, default="10,100", help="like 10,100,1000")
    parser.add_argument("--parameters", type=float, default=1.66e6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--rules", default="fedavg,median,trimmed_mean", help="also multi_krum, score_median, ..."
    )


def run(options: dict[str, Any]) -> dict[str, Any]:
    """Seconds (medians), GB/s of update bytes, and ratios within the same run."""
    rows = []
    for participants in options["participants"]:
        for rule in options["rules"].split(","):
            if rule != "fedavg" and participants > FEW:
                continue
            rows.append(_measure(rule, participants, int(options["parameters"]), options))
    if "median" in options["rules"] and FEW not in options["participants"]:
        for rule in options["rules"].split(","):
            if rule != "fedavg":
                rows.append(_measure(rule, FEW, int(options["parameters"]), options))
    return {"parameters": int(options["parameters"]), "repeats": options["repeats"], "rows": rows}


def table(report: dict[str, Any]) -> str:
    header = ["rule", "updates", "ms", "GB/s", "copy GB/s", "NumPy ms", "times as fast"]
    header += ["by processor time", "identical", "memory MB"]
    rows = [
        [
            row["rule"],
            str(row["updates"]),
            f"{1000 * row['seconds']:.1f}",
            f"{row['gigabytes_per_second']:.2f}",
            f"{row['copy_gigabytes_per_second']:.2f}",
            f"{1000 * row['numpy_seconds']:.1f}" if row["numpy_seconds"] else "",
            f"{row['speedup']:.1f}" if row["speedup"] else "",
            f"{row['processor_speedup']:.1f}" if row["speedup"] else "",
            {True: "yes", False: "NO", None: ""}[row["identical"]],
            f"{row['memory_bytes'] / 1e6:.1f}",
        ]
        for row in report["rows"]
    ]
    return (
        f"{report['parameters']:,} parameters, median of {report['repeats']}; alternating with "
        "NumPy on arrays stacked beforehand. Memory: the most that a rule allocates beyond its "
        "updates, which are mapped from files. NumPy is left out where its arrays would not "
        "fit.\n\n" + columns(header, rows)
    )


def _measure(
    rule: str, participants: int, parameters: int, options: dict[str, Any]
) -> dict[str, Any]:
    import numpy as np

    from training.aggregation import ServerState, Update, aggregate
    from training.blobs import BlobStore
    from training.specs import AlgorithmSpec
    from training.weights import encode

    rng = np.random.default_rng(1)
    samples = rng.integers(10, 1000, participants).tolist()
    with tempfile.TemporaryDirectory() as folder:
        blobs = BlobStore(Path(folder))
        refs = [
            blobs.put(encode({"w": rng.standard_normal(parameters, dtype=np.float32)}))
            for _ in range(participants)
        ]
        size = 4 * parameters * participants
        small = size <= MOST_BYTES
        # Many updates are opened when their turn comes, as in a round; few are in memory, as
        # NumPy's are.
        mapped = [blobs.open_weights(ref) for ref in refs] if small else []
        updates = [
            Update(
                f"0x{at:040x}",
                samples[at],
                lambda at=at: mapped[at] if small else blobs.open_weights(refs[at]),  # type: ignore[misc]
                score=1 + at,
            )
            for at in range(participants)
        ]
        state = ServerState({"w": np.zeros(parameters, np.float32)})
        spec = AlgorithmSpec(rule)

        def ours() -> Float32:
            return aggregate(spec, state, updates).weights["w"]

        stacked = np.stack([one["w"] for one in mapped]) if small else None
        theirs = _numpy_way(rule, stacked, samples) if small else None
        into = np.empty_like(stacked) if small else np.empty(parameters, np.float32)

        def copy() -> None:
            if stacked is not None:
                np.copyto(into, stacked)
            else:
                for ref in refs:
                    np.copyto(into, blobs.open_weights(ref)["w"])

        if not small:
            copy()  # hashes each file once; `open_weights` then knows it
        mine, other, copies = [], [], []
        mine_cpu, other_cpu = [], []
        result = ours()  # compiles
        for _ in range(options["repeats"]):
            seconds, used, result = _timed(ours)
            mine.append(seconds)
            mine_cpu.append(used)
            if theirs:
                seconds, used, expected = _timed(theirs)
                other.append(seconds)
                other_cpu.append(used)
            copies.append(_timed(copy)[0])
        identical = None
        if theirs:
            identical = bool(np.array_equal(result, expected.astype(np.float32)))
        memory = _peak(ours)
    return {
        "rule": rule,
        "updates": participants,
        "seconds": median(mine),
        "gigabytes_per_second": size / median(mine) / 1e9,
        "copy_gigabytes_per_second": size / median(copies) / 1e9,
        "numpy_seconds": median(other) if other else None,
        "speedup": median(other) / median(mine) if other else None,
        "processor_speedup": median(other_cpu) / median(mine_cpu) if other else None,
        "identical": identical,
        "memory_bytes": memory,
    }


def _numpy_way(rule: str, stacked: Any, samples: list[int]) -> Callable[[], Any] | None:
    import numpy as np

    if rule == "fedavg":
        return lambda: np.average(stacked, axis=0, weights=samples)
    if rule == "median":
        return lambda: np.median(stacked, axis=0)
    if rule == "trimmed_mean":
        cut = int(0.2 * len(stacked))  # the rule's default

        def trimmed() -> Any:
            inner = np.sort(stacked, axis=0)[cut : len(stacked) - cut]
            return np.mean(inner, axis=0, dtype=np.float64)

        return trimmed
    return None


def _timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, processor seconds of all threads (others on the machine do not count), result."""
    started, used = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - started, time.process_time() - used, result


def _peak(work: Callable[[], Any]) -> int:
    """Bytes that NumPy and Python had allocated at most while `work` ran, beyond before."""
    import tracemalloc

    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
