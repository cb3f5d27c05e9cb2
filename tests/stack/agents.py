"""The agents of the three hospitals as processes, and the training that they are compared with."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.keys import open_keystore
from agent.progress import Screen
from agent.session import open_session
from bcfl_site.embedded.binaries import ROOT
from tests.stack import namespace
from tests.stack.conftest import HOSPITALS, PASSWORD, Place, documented
from tests.stack.recorder import Recorder
from training import data, private

SEED = 20240607  # of who is stopped, and when
EVALUATORS = 3
HOSPITAL_NAMES = [f"hospital-{number}" for number in range(HOSPITALS)]
RELAYED = HOSPITAL_NAMES[2]  # signs its updates, the console submits them
CONSOLE_PORT, NODE_PORT = 8000, 8545  # in a network namespace, where every port is free


class Agents:
    """`bcfl-agent` processes, three hospitals and three evaluators; each speaks to the console and
    to the node by a recorder, and where this machine allows it nobody else could answer."""

    def __init__(self, place: Place, task: int, console: Recorder, node: Recorder) -> None:
        self._place, self._task = place, task
        self._console, self._node = console, node
        self.alone = not namespace.why_not()
        self.networks: list[str] = []  # of each process that was started
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: str) -> None:
        place = self._place
        kind, number = name.split("-")
        console, node = self._console.url, self._node.url
        if self.alone:
            console, node = f"http://127.0.0.1:{CONSOLE_PORT}", f"http://127.0.0.1:{NODE_PORT}"
        said = {
            "https://fl.example.org": console,
            "https://my-node.example.org": node,
            "https://…": node,
            "7": str(self._task),
            "my.csv": str(place.folder / f"hospital-{int(number) + 1}.csv"),
            "key.json": str(place.keystore(name)),
            "evaluator.json": str(place.keystore(name)),
        }
        verb = "evaluate" if kind == "evaluator" else "join"
        arguments = [said.get(word, word) for word in documented(f"bcfl-agent {verb}")[1:]]
        if command == "run":  # it knows file and label from the first time
            at = arguments.index("--data")
            arguments = ["run", *arguments[1:at], *arguments[at + 4 :]]
        arguments += ["--poll", "0.2", "--home", str(place.folder / f"home-{name}")]
        if name == RELAYED:
            arguments.append("--relay")
        program = [sys.executable, "-m", "agent.cli", *arguments]
        environment = {k: v for k, v in place.stack.environment.items() if "BCFL_HOME" not in k}
        environment |= {"BCFL_KEY_PASSWORD": PASSWORD, "COLUMNS": "500"}
        with self.log(name).open("ab") as log:
            options: dict[str, Any] = {"cwd": ROOT, "env": environment}
            options |= {"stdout": log, "stderr": log}
            if self.alone:
                there = {CONSOLE_PORT: self._console, NODE_PORT: self._node}
                process = namespace.start(program, there, **options)
                self.networks.append(namespace.of(process))
            else:
                process = subprocess.Popen(program, **options)
        self.processes[name] = process

    def log(self, name: str) -> Path:
        return self._place.folder / f"{name}.log"

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def until_done(self) -> None:
        for name, process in self.processes.items():
            code = process.wait(timeout=240)
            assert code == 0, f"seed {SEED}, {name}: {self.log(name).read_text()}"

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def pooled(place: Place, task: int) -> float:
    """As many epochs as all rounds together, on all rows in one place: what nobody could do."""
    from training import local

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLOB_ROOT", "put back by the end of this")
        session = open_session(
            url=place.stack.url,
            task=task,
            signer=open_keystore(place.keystore("hospital-0"), PASSWORD),
            screen=Screen(),
            rpc=place.rpc,
            home=place.folder / "home-pooled",
        )
        try:
            config, schema = session.config, session.config.dataset.schema
            assert schema is not None
            session.console.fetch(schema.evaluation, session.home.blobs)
        finally:
            session.close()
        files = sorted(place.folder.glob("hospital-?.csv"))
        assert len(files) == HOSPITALS
        tables = [private.read(path, schema) for path in files]
        x = np.concatenate([table.x for table in tables])
        y = np.concatenate([table.y for table in tables])
        everything = data.own_share(config, private.Table(x, y))
        epochs = config.rounds * config.local.epochs
        longer = replace(config, local=replace(config.local, epochs=epochs))
        rng = data.generator(config.seed, data.PURPOSE_SHUFFLE, 0, 0)
        weights, _, _ = local.fit(longer, local.initial_weights(config), everything, rng)
        return local.evaluate(config, weights).accuracy
