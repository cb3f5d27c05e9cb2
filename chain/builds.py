"""The compiled contracts, as committed in contracts/build. Knows no settings and no Django.

An installed wheel carries the same files inside this package, in `abi/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chain.errors import NotDeployed
from chain.events import Abi
from chain.reverts import RevertDecoder

_TREE = Path(__file__).resolve().parent.parent / "contracts" / "build"
BUILD = _TREE if _TREE.is_dir() else Path(__file__).resolve().parent / "abi"
TOKEN = "FLToken"  # noqa: S105 (a name, not a secret)
COORDINATOR = "FLCoordinator"
NAMES = (TOKEN, COORDINATOR)  # in the order they are deployed


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


@lru_cache(maxsize=16)
def load(name: str) -> Artifact:
    """The committed build of contract `name`. Raises NotDeployed when it was never compiled."""
    path = BUILD / f"{name}.json"
    try:
        build = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise NotDeployed(
            f"contracts/build/{path.name} does not exist. Run `manage.py compile_contracts`."
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


@lru_cache(maxsize=1)
def revert_decoder() -> RevertDecoder:
    """Decodes the custom errors of every compiled contract there is."""
    artifacts = [load(name) for name in NAMES if (BUILD / f"{name}.json").exists()]
    notices = {name: text for item in artifacts for name, text in item.error_notices.items()}
    return RevertDecoder([item.abi for item in artifacts], notices)


def _prefixed(code: str) -> str:
    return code if code.startswith("0x") else "0x" + code
