"""What the contract would say to createTask, asked of the node before anyone signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from eth_utils.crypto import keccak

from chain.artifacts import COORDINATOR, load
from chain.calls import encode_call
from chain.client import call_object
from chain.errors import CallFailed, ChainError, ContractReverted
from chain.network import client_current
from chain.selectors import contract_address, eth_balance, token_balance
from sessions_app.formats import amount
from sessions_app.selectors.wizard.quote import Quote
from training.canonical import keccak_hex

# Where OpenZeppelin's ERC20 keeps `_allowances`: `forge inspect FLToken storageLayout`.
ALLOWANCES_SLOT = 1
NOT_ALLOWED_YET = "ERC20InsufficientAllowance"
TOO_POOR = "ERC20InsufficientBalance"
# The model is made once the task is funded; any hash stands for it here.
SOME_MODEL = keccak_hex(b"a model to come")


@dataclass(frozen=True)
class DryRun:
    """``outcome``: passes, refused, or unknown when no node could be asked. ``balance`` of FLT
    and ``coins`` of ETH in wei, both asked of the node now; None when it did not say."""

    outcome: Literal["passes", "refused", "unknown"]
    sentence: str
    error: str = ""
    balance: int | None = None
    coins: int | None = None
    coins_needed: int | None = None

    @property
    def lacks_coins(self) -> bool:
        return (
            self.coins is not None
            and self.coins_needed is not None
            and self.coins < self.coins_needed
        )


def dry_run(*, sender: str, params: Mapping[str, Any], made: Quote) -> DryRun:
    """Runs createTask with ``params`` (the contract's TaskParams) as if the pool were approved."""
    needed = made.fee(made.gas_of("operator"))
    try:
        balance, coins = token_balance(sender), eth_balance(sender)
        _call(sender, params)
    except ContractReverted as error:
        sentence = error.sentence
        if error.name == TOO_POOR:
            sentence = (
                f"The pool is {amount(made.terms.pool)} FLT and this account holds "
                f"{amount(balance)} FLT. Send it the rest, lower the pool, or fund the task from "
                "a wallet that holds it."
            )
        return DryRun("refused", sentence, error.name, balance, coins, needed)
    except ChainError as error:
        return DryRun("unknown", str(error))
    return DryRun("passes", "The contract takes these terms.", "", balance, coins, needed)


def _call(sender: str, params: Mapping[str, Any]) -> None:
    coordinator = contract_address(COORDINATOR)
    terms = {**params, "modelHash": params.get("modelHash") or SOME_MODEL}
    data = encode_call(load(COORDINATOR).abi, "createTask", [terms])
    request = call_object(to=coordinator, data="0x" + data.hex(), sender=sender)
    overrides = {
        contract_address("FLToken"): {
            "stateDiff": {_allowance_slot(sender, coordinator): "0x" + "f" * 64}
        }
    }
    client = client_current()
    try:
        client.rpc("eth_call", request, "latest", overrides)
    except CallFailed:
        # A node that takes no overrides: without the approval the token refuses last of all, so
        # everything before it has passed.
        try:
            client.rpc("eth_call", request, "latest")
        except ContractReverted as error:
            if error.name != NOT_ALLOWED_YET:
                raise


def _allowance_slot(owner: str, spender: str) -> str:
    """Storage key of ``_allowances[owner][spender]`` (Solidity, "Layout of State Variables")."""

    def word(address: str) -> bytes:
        return bytes.fromhex(address[2:]).rjust(32, b"\0")

    inner = keccak(word(owner) + ALLOWANCES_SLOT.to_bytes(32, "big"))
    return "0x" + keccak(word(spender) + inner).hex()
