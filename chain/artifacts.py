"""What was compiled (contracts/build) and where it lives on each chain (deployments).

A deployment on the development chain is written under BCFL_HOME, others under
contracts/deployments, which is committed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from chain.errors import NotDeployed
from chain.events import Abi, EventDecoder
from chain.reverts import RevertDecoder

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "contracts" / "build"
DEPLOYMENTS = ROOT / "contracts" / "deployments"
TOKEN = "FLToken"  # noqa: S105 (a name, not a secret)
COORDINATOR = "FLCoordinator"
NAMES = (TOKEN, COORDINATOR)  # in the order they are deployed
DEV_CHAIN_ID = 31337


@dataclass(frozen=True)
class Artifact:
    """A compiled contract. Code as 0x-hex; `source_hash` as the compiler's build recorded it."""

    name: str
    abi: Abi
    bytecode: str
    deployed_bytecode: str
    immutables: tuple[tuple[int, int], ...]  # (start, length) in bytes, zero in deployed_bytecode
    source_hash: str
    compiler: str
    error_notices: Mapping[str, str]

    @property
    def constructor(self) -> Mapping[str, Any]:
        for item in self.abi:
            if item["type"] == "constructor":
                return item
        return {"type": "constructor", "inputs": []}

    def matches(self, code: bytes) -> bool:
        """Whether code found on a chain is this contract, whatever its immutables hold."""
        expected = bytes.fromhex(self.deployed_bytecode.removeprefix("0x"))
        if len(code) != len(expected):
            return False
        found, wanted = bytearray(code), bytearray(expected)
        for start, length in self.immutables:
            found[start : start + length] = wanted[start : start + length] = bytes(length)
        return found == wanted


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


@lru_cache(maxsize=16)
def load(name: str) -> Artifact:
    """The committed build of contract `name`. Raises NotDeployed when it was never compiled."""
    path = BUILD / f"{name}.json"
    try:
        build = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise NotDeployed(
            f"{path.relative_to(ROOT)} does not exist. Run `manage.py compile_contracts`."
        ) from error
    references = build.get("immutableReferences") or {}
    compiler = build.get("compiler", "")
    return Artifact(
        name=name,
        abi=build["abi"],
        bytecode=_prefixed(build["bytecode"]),
        deployed_bytecode=_prefixed(build["deployedBytecode"]),
        immutables=tuple(
            (int(place["start"]), int(place["length"]))
            for places in references.values()
            for place in places
        ),
        source_hash=build.get("sourceHash", ""),
        compiler=compiler if isinstance(compiler, str) else str(compiler.get("version", "")),
        error_notices={
            signature.split("(")[0]: entries[0]["notice"]
            for signature, entries in build.get("userdoc", {}).get("errors", {}).items()
            if entries and entries[0].get("notice")
        },
    )


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
            "Run `manage.py deploy_contracts --network NAME`."
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


@lru_cache(maxsize=1)
def revert_decoder() -> RevertDecoder:
    """Decodes the custom errors of every compiled contract there is."""
    artifacts = [load(name) for name in NAMES if (BUILD / f"{name}.json").exists()]
    notices = {name: text for item in artifacts for name, text in item.error_notices.items()}
    return RevertDecoder([item.abi for item in artifacts], notices)


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


def _prefixed(code: str) -> str:
    return code if code.startswith("0x") else "0x" + code
