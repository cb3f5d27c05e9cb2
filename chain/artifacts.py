"""Where our contracts live on each chain (deployments); what they are is in `chain.builds`.

A deployment on the development chain is written under BCFL_HOME, others under
contracts/deployments, which is committed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from chain.builds import BUILD, COORDINATOR, NAMES, TOKEN, Artifact, load, revert_decoder
from chain.errors import NotDeployed
from chain.events import EventDecoder

ROOT = Path(__file__).resolve().parent.parent
DEPLOYMENTS = ROOT / "contracts" / "deployments"
DEV_CHAIN_ID = 31337

__all__ = [
    "BUILD",
    "COORDINATOR",
    "DEPLOYMENTS",
    "DEV_CHAIN_ID",
    "NAMES",
    "TOKEN",
    "Artifact",
    "DeployedContract",
    "Deployment",
    "deployment",
    "deployment_path",
    "event_decoder",
    "load",
    "revert_decoder",
    "save_deployment",
]


@dataclass(frozen=True)
class DeployedContract:
    """`block_number`: where its code first exists, so where sync starts."""

    address: str
    block_number: int
    tx_hash: str
    constructor_args: list[Any]
    source_hash: str
    compiler: str


@dataclass(frozen=True)
class Deployment:
    """Our contracts on one chain."""

    chain_id: int
    genesis_hash: str
    contracts: dict[str, DeployedContract]

    @property
    def addresses(self) -> dict[str, str]:
        """Contract name -> address."""
        return {name: contract.address for name, contract in self.contracts.items()}

    @property
    def start_block(self) -> int:
        return min(contract.block_number for contract in self.contracts.values())

    def name_at(self, address: str) -> str:
        """The contract at this address, or the empty string."""
        return next((name for name, own in self.addresses.items() if own == address), "")


def deployment_path(chain_id: int) -> Path:
    folder = Path(settings.BCFL_HOME) / "deployments" if chain_id == DEV_CHAIN_ID else DEPLOYMENTS
    return folder / f"{chain_id}.json"


def deployment(chain_id: int) -> Deployment:
    """Where our contracts are on this chain. Raises NotDeployed."""
    path = deployment_path(chain_id)
    try:
        changed = path.stat().st_mtime_ns
    except FileNotFoundError as error:
        raise NotDeployed(
            f"Our contracts are not deployed on chain {chain_id} ({path.name} does not exist). "
            "Run manage.py deploy_contracts --network NAME."
        ) from error
    return _read_deployment(path, changed)


def save_deployment(deployed: Deployment) -> Path:
    """Write the record in one step, so that a reader never sees half of it."""
    path = deployment_path(deployed.chain_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".json.new")
    draft.write_text(json.dumps(asdict(deployed), indent=2) + "\n")
    draft.replace(path)
    return path


def event_decoder(deployed: Deployment) -> EventDecoder:
    """Decodes the events of our contracts where this deployment put them."""
    return EventDecoder(
        {own.address: (name, load(name).abi) for name, own in deployed.contracts.items()}
    )


@lru_cache(maxsize=64)
def _read_deployment(path: Path, changed: int) -> Deployment:
    """`changed` is the file's time, so that a new deployment is seen at once."""
    record = json.loads(path.read_text())
    return Deployment(
        chain_id=record["chain_id"],
        genesis_hash=record["genesis_hash"],
        contracts={
            name: DeployedContract(**contract) for name, contract in record["contracts"].items()
        },
    )
