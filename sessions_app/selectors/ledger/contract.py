"""Our contracts: where they are, what they are made of, what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.address import is_address, to_checksum_address

from chain.artifacts import NAMES, Artifact, DeployedContract, deployment, load
from chain.calls import decode_arguments, encode_call
from chain.deploy import contracts_verify
from chain.errors import CallFailed, ChainError, NotDeployed
from chain.events import abi_type, signature
from chain.network import client_current, network_current
from sessions_app.selectors.ledger.keyset import BadQuery
from sessions_app.selectors.ledger.rows import chain_id
from sessions_app.selectors.ledger.values import Known, Shown, shown_arguments, task_links
from sessions_app.selectors.people.people import Names, Party, contract_parties, names_of
from sessions_app.selectors.task.events import addresses_in

LABELS = {"FLToken": "FLT token", "FLCoordinator": "Coordinator"}
PURPOSES = {
    "FLToken": "The reward token: an ERC-20 with 18 decimals and permits (EIP-2612).",
    "FLCoordinator": "Holds every task: escrow, stakes, rounds, scores and rewards.",
}
# What contracts_verify answers -> (tone, words).
STATES = {
    "same": ("ok", "Code matches the build"),
    "other": ("bad", "Code is of another build"),
    "gone": ("bad", "No code at its address"),
    "none": ("wait", "Not deployed"),
}
NEXT_STEPS = {
    "same": "The bytes at its address equal the committed build, immutables aside.",
    "other": "The bytes at its address are not those of the committed build. Check out the "
    "release it was deployed from, or run manage.py deploy_contracts --replace.",
    "gone": "The chain has no code where the contract was recorded: it was started anew. "
    "Run manage.py deploy_contracts.",
    "none": "Run manage.py deploy_contracts.",
}


@dataclass(frozen=True)
class Input:
    """One argument of a read function, as a form field."""

    field: str
    name: str
    type: str
    hint: str


@dataclass(frozen=True)
class Entry:
    """A function, event or error of the ABI. ``key`` names it in an address."""

    key: str
    name: str
    signature: str
    inputs: Sequence[Input] = ()
    returns: str = ""


@dataclass(frozen=True)
class ContractPage:
    name: str
    label: str
    purpose: str
    deployed: DeployedContract | None
    party: Party | None
    compiler: str
    source_hash: str
    size: int  # bytes of deployed code
    arguments: Sequence[Shown]
    read: Sequence[Entry]
    write: Sequence[Entry]
    events: Sequence[Entry]
    errors: Sequence[Entry]
    abi: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class CodeCheck:
    tone: str
    text: str
    note: str


def contract_list() -> list[ContractPage]:
    """Reads no database."""
    return [contract_page(name) for name in NAMES]


def contract_page(name: str) -> ContractPage:
    """Raises NotDeployed when no contract of ours has the name or it was never compiled."""
    if name not in NAMES:
        raise NotDeployed(f"“{name}” is none of our contracts: {', '.join(NAMES)}.")
    built = load(name)
    try:
        deployed = deployment(chain_id()).contracts.get(name)
    except NotDeployed:
        deployed = None
    known = Known(Names(contract_parties(chain_id())), {})
    return ContractPage(
        name=name,
        label=LABELS.get(name, name),
        purpose=PURPOSES.get(name, ""),
        deployed=deployed,
        party=Party(deployed.address, LABELS.get(name, name), "contract") if deployed else None,
        compiler=built.compiler,
        source_hash=built.source_hash,
        size=len(built.deployed_bytecode) // 2 - 1,
        arguments=_constructed(built, deployed, known),
        read=_entries(built, "function", ("view", "pure")),
        write=_entries(built, "function", ("nonpayable", "payable")),
        events=_entries(built, "event"),
        errors=_entries(built, "error"),
        abi=built.abi,
    )


def code_check(name: str) -> CodeCheck:
    """Asks the node; its trouble is the answer."""
    try:
        state = contracts_verify(network=network_current(), client=client_current())[name]
    except ChainError as error:
        return CodeCheck("wait", "Not checked", str(error))
    tone, text = STATES[state]
    return CodeCheck(tone, text, NEXT_STEPS[state])


def contract_read(name: str, key: str, values: Mapping[str, str]) -> list[Shown]:
    """Call a view function at the chain's head and name what it returns.

    ``values``: the texts of the form's fields. Raises BadQuery for a text that is no value of its
    type, ChainError when the node or the contract refuses.
    """
    page = contract_page(name)
    if page.deployed is None:
        raise NotDeployed(f"{name} is not deployed on chain {chain_id()}. {NEXT_STEPS['none']}")
    built = load(name)
    item = next((i for i in built.abi if _key(i) == key and _is_read(i)), None)
    if item is None:
        raise BadQuery(f"{name} has no read function {key}.")
    args = [
        _parsed(entry, values.get(f"arg{at}", "").strip())
        for at, entry in enumerate(item["inputs"])
    ]
    data = encode_call(built.abi, item["name"], args)
    answer = client_current().call(page.deployed.address, data)
    if item["outputs"] and not answer:
        raise CallFailed(f"No contract answers at {page.deployed.address}. {NEXT_STEPS['gone']}")
    result = decode_arguments(item["outputs"], answer)
    if not item["outputs"]:
        return [Shown("result", "", "nothing, and no refusal")]
    ids = {value for at, entry in enumerate(item["inputs"])
           if entry["name"] == "taskId" and isinstance(value := args[at], int)}  # fmt: skip
    known = Known(names_of(addresses_in(result), chain_id()), task_links(network_current().pk, ids))
    shown = shown_arguments(item["outputs"], result, known, of=item["name"])
    return [_named(row) for row in shown]


def eth_balance(address: str) -> tuple[int | None, str]:
    """(wei, "") from the node now, or (None, why not)."""
    try:
        return client_current().balance(address), ""
    except ChainError as error:
        return None, str(error)


def _constructed(
    built: Artifact, deployed: DeployedContract | None, known: Known
) -> Sequence[Shown]:
    inputs = built.constructor["inputs"]
    if deployed is None:
        return ()
    names = [entry["name"] for entry in inputs]
    return shown_arguments(inputs, dict(zip(names, deployed.constructor_args, strict=False)), known)


def _entries(built: Artifact, kind: str, mutability: Sequence[str] = ()) -> list[Entry]:
    found = [
        Entry(
            key=_key(item),
            name=item["name"],
            signature=_written(item),
            inputs=[
                Input(f"arg{at}", i["name"] or f"argument {at + 1}", abi_type(i), _hint(i))
                for at, i in enumerate(item["inputs"])
            ],
            returns=", ".join(
                f"{abi_type(o)} {o['name']}".strip() for o in item.get("outputs", ())
            ),
        )
        for item in built.abi
        if item["type"] == kind and (not mutability or item["stateMutability"] in mutability)
    ]
    return sorted(found, key=lambda entry: entry.name.lower())


def _written(item: Mapping[str, Any]) -> str:
    """`name(type name, type name)`, structs by the name of their type."""
    inputs = ", ".join(
        f"{_short_type(i)}{' indexed' if i.get('indexed') else ''} {i['name']}".strip()
        for i in item["inputs"]
    )
    return f"{item['name']}({inputs})"


def _short_type(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    inner = str(item.get("internalType", kind))
    return inner.rpartition(".")[2].rpartition(" ")[2] if kind.startswith("tuple") else kind


def _key(item: Mapping[str, Any]) -> str:
    """Its signature: unique even where a name is used twice."""
    return signature(item) if "name" in item else ""


def _is_read(item: Mapping[str, Any]) -> bool:
    return item["type"] == "function" and item["stateMutability"] in ("view", "pure")


def _hint(item: Mapping[str, Any]) -> str:
    kind: str = item["type"]
    if item["name"] == "taskId":
        return "its number on chain, from 1"
    if kind == "address":
        return "0x and 40 hex digits"
    if kind == "bytes32":
        return "0x and 64 hex digits"
    if kind == "bool":
        return "yes or no"
    if item["name"].endswith("Ppm"):
        return "parts per million"
    return "a whole number" if kind.startswith("uint") else kind


def _parsed(item: Mapping[str, Any], text: str) -> Any:
    kind: str = item["type"]
    name = item["name"] or kind
    if kind == "address":
        if not is_address(text):
            raise BadQuery(f"{name}: “{text[:60]}” is no address ({_hint(item)}).")
        return to_checksum_address(text)
    if kind == "bool":
        if text.lower() not in ("yes", "no", "true", "false"):
            raise BadQuery(f"{name}: “{text[:60]}” is neither yes nor no.")
        return text.lower() in ("yes", "true")
    if kind.startswith("uint"):
        plain = text.replace(",", "")
        bits = int(kind.removeprefix("uint") or 256)
        if not (plain.isascii() and plain.isdigit() and int(plain[:80]) < 2**bits):
            raise BadQuery(f"{name}: “{text[:60]}” is no whole number from 0 to 2^{bits} - 1.")
        return int(plain)
    if kind.startswith("bytes"):
        try:
            data = bytes.fromhex(text.removeprefix("0x"))
        except ValueError as error:
            raise BadQuery(f"{name}: “{text[:60]}” is not hex ({_hint(item)}).") from error
        wanted = kind.removeprefix("bytes")
        if wanted and len(data) != int(wanted):
            raise BadQuery(f"{name}: {len(data)} bytes given, {kind} takes {wanted}.")
        return data
    return text


def _named(row: Shown) -> Shown:
    """The nameless result of a function is its result."""
    first, dot, rest = row.name.partition(".")
    if not first.startswith("arg"):
        return row
    return Shown(rest if dot else "result", row.type, row.text, row.exact, row.url, row.copyable)
