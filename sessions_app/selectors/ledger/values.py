"""Decoded values as people read them: each with its unit, its name, its link.

The unit follows from the ABI: in our contracts every ``uint96`` is an amount of FLT and every
``uint40`` a time; the other names are in the tables below. ``tests/pages/test_ledger_values.py``
holds every argument of the committed ABIs against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.urls import reverse

from chain.artifacts import NAMES as CONTRACTS
from chain.artifacts import load
from chain.calls import decode_call
from chain.errors import NotDeployed
from chain.events import Abi
from sessions_app.formats import amount, count, duration, percent
from sessions_app.models import Task
from sessions_app.selectors.people.people import Names

UNLIMITED = 2**256 - 1
LATEST_YEAR = 9999  # what the calendar of Python can write
NBSP = "\u00a0"

# Amounts of FLT that are wider than uint96.
_AMOUNTS = frozenset(
    (
        *("value", "allowance", "needed", "balance", "initialSupply", "expected", "received"),
        *("pool", "unclaimed", "stakes", "total", "balanceOf", "totalSupply"),
    )
)
_TIMES = frozenset(("deadline", "time"))
_SECONDS = frozenset(("duration", "claimPeriod"))
_SAMPLES = frozenset(("samples", "samplesCap", "cap"))
_BYTES = frozenset(("updateBytes", "signatureBytes", "bytesGiven", "bytesExpected"))
_ENUMS = {
    "TaskPhase": ("none", "open", "running", "completed", "cancelled"),
    "RoundPhase": ("none", "updates", "scoring", "aggregating", "finalized"),
    "RewardMode": ("equal", "samples", "score"),
    "MemberStatus": ("none", "active", "left", "slashed", "returned"),
}


@dataclass(frozen=True)
class Shown:
    """One value. ``exact`` is the value on chain where ``text`` has another form; ``copyable``
    marks hashes and bytes, which are shown whole in the copy button and short in the text."""

    name: str
    type: str
    text: str
    exact: str = ""
    url: str = ""
    copyable: bool = False


@dataclass(frozen=True)
class TaskLink:
    pk: int
    title: str

    @property
    def url(self) -> str:
        return reverse("task", args=(self.pk,))


@dataclass(frozen=True)
class Known:
    """What values are named after: people by address, tasks by their id on chain."""

    names: Names
    tasks: Mapping[int, TaskLink]


def task_links(network_id: int, onchain_ids: Iterable[int]) -> dict[int, TaskLink]:
    """One query, none when there is nothing to look up."""
    wanted = set(onchain_ids)
    if not wanted:
        return {}
    rows = Task.objects.filter(network_id=network_id, onchain_id__in=wanted)
    return {
        onchain_id: TaskLink(pk, title)
        for onchain_id, pk, title in rows.values_list("onchain_id", "pk", "title")
        if onchain_id is not None
    }


def find_item(contract: str, kind: str, name: str) -> Mapping[str, Any] | None:
    """The function, event or error of one of our ABIs."""
    for item in abi_of(contract):
        if item["type"] == kind and (kind == "constructor" or item["name"] == name):
            return item
    return None


def abi_of(contract: str) -> Abi:
    """Empty for a contract that is not ours or was never compiled."""
    if contract not in CONTRACTS:
        return ()
    try:
        return load(contract).abi
    except NotDeployed:
        return ()


def decoded_input(contract: str, data: str) -> tuple[str, dict[str, Any]] | None:
    """(function, named arguments) of calldata in 0x-hex; None when it is not a call of ours."""
    try:
        return decode_call(abi_of(contract), bytes.fromhex(data.removeprefix("0x")))
    except ValueError:
        return None


def shown_arguments(
    inputs: Sequence[Mapping[str, Any]], args: Mapping[str, Any], known: Known, *, of: str = ""
) -> list[Shown]:
    """Every argument, structs opened as ``params.pool``. ``of``: the function whose nameless
    result this may be."""
    rows: list[Shown] = []
    # OutOfRange names a parameter of any kind: its numbers have no unit of their own.
    no_unit = "minimum" in args and "maximum" in args
    for position, item in enumerate(inputs):
        name = item.get("name") or f"arg{position}"
        if name not in args:
            continue
        meaning = of if name.startswith("arg") else name
        rows += _shown(item, name, args[name], known, "" if no_unit else meaning)
    return rows


def shown_plain(args: Mapping[str, Any]) -> list[Shown]:
    """Arguments of which no ABI is at hand."""
    return [Shown(name, "", str(value)) for name, value in args.items()]


def error_inputs(error_name: str) -> Sequence[Mapping[str, Any]]:
    """The declared arguments of a custom error of ours; empty when no ABI here has it."""
    for contract in CONTRACTS:
        item = find_item(contract, "error", error_name)
        if item is not None:
            inputs: Sequence[Mapping[str, Any]] = item["inputs"]
            return inputs
    return ()


def moment(seconds: int) -> str:
    """Unix seconds as a date and time; what no calendar reaches is told as such."""
    if seconds == 0:
        return "none"
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime(f"%d %b %Y %H:%M:%S{NBSP}UTC")
    except (ValueError, OverflowError, OSError):
        return "never" if seconds >= UNLIMITED >> 1 else f"after the year {LATEST_YEAR}"


def _shown(
    item: Mapping[str, Any], name: str, value: Any, known: Known, meaning: str
) -> list[Shown]:
    kind: str = item["type"]
    if kind == "tuple":
        return [
            row
            for component in item["components"]
            if component["name"] in value
            for row in _shown(
                component,
                f"{name}.{component['name']}",
                value[component["name"]],
                known,
                component["name"],
            )
        ]
    if kind.endswith("]"):
        return [_shown_list(item, name, value, known)]
    if kind == "address":
        party = known.names.party(value)
        return [Shown(name, kind, party.name, value if party.kind else "", party.url)]
    if kind == "bool":
        return [Shown(name, kind, "yes" if value else "no")]
    if kind.startswith("uint"):
        return [_shown_number(item, name, int(value), known, meaning)]
    if kind.startswith("bytes"):
        return _shown_bytes(kind, name, str(value), meaning)
    return [Shown(name, kind, str(value))]


def _shown_list(item: Mapping[str, Any], name: str, values: Sequence[Any], known: Known) -> Shown:
    kind: str = item["type"]
    element = {**item, "type": kind[: kind.rindex("[")]}
    texts = [row.text for value in values for row in _shown(element, name, value, known, name)]
    exact = ", ".join(map(str, values)) if element["type"] == "address" else ""
    return Shown(name, kind, ", ".join(texts) or "none", exact)


def _shown_number(
    item: Mapping[str, Any], name: str, value: int, known: Known, meaning: str
) -> Shown:
    kind: str = item["type"]
    enum = str(item.get("internalType", ""))
    if enum.startswith("enum "):
        members = _ENUMS.get(enum.rpartition(".")[2].removeprefix("enum "), ())
        return Shown(name, kind, members[value] if value < len(members) else str(value), str(value))
    if meaning in ("taskId", "taskCount"):
        task = known.tasks.get(value) if meaning == "taskId" else None
        return Shown(
            name,
            kind,
            f"{task.title} ({value})" if task else str(value),
            url=task.url if task else "",
        )
    if kind == "uint96" or (
        kind == "uint256" and (meaning in _AMOUNTS or meaning.endswith("allowance"))
    ):
        if value == UNLIMITED:
            return Shown(name, kind, "without limit", f"{value} wei")
        return Shown(name, kind, f"{amount(value)}{NBSP}FLT", f"{value} wei")
    if kind == "uint40" or meaning in _TIMES:
        return Shown(name, kind, moment(value), f"{value} s")
    if meaning.endswith("Seconds") or meaning in _SECONDS:
        return Shown(name, kind, duration(value), f"{value} s")
    if meaning.endswith("Ppm"):
        return Shown(name, kind, f"{percent(value, 2)}{NBSP}%", f"{value} ppm")
    if meaning in _SAMPLES:
        return Shown(name, kind, count(value, "sample"))
    if meaning in _BYTES:
        return Shown(name, kind, count(value, "byte"))
    return Shown(name, kind, f"{value:,}")


def _shown_bytes(kind: str, name: str, value: str, meaning: str) -> list[Shown]:
    data = bytes.fromhex(value.removeprefix("0x"))
    if meaning == "scores" and len(data) % 4 == 0:
        scores = [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]
        listed = ", ".join(f"{score:,}" for score in scores) or "none"
        return [Shown(name, kind, f"by member: {listed}", value)]
    if meaning == "updates" and len(data) % 38 == 0:
        rows = [Shown(name, kind, count(len(data) // 38, "update"), value)]
        for at in range(0, len(data), 38):  # uint16 member, bytes32 hash, uint32 samples
            entry = data[at : at + 38]
            samples = int.from_bytes(entry[34:], "big")
            member = int.from_bytes(entry[:2], "big")
            update = "0x" + entry[2:34].hex()
            text = f"member {member}: {count(samples, 'sample')}, {update}"
            rows.append(Shown(f"{name}[{at // 38}]", "", text, url=_search(update)))
        return rows
    if meaning == "signatures" and len(data) % 65 == 0:
        return [Shown(name, kind, count(len(data) // 65, "signature"), value)]
    if kind == "bytes32":
        empty = not any(data)
        hashed = meaning.endswith(("Hash", "Root")) and not empty
        return [
            Shown(
                name,
                kind,
                "none" if empty else value,
                url=_search(value) if hashed else "",
                copyable=not empty,
            )
        ]
    return [Shown(name, kind, value if len(value) > 2 else "empty", copyable=len(value) > 10)]


def _search(value: str) -> str:
    return f"{reverse('search')}?q={value}"
