"""Before anything is sent: is the console's word the chain's, does the data fit, can one pay?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.console import Terms
from agent.contract import TASK_PHASES, Contract
from agent.errors import CannotJoin, ConsoleLies, WrongNetwork
from chain.errors import ContractReverted
from training import private
from training.canonical import canonical_json, keccak_hex
from training.errors import DataError
from training.specs import TaskConfig

FLT = 10**18


@dataclass(frozen=True)
class OwnData:
    """A checked file; `table` None for a task on a public data set."""

    table: private.Table | None
    samples: int


def check_terms(terms: Terms, contract: Contract, pinned: str = "") -> TaskConfig:
    """The configuration, proved to be the one on chain.

    `pinned`: the coordinator's address as its owner told it. Raises WrongNetwork and ConsoleLies.
    """
    if pinned and pinned.lower() != terms.coordinator.lower():
        raise WrongNetwork(
            f"The console names the coordinator {terms.coordinator}, you gave {pinned}. Nothing "
            "was sent."
        )
    contract.check(terms.chain_id, terms.genesis_hash)
    try:
        view = contract.read("task", terms.onchain_id)
    except ContractReverted as error:
        raise ConsoleLies(
            f"The chain has no task {terms.onchain_id}, which the console names. Nothing was sent."
        ) from error
    if TASK_PHASES[view["phase"]] == "none":
        raise ConsoleLies(
            f"The chain has no task {terms.onchain_id}, which the console names. Nothing was sent."
        )
    found = keccak_hex(canonical_json(terms.config))
    if found != view["configHash"]:
        raise ConsoleLies(
            f"The console's configuration hashes to {found}, but the chain holds "
            f"{view['configHash']} for task {terms.onchain_id}: it shows you another task than "
            "the one on chain. Nothing was sent; do not join here."
        )
    return TaskConfig.from_dict(terms.config)


def check_data(config: TaskConfig, file: Path | None, label: str = "") -> OwnData:
    """Raises DataError that names line, column and what was expected."""
    schema = config.dataset.schema
    if schema is None:
        if file is not None:
            raise DataError(
                f"This task trains on the public data set {config.dataset.name}; it takes no file "
                "of yours. Leave out --data."
            )
        return OwnData(None, 0)
    if file is None:
        columns = ", ".join(feature.name for feature in schema.features[:8])
        raise DataError(
            f"This task trains on your own data: give a file with the columns {columns}… and "
            f"{schema.label} with --data."
        )
    table = private.read(file, schema, label)
    return OwnData(table, len(table.y))


def check_open(contract: Contract, onchain_id: int) -> dict[str, Any]:
    """The task's view; raises CannotJoin when it takes nobody."""
    view: dict[str, Any] = contract.read("task", onchain_id)
    phase = TASK_PHASES[view["phase"]]
    if phase != "open":
        raise CannotJoin(f"Task {onchain_id} is {phase}; only an open task can be joined.")
    if time.time() > view["deadline"]:
        ended = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(view["deadline"]))
        raise CannotJoin(
            f"Joining task {onchain_id} ended at {ended} UTC. Nothing was sent and nothing spent."
        )
    if view["active"] >= view["maxParticipants"]:
        raise CannotJoin(f"All {view['maxParticipants']} places of task {onchain_id} are taken.")
    return view


def check_stake(contract: Contract, stake: int) -> None:
    held = contract.tokens(contract.me)
    if held < stake:
        raise CannotJoin(
            f"The stake is {stake / FLT:,.4f} FLT, but {contract.me} holds {held / FLT:,.4f} FLT. "
            "Get more tokens, then join. Nothing was sent."
        )
