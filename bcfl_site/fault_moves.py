"""Plausible next calls on a chain whose past may change at any moment.

Each move asks the contract how things stand and makes a call that fits; when a reorg was faster
the call reverts, which is a transaction to store like any other.
"""

from __future__ import annotations

import random
from typing import Any

from chain.artifacts import COORDINATOR, TOKEN, Deployment, load
from chain.calls import decode_result, encode_call
from chain.client import ChainClient
from chain.errors import ChainError
from chain.events import checksum

FLT = 10**18
GAS = hex(1_000_000)
TASKS_AT_ONCE = 3
OPEN, RUNNING = 1, 2
UPDATES, SCORING, AGGREGATING = 1, 2, 3


class Moves:
    """Anvil sends for any address; nothing here is signed."""

    def __init__(self, client: ChainClient, deployed: Deployment, chance: random.Random) -> None:
        self.client = client
        self.random = chance
        self.addresses = deployed.addresses
        client.rpc("anvil_autoImpersonateAccount", True)
        accounts = [checksum(a) for a in client.rpc("eth_accounts")]
        # Account 0 belongs to the outbox, whose nonces nobody else may use.
        self.treasury, self.operator, self.evaluator = accounts[0], accounts[11], accounts[12]
        self.members = accounts[13:18]
        # The contracts' tokens are the treasury's, once, before anything is followed.
        for person in (self.operator, *self.members):
            self._send(self.treasury, TOKEN, "transfer", person, 10**6 * FLT)
            self._send(person, TOKEN, "approve", self.addresses[COORDINATOR], 2**255)

    def one(self) -> None:
        """One call, or none when the node refuses it."""
        try:
            if self.random.random() < 0.2:
                recipient = self.random.choice(self.members)
                self._send(self.operator, TOKEN, "transfer", recipient, self.random.randint(1, 99))
                return
            count = self._read("taskCount")
            alive = [t for t in range(1, count + 1) if self._read("task", t)["phase"] <= RUNNING]
            if (len(alive) < TASKS_AT_ONCE and self.random.random() < 0.3) or not alive:
                self._create()
            else:
                self._advance(self.random.choice(alive))
        except ChainError:
            return  # the state changed between the look and the call

    def _advance(self, task: int) -> None:
        state = self._read("task", task)
        member = self.random.choice(self.members)
        if state["phase"] == OPEN:
            chance = self.random.random()
            if state["members"] >= 2 and chance < 0.4:
                self._call(self.operator, "start", task)
            elif chance < 0.1:
                self._call(self.operator, "cancel", task)
            elif chance < 0.2:
                self._call(member, "leave", task)
            else:
                self._call(member, "join", task, 1_000)
            return
        round_ = self._read("roundState", task)
        number, phase = round_["round"], round_["phase"]
        if phase == UPDATES and (round_["awaited"] or not round_["updates"]):
            self._call(member, "submitUpdate", task, number, self._hash(), 100)
        elif phase in (UPDATES, SCORING):
            scores = b"".join(
                self.random.randint(0, 10**6).to_bytes(4, "big") for _ in range(state["members"])
            )
            self._call(self.evaluator, "submitScores", task, number, scores)
        elif phase == AGGREGATING:
            self._call(
                self.evaluator, "submitAggregate", task, number, self._hash(), self._hash(), 900_000
            )

    def _create(self) -> None:
        params = {
            "configHash": self._hash(),
            "modelHash": self._hash(),
            "pool": self.random.randint(1, 100) * FLT,
            "stake": FLT,
            "rounds": 2,
            "minParticipants": 1,
            "maxParticipants": 5,
            "quorum": 1,
            "rewardMode": self.random.randint(0, 2),
            **{f"{name}Seconds": 10**6 for name in ("join", "update", "score", "aggregate")},
            "evaluators": [self.evaluator],
        }
        self._call(self.operator, "createTask", params)

    def _hash(self) -> bytes:
        return self.random.randbytes(32)

    def _call(self, sender: str, function: str, *args: Any) -> None:
        self._send(sender, COORDINATOR, function, *args)

    def _send(self, sender: str, contract: str, function: str, *args: Any) -> None:
        data = "0x" + encode_call(load(contract).abi, function, args).hex()
        request = {"from": sender, "to": self.addresses[contract], "data": data, "gas": GAS}
        self.client.rpc("eth_sendTransaction", request)

    def _read(self, function: str, *args: Any) -> Any:
        abi = load(COORDINATOR).abi
        data = self.client.call(self.addresses[COORDINATOR], encode_call(abi, function, args))
        values = list(decode_result(abi, function, len(args), data).values())
        return values[0]
