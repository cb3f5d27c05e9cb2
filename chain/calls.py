"""Calldata to and fro: named arguments <-> bytes. Pure: no Django, no network, no web3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eth_abi.abi import default_codec
from eth_abi.exceptions import DecodingError, EncodingError

from chain.errors import CallFailed
from chain.events import Abi, abi_type, plain_value, selector, signature


def find_function(abi: Abi, name: str, arguments: int) -> Mapping[str, Any]:
    """The function called `name` with so many arguments.

    Raises CallFailed when the ABI has none.
    """
    named = [item for item in abi if item["type"] == "function" and item["name"] == name]
    for item in named:
        if len(item["inputs"]) == arguments:
            return item
    known = ", ".join(signature(item) for item in named) or "no function of that name"
    raise CallFailed(f"The ABI has no {name} with {arguments} arguments; it has {known}.")


def encode_call(abi: Abi, name: str, args: Sequence[Any]) -> bytes:
    """Selector and ABI-encoded arguments.

    Structs may be mappings (by component name) or sequences; bytes may be 0x-hex.
    Raises CallFailed when a value does not fit its type.
    """
    item = find_function(abi, name, len(args))
    return selector(item) + encode_arguments(item["inputs"], args, signature(item))


def encode_arguments(inputs: Sequence[Mapping[str, Any]], args: Sequence[Any], what: str) -> bytes:
    """ABI encoding of `args`; `what` names the call in the error."""
    try:
        values = [_wire_value(entry, value) for entry, value in zip(inputs, args, strict=True)]
        return default_codec.encode([abi_type(entry) for entry in inputs], values)
    except (EncodingError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise CallFailed(
            f"The arguments {list(args)!r} do not fit {what}: {error}. "
            "Compare names, order and ranges with the ABI."
        ) from error


def decode_call(abi: Abi, data: bytes) -> tuple[str, dict[str, Any]] | None:
    """(function, named arguments), or None when the selector is not in this ABI."""
    for item in abi:
        if item["type"] == "function" and selector(item) == data[:4]:
            try:
                return item["name"], decode_arguments(item["inputs"], data[4:])
            except DecodingError:
                return None  # the selector fits by accident
    return None


def decode_arguments(inputs: Sequence[Mapping[str, Any]], data: bytes) -> dict[str, Any]:
    """Name -> value as in `events.DecodedEvent.args`; nameless arguments become arg0, arg1..."""
    values = default_codec.decode([abi_type(entry) for entry in inputs], data)
    return {
        entry.get("name") or f"arg{position}": plain_value(entry, value)
        for position, (entry, value) in enumerate(zip(inputs, values, strict=True))
    }


def decode_result(abi: Abi, name: str, arguments: int, data: bytes) -> dict[str, Any]:
    """What a view function returned, by output name.

    Raises CallFailed when the bytes do not fit, which happens when no contract is there.
    """
    item = find_function(abi, name, arguments)
    try:
        return decode_arguments(item["outputs"], data)
    except DecodingError as error:
        raise CallFailed(
            f"{signature(item)} returned {len(data)} bytes that do not decode: {error}. "
            "Is the contract deployed at that address on this chain?"
        ) from error


def json_value(value: Any) -> Any:
    """The same value as JSON can hold it: bytes as 0x-hex, tuples as lists."""
    if isinstance(value, bytes | bytearray):
        return "0x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): json_value(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [json_value(entry) for entry in value]
    return value


def _wire_value(item: Mapping[str, Any], value: Any) -> Any:
    kind: str = item["type"]
    if kind.endswith("]"):
        element = {**item, "type": kind[: kind.rindex("[")]}
        return [_wire_value(element, entry) for entry in value]
    if kind == "tuple":
        components = item["components"]
        if isinstance(value, Mapping):
            unknown = value.keys() - {component["name"] for component in components}
            if unknown:
                raise ValueError(f"unknown fields {sorted(unknown)}")
            value = [value[component["name"]] for component in components]
        return tuple(
            _wire_value(component, entry)
            for component, entry in zip(components, value, strict=True)
        )
    if kind.startswith("bytes") and isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    if kind == "address" and isinstance(value, bytes):
        return "0x" + value.hex()
    return value
