"""From raw logs to events with names. Pure: no Django, no network, no web3.

Topics and types are worked out once per ABI. Plain words are read by `chain.words`, everything
else by `eth_abi` (web3's `process_log` is 20 to 30 times slower than that).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from eth_abi.abi import default_codec
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain.errors import InconsistentAnswer
from chain.words import Quick, quick_decoder

Abi = Sequence[Mapping[str, Any]]


@lru_cache(maxsize=65_536)
def checksum(address: str) -> str:
    """The address in EIP-55 form; cached, because the same few come thousands of times."""
    return str(to_checksum_address(address))


@dataclass(frozen=True, slots=True)
class RawLog:
    """A log as the node gave it; hashes and data as 0x-hex, address in checksum form."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: int
    block_hash: str
    tx_hash: str
    tx_index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class DecodedEvent:
    """One event of one of our contracts, in canonical position.

    `args`: name -> value. Addresses checksummed, bytes and bytes32 as 0x-hex, integers as int,
    structs as dict. `block_time`: Unix seconds.
    """

    contract: str
    name: str
    args: dict[str, Any]
    address: str
    block_number: int
    block_hash: str
    block_time: int
    tx_hash: str
    tx_index: int
    log_index: int

    @property
    def task_id(self) -> int | None:
        """The `taskId` argument; None for events that belong to no task (the token's)."""
        return self.args.get("taskId")


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    type: str  # as eth_abi spells it: tuples expanded
    abi: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _EventShape:
    contract: str
    name: str
    indexed: tuple[_Parameter, ...]
    plain: tuple[_Parameter, ...]
    order: tuple[str, ...]  # argument names as declared
    quick: Quick | None  # for arguments of one word each, and a last one of type bytes

    def decode(self, log: RawLog, block_time: int) -> DecodedEvent:
        args = self.quick(log.topics, log.data) if self.quick else None
        return DecodedEvent(
            contract=self.contract,
            name=self.name,
            args=self._slow(log) if args is None else args,
            address=log.address,
            block_number=log.block_number,
            block_hash=log.block_hash,
            block_time=block_time,
            tx_hash=log.tx_hash,
            tx_index=log.tx_index,
            log_index=log.log_index,
        )

    def _slow(self, log: RawLog) -> dict[str, Any]:
        """By eth_abi: any type, and the judge of what is malformed."""
        values: dict[str, Any] = {}
        for parameter, topic in zip(self.indexed, log.topics[1:], strict=True):
            if _is_hashed(parameter.abi["type"]):
                values[parameter.name] = topic  # the chain keeps only the keccak256 of it
            else:
                (value,) = default_codec.decode([parameter.type], bytes.fromhex(topic[2:]))
                values[parameter.name] = plain_value(parameter.abi, value)
        decoded = default_codec.decode([p.type for p in self.plain], bytes.fromhex(log.data[2:]))
        for parameter, value in zip(self.plain, decoded, strict=True):
            values[parameter.name] = plain_value(parameter.abi, value)
        return {name: values[name] for name in self.order}


class EventDecoder:
    """Knows the events of contracts at known addresses.

    `contracts`: address -> (contract name, ABI).
    """

    def __init__(self, contracts: Mapping[str, tuple[str, Abi]]) -> None:
        self._shapes: dict[tuple[str, str, int], _EventShape] = {}
        for address, (name, abi) in contracts.items():
            for item in abi:
                if item["type"] == "event" and not item.get("anonymous"):
                    shape = _event_shape(name, item)
                    key = (checksum(address), event_topic(item), len(shape.indexed))
                    self._shapes[key] = shape
        self.addresses = frozenset(checksum(address) for address in contracts)
        self.topics = frozenset(topic for _, topic, _ in self._shapes)  # every topic0

    def decode(self, log: RawLog, block_time: int) -> DecodedEvent | None:
        """The event, or None when the log is not one of ours.

        Raises InconsistentAnswer when topic and address are ours but the data does not fit the
        ABI: the node garbled it, or the build is not the deployed contract.
        """
        if not log.topics:
            return None
        shape = self._shapes.get((log.address, log.topics[0], len(log.topics) - 1))
        if shape is None:
            return None
        try:
            return shape.decode(log, block_time)
        except Exception as error:  # eth_abi raises a family without one common root
            raise InconsistentAnswer(
                f"Log {log.log_index} of block {log.block_number} ({log.block_hash}) carries the "
                f"topic of {shape.contract}.{shape.name} but its data does not decode: {error}. "
                "If it repeats, the committed ABI is not that of the deployed contract: "
                "run `manage.py compile_contracts` and `manage.py deploy_contracts`."
            ) from error

    def decode_all(self, logs: Iterable[RawLog], block_time: int) -> list[DecodedEvent]:
        """Our events among `logs`, in the order given."""
        decoded = (self.decode(log, block_time) for log in logs)
        return [event for event in decoded if event is not None]


def abi_type(item: Mapping[str, Any]) -> str:
    """The type as signatures and eth_abi spell it: `tuple[]` becomes `(uint256,address)[]`."""
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(abi_type(component) for component in item["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


def signature(item: Mapping[str, Any]) -> str:
    """`name(type,type)` of a function, event or error of an ABI."""
    return f"{item['name']}({','.join(abi_type(i) for i in item.get('inputs', ()))})"


def event_topic(item: Mapping[str, Any]) -> str:
    """topic0 of an event, 0x-hex."""
    return "0x" + keccak(text=signature(item)).hex()


def selector(item: Mapping[str, Any]) -> bytes:
    """The 4 bytes that name a function or custom error."""
    return keccak(text=signature(item))[:4]


def plain_value(item: Mapping[str, Any], value: Any) -> Any:
    """What eth_abi gives, as values that survive JSON: see `DecodedEvent.args`."""
    kind: str = item["type"]
    if kind.endswith("]"):
        element = {**item, "type": kind[: kind.rindex("[")]}
        return [plain_value(element, entry) for entry in value]
    if kind == "tuple":
        return {
            component["name"]: plain_value(component, entry)
            for component, entry in zip(item["components"], value, strict=True)
        }
    if kind == "address":
        return checksum(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value


def _event_shape(contract: str, item: Mapping[str, Any]) -> _EventShape:
    parameters = [
        (_Parameter(entry["name"] or f"arg{position}", abi_type(entry), entry), entry["indexed"])
        for position, entry in enumerate(item["inputs"])
    ]
    return _EventShape(
        contract=contract,
        name=item["name"],
        indexed=tuple(parameter for parameter, indexed in parameters if indexed),
        plain=tuple(parameter for parameter, indexed in parameters if not indexed),
        order=tuple(parameter.name for parameter, _ in parameters),
        quick=quick_decoder([(p.name, p.type, indexed) for p, indexed in parameters], checksum),
    )


def _is_hashed(kind: str) -> bool:
    """Indexed values of dynamic or composite type are stored as their hash."""
    return kind in ("string", "bytes") or kind.endswith("]") or kind.startswith("tuple")
