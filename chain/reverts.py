"""What the EVM said when it refused: revert data -> name, arguments, a sentence.

Pure. Custom errors as in Solidity's ABI, `Error(string)` and `Panic(uint256)` as in the
Solidity documentation, "Control Structures: Error handling".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from eth_abi.exceptions import DecodingError

from chain.calls import decode_arguments
from chain.errors import ContractReverted
from chain.events import Abi, selector

_REASON = {"type": "error", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]}
_PANIC = {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]}
_PANICS = {
    0x01: "an assertion failed",
    0x11: "an arithmetic operation overflowed",
    0x12: "a division by zero",
    0x21: "a number that is no member of the enum",
    0x22: "badly encoded storage bytes",
    0x31: "pop on an empty array",
    0x32: "an array index out of bounds",
    0x41: "too much memory was asked for",
    0x51: "a call of an uninitialised function pointer",
}


# Of libraries, whose NatSpec speaks to developers: ERC-6093, and OpenZeppelin's ERC20Permit.
_NOTICES = {
    "ERC20InsufficientBalance": "The account holds fewer tokens than this takes",
    "ERC20InsufficientAllowance": "The spender is allowed fewer tokens than this takes",
    "ERC2612ExpiredSignature": "The permit's deadline is over; sign another one",
    "ERC2612InvalidSigner": "The permit was not signed by the owner of the tokens",
}


class RevertDecoder:
    """Knows the custom errors of the given ABIs.

    `notices`: error name -> the sentence its NatSpec gives, where the build has one.
    """

    def __init__(self, abis: Iterable[Abi], notices: Mapping[str, str] | None = None) -> None:
        self._errors: dict[bytes, Mapping[str, Any]] = {
            selector(_REASON): _REASON,
            selector(_PANIC): _PANIC,
        }
        for abi in abis:
            for item in abi:
                if item["type"] == "error":
                    self._errors.setdefault(selector(item), item)
        self._notices = {**(notices or {}), **_NOTICES}

    def decode(self, data: str, message: str = "") -> ContractReverted:
        """The error in `data` (0x-hex); `message` is what the node said, for data we don't know."""
        raw = bytes.fromhex(data.removeprefix("0x"))
        item = self._errors.get(raw[:4])
        if item is not None:
            try:
                arguments = decode_arguments(item["inputs"], raw[4:])
            except DecodingError:
                item = None
            else:
                return ContractReverted(
                    item["name"], arguments, self._sentence(item["name"], arguments)
                )
        if raw:
            return ContractReverted(
                "Reverted",
                {"data": "0x" + raw.hex()},
                f"The contract refused with an error of unknown name (selector 0x{raw[:4].hex()}); "
                "no compiled ABI here has it.",
            )
        return ContractReverted(
            "Reverted", {}, f"The contract refused without a reason{_said(message)}."
        )

    def _sentence(self, name: str, arguments: Mapping[str, Any]) -> str:
        if name == "Error":
            return f"The contract refused: {arguments['reason']}."
        if name == "Panic":
            code = arguments["code"]
            return f"The contract panicked: {_PANICS.get(code, 'unknown cause')} (0x{code:02x})."
        words = self._notices.get(name) or _words(name)
        values = ", ".join(f"{key} {value}" for key, value in arguments.items())
        return f"{words.rstrip('.')} ({values})." if values else f"{words.rstrip('.')}."


def _words(name: str) -> str:
    """`RoundNotOpen` -> "Round not open"; abbreviations such as ERC20 stay."""
    parts = re.findall(r"[A-Z]+[0-9]+|[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    words = [part if part.isupper() or len(part) == 1 else part.lower() for part in parts]
    sentence = " ".join(words)
    return sentence[:1].upper() + sentence[1:]


def _said(message: str) -> str:
    return f" (the node said: {message})" if message else ""
