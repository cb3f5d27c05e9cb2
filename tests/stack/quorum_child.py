"""Three evaluators with keys of their own in one process, so that TensorFlow is imported once.

Run by test_three_hospitals: `quorum_child.py URL TASK FOLDER RPC`. Afterwards it trains the same
model on the pooled files and prints {"pooled": accuracy} on stdout.
"""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent.evaluator import Evaluator
from agent.keys import open_keystore
from agent.progress import Screen
from agent.session import Session, open_session
from training import data, private
from training.specs import TaskConfig

EVALUATORS = 3


def main(url: str, task: int, folder: Path, rpc: str) -> None:
    sessions = [
        open_session(
            url=url,
            task=task,
            signer=open_keystore(folder / f"evaluator-{n}.json", "pw"),
            screen=Screen(),
            rpc=rpc,
            home=folder / f"home-evaluator-{n}",
            poll=0.2,
        )
        for n in range(EVALUATORS)
    ]
    failed: list[BaseException] = []

    def evaluate(session: Session) -> None:
        try:
            Evaluator(session).run()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=evaluate, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"an evaluator stopped: {failed[0]}")
    accuracy = pooled(sessions[0].config, sorted(folder.glob("hospital-*.csv")))
    print(json.dumps({"pooled": accuracy}))  # noqa: T201


def pooled(config: TaskConfig, files: list[Path]) -> float:
    """As many epochs as all rounds together, on all rows in one place."""
    from training import local

    assert config.dataset.schema is not None
    tables = [private.read(path, config.dataset.schema) for path in files]
    x = np.concatenate([table.x for table in tables])
    y = np.concatenate([table.y for table in tables])
    everything = data.own_share(config, private.Table(x, y))
    epochs = config.rounds * config.local.epochs
    longer = replace(config, local=replace(config.local, epochs=epochs))
    rng = data.generator(config.seed, data.PURPOSE_SHUFFLE, 0, 0)
    weights, _, _ = local.fit(longer, local.initial_weights(config), everything, rng)
    return local.evaluate(config, weights).accuracy


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
