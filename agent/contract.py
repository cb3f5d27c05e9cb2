"""The coordinator as an agent sees it: views, calls signed with the own key, events of one task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from agent.errors import WrongNetwork
from agent.sending import Sender
from chain.builds import COORDINATOR, TOKEN, load, revert_decoder
from chain.calls import decode_result, encode_call
from chain.client import ChainClient
from chain.errors import RangeTooLarge
from chain.events import DecodedEvent, EventDecoder
from chain.wire import Receipt

# Enums of the contract, by number.
TASK_PHASES = ("none", "open", "running", "completed", "cancelled")
ROUND_PHASES = ("none", "updates", "scoring", "aggregating", "finalized")
MEMBER_STATUS = ("none", "active", "left", "slashed", "returned")
REWARD_MODES = ("equal", "samples", "score")


def connect(url: str) -> ChainClient:
    return ChainClient(url, timeout=30.0, reverts=revert_decoder())


class Contract:
    """One coordinator on one chain. Errors are `chain.errors.ChainError` with a sentence."""

    def __init__(self, client: ChainClient, address: str, signer: LocalAccount | None) -> None:
        self.client = client
        self.address = address
        self.signer = signer
        self.sender = Sender(client, signer) if signer else None
        self.token = ""  # what the coordinator itself says, set by `check`

    @property
    def me(self) -> str:
        return str(self.signer.address) if self.signer else ""

    def check(self, chain_id: int, genesis: str) -> None:
        """Is this the chain, and is our contract there? Raises WrongNetwork."""
        found_id, found_genesis = self.client.identity()
        if found_id != chain_id:
            raise WrongNetwork(
                f"The node {self.client.url} serves chain {found_id}, but the task is on chain "
                f"{chain_id}. Give a node of that chain with --rpc. Nothing was sent."
            )
        if genesis and found_genesis != genesis:
            raise WrongNetwork(
                f"The node {self.client.url} serves another chain with id {chain_id}: its genesis "
                f"is {found_genesis}, the task's {genesis}. Give the right one with --rpc. "
                "Nothing was sent."
            )
        code = self.client.code(self.address)
        if not load(COORDINATOR).matches(code):
            what = "no contract" if not code else "another contract than FLCoordinator"
            raise WrongNetwork(
                f"At {self.address} on chain {chain_id} is {what}. The console names a wrong "
                "coordinator, or is of another version than this agent. Nothing was sent."
            )
        self.token = self.read("token")

    def remember(self, file: Path, genesis: str, say: Callable[[str], None]) -> None:
        """Note in `file` what is sent and not mined, so that a restart goes on with it."""
        assert self.sender is not None
        self.sender.file, self.sender.chain, self.sender.say = file, genesis, say

    def read(self, function: str, *args: Any, contract: str = COORDINATOR) -> Any:
        """What a view returns; a struct as a dict."""
        abi = load(contract).abi
        target = self.address if contract == COORDINATOR else self.token
        data = self.client.call(target, encode_call(abi, function, args))
        return next(iter(decode_result(abi, function, len(args), data).values()))

    def tokens(self, address: str) -> int:
        """Wei of the reward token."""
        return int(self.read("balanceOf", address, contract=TOKEN))

    def send(self, function: str, *args: Any, contract: str = COORDINATOR) -> Receipt:
        """Sign, send and wait until it is mined: see Sender.send."""
        assert self.sender is not None
        target = self.address if contract == COORDINATOR else self.token
        data = "0x" + encode_call(load(contract).abi, function, args).hex()
        return self.sender.send(function, target, data)

    def events(self, task_id: int, first: int) -> list[DecodedEvent]:
        """Every event of the task from block `first` on, in order: read afresh, so that a reorg
        needs no care."""
        decoder = EventDecoder({self.address: (COORDINATOR, load(COORDINATOR).abi)})
        last = self.client.head().number
        topic = "0x" + task_id.to_bytes(32, "big").hex()
        found = []
        at, width = first, last - first + 1
        while at <= last:
            until = min(at + width - 1, last)
            try:
                logs = self.client.logs(at, until, [self.address], topics=[None, topic])
            except RangeTooLarge:
                if width == 1:
                    raise
                width = max(width // 4, 1)
                continue
            found += [event for log in logs if (event := decoder.decode(log, 0)) is not None]
            at = until + 1
        return found


__all__: Sequence[str] = (
    "MEMBER_STATUS",
    "REWARD_MODES",
    "ROUND_PHASES",
    "TASK_PHASES",
    "Contract",
    "connect",
)
