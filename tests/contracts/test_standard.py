"""docs/standard.md declares exactly what the ABI has: functions, events, errors, structs, enums."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .conftest import ROOT

STANDARD = (ROOT / "docs" / "standard.md").read_text(encoding="utf-8")
ABI: list[dict[str, Any]] = json.loads(
    (ROOT / "contracts" / "build" / "FLCoordinator.json").read_text(encoding="utf-8")
)["abi"]

# Inherited from OpenZeppelin (ownership, pausing, EIP-5267, token calls); the standard names them
# in prose, an implementation may do without.
INHERITED = {
    "function": {
        "acceptOwnership", "eip712Domain", "owner", "paused", "pendingOwner",
        "renounceOwnership", "transferOwnership",
    },
    "event": {
        "EIP712DomainChanged", "OwnershipTransferStarted", "OwnershipTransferred", "Paused",
        "Unpaused",
    },
    "error": {
        "EnforcedPause", "ExpectedPause", "InvalidShortString", "OwnableInvalidOwner",
        "OwnableUnauthorizedAccount", "ReentrancyGuardReentrantCall", "SafeERC20FailedOperation",
        "StringTooLong",
    },
}  # fmt: skip


def solidity_type(parameter: dict[str, Any]) -> str:
    """``struct IFoo.Bar[]`` → ``Bar[]``, enums by name, contracts as address."""
    internal = parameter.get("internalType", parameter["type"])
    kind, _, name = internal.partition(" ")
    if kind in {"struct", "enum"}:
        return str(name.rpartition(".")[2])
    return str(parameter["type"])


def declaration(entry: dict[str, Any]) -> str:
    """The entry as one line of Solidity, without location keywords."""
    parameters = []
    for parameter in entry["inputs"]:
        indexed = " indexed" if parameter.get("indexed") else ""
        parameters.append(f"{solidity_type(parameter)}{indexed} {parameter['name']}")
    text = f"{entry['type']} {entry['name']}({', '.join(parameters)})"
    if entry["type"] == "function":
        if entry["stateMutability"] in {"view", "pure"}:
            text += " view"
        outputs = [f"{solidity_type(o)} {o['name']}".strip() for o in entry["outputs"]]
        if outputs:
            text += f" returns ({', '.join(outputs)})"
    return text


def of_abi(kind: str) -> set[str]:
    return {
        declaration(entry)
        for entry in ABI
        if entry["type"] == kind and entry["name"] not in INHERITED[kind]
    }


def of_document(kind: str) -> set[str]:
    code = "\n".join(re.findall(r"```solidity\n(.*?)```", STANDARD, re.DOTALL))
    return {line.rstrip(";") for line in re.findall(rf"^{kind} .*?;", code, re.MULTILINE)}


@pytest.mark.parametrize("kind", ["function", "event", "error"])
def test_declarations_are_those_of_the_abi(kind: str) -> None:
    documented, real = of_document(kind), of_abi(kind)
    assert documented - real == set(), "in docs/standard.md only"
    assert real - documented == set(), "in the ABI only"


@pytest.mark.parametrize("kind", ["function", "event", "error"])
def test_what_is_inherited_is_there(kind: str) -> None:
    names = {entry["name"] for entry in ABI if entry["type"] == kind}
    assert INHERITED[kind] - names == set()


def structs_of_abi() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}

    def visit(parameters: list[dict[str, Any]]) -> None:
        for parameter in parameters:
            if "components" in parameter:
                name = solidity_type(parameter).removesuffix("[]")
                found[name] = [f"{solidity_type(c)} {c['name']}" for c in parameter["components"]]
                visit(parameter["components"])

    for entry in ABI:
        visit(entry.get("inputs", []) + entry.get("outputs", []))
    return found


def test_structs_are_those_of_the_abi() -> None:
    structs = re.findall(r"^struct (\w+) \{\n(.*?)^\}", STANDARD, re.DOTALL | re.MULTILINE)
    documented = {
        name: re.findall(r"^ +([\w\[\]]+ \w+);", body, re.MULTILINE) for name, body in structs
    }
    assert documented == structs_of_abi()


def test_enums_are_those_of_the_source() -> None:
    source = (ROOT / "contracts/interfaces/IFLCoordinatorTypes.sol").read_text(encoding="utf-8")
    pattern = re.compile(r"enum (\w+) \{(.*?)\}", re.DOTALL)
    enums = {
        name: [value.strip() for value in body.split(",")] for name, body in pattern.findall(source)
    }
    documented = {
        name: [value.strip() for value in body.split(",")]
        for name, body in pattern.findall(STANDARD)
    }
    assert documented == enums


def test_quoted_gas_is_the_committed_snapshot() -> None:
    """The gas table quotes the committed snapshot, figure by figure."""
    snapshot = json.loads(
        (ROOT / "contracts" / "snapshots" / "FLCoordinator.json").read_text(encoding="utf-8")
    )
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|", STANDARD, re.MULTILINE))
    quoted = {name: int(gas.replace(",", "")) for name, gas in rows.items() if name in snapshot}
    assert len(quoted) >= 20
    assert quoted == {name: int(snapshot[name]) for name in quoted}
