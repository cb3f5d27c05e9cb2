"""Fill a real Anvil with whole tasks, quickly: many calls in each block, none of them signed.

Anvil sends for any address here (`anvil_autoImpersonateAccount`), which leaves blocks, receipts
and logs as they would be with signatures. Each wave is a number of tasks played to the end side
by side: create, join, start, for each round every update, scores and the aggregate, then claims
and the return of the stakes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bcfl_site.embedded.anvil import Anvil
from chain.artifacts import COORDINATOR, TOKEN, Deployment, load
from chain.calls import encode_arguments, find_function
from chain.client import BATCH, ChainClient
from chain.events import checksum, selector
from sessions_app.rewards import reward_proof, reward_root

FLT = 10**18
MEMBERS = 10
ROUNDS = 5
STAKE = 10 * FLT
POOL = 1_000 * FLT
TASKS_A_WAVE = 20
CALLS_A_BLOCK = 50  # about 3 million gas
GAS = hex(600_000)
SECONDS = 86_400  # of every phase
Call = tuple[str, str, bytes]  # from, to, calldata


@dataclass
class Filling:
    """What was put on the chain. `transactions` counts calls after the setting up."""

    transactions: int = 0
    waves: int = 0
    first_block: int = 0
    next_task: int = 1
    people: list[str] = field(default_factory=list)


class Filler:
    """Plays waves of tasks on one Anvil. `anvil` is left without automatic mining."""

    def __init__(self, anvil: Anvil, client: ChainClient, deployment: Deployment) -> None:
        self.client = client
        self.token = deployment.addresses[TOKEN]
        self.coordinator = deployment.addresses[COORDINATOR]
        accounts = [checksum(a) for a in client.rpc("eth_accounts")]
        self.treasury, self.operator, self.evaluator = accounts[:3]
        self.members = accounts[3 : 3 + 50]
        self.done = Filling()
        self._nonces: dict[str, int] = {}
        self._selectors = {
            name: selector(find_function(load(contract).abi, name, arguments))
            for contract, name, arguments in (
                (TOKEN, "transfer", 2),
                (TOKEN, "approve", 2),
                (COORDINATOR, "createTask", 1),
                (COORDINATOR, "join", 2),
                (COORDINATOR, "start", 1),
                (COORDINATOR, "submitUpdate", 4),
                (COORDINATOR, "submitScores", 3),
                (COORDINATOR, "submitAggregate", 5),
                (COORDINATOR, "claim", 4),
                (COORDINATOR, "returnStake", 2),
            )
        }
        anvil.rpc("anvil_autoImpersonateAccount", True)
        anvil.rpc("evm_setAutomine", False)
        self._set_up()

    def fill(self, enough: Callable[[], bool]) -> Filling:
        """Waves until `enough` says so."""
        while not enough():
            self._wave()
        return self.done

    # One step each

    def _set_up(self) -> None:
        """Tokens for everybody and an allowance without end for the coordinator."""
        people = [self.operator, *self.members]
        everything = 2**256 - 1
        self._play(
            (self.treasury, self.token, self._data("transfer", _word(p), _word(10**6 * FLT)))
            for p in people
        )
        self._play(
            (p, self.token, self._data("approve", _word(self.coordinator), _word(everything)))
            for p in people
        )

    def _wave(self) -> None:
        tasks = range(self.done.next_task, self.done.next_task + TASKS_A_WAVE)
        teams = {
            task: [self.members[(task * 7 + i) % len(self.members)] for i in range(MEMBERS)]
            for task in tasks
        }
        to, op, ev = self.coordinator, self.operator, self.evaluator
        self._play((op, to, self._create(task)) for task in tasks)
        self._play(
            (member, to, self._data("join", _word(task), _word(1_000)))
            for task in tasks
            for member in teams[task]
        )
        self._play((op, to, self._data("start", _word(task))) for task in tasks)
        earned = dict.fromkeys(tasks, 0)
        scores = (500_000).to_bytes(4, "big") * MEMBERS
        for number in range(1, ROUNDS + 1):
            self._play(
                (member, to, self._update(task, number, index))
                for index in range(MEMBERS)
                for task in tasks
                for member in [teams[task][index]]
            )
            packed = _word(0x60) + _word(len(scores)) + scores.ljust(64, b"\0")
            self._play(
                (ev, to, self._data("submitScores", _word(task), _word(number), packed))
                for task in tasks
            )
            for task in tasks:
                earned[task] += POOL // ROUNDS // MEMBERS
            self._play(
                (ev, to, self._aggregate(task, number, dict.fromkeys(teams[task], earned[task])))
                for task in tasks
            )
        self._play(
            (member, to, self._claim(task, member, dict.fromkeys(teams[task], earned[task])))
            for task in tasks
            for member in teams[task]
        )
        self._play(
            (member, to, self._data("returnStake", _word(task), _word(member)))
            for task in tasks
            for member in teams[task]
        )
        self.done.next_task += TASKS_A_WAVE
        self.done.waves += 1

    # Calldata

    def _data(self, function: str, *words: bytes) -> bytes:
        return self._selectors[function] + b"".join(words)

    def _create(self, task: int) -> bytes:
        params = {
            "configHash": task.to_bytes(32, "big"),
            "modelHash": (task << 32).to_bytes(32, "big"),
            "pool": POOL,
            "stake": STAKE,
            "rounds": ROUNDS,
            "minParticipants": MEMBERS,
            "maxParticipants": MEMBERS,
            "quorum": 1,
            "rewardMode": 0,
            "joinSeconds": SECONDS,
            "updateSeconds": SECONDS,
            "scoreSeconds": SECONDS,
            "aggregateSeconds": SECONDS,
            "evaluators": [self.evaluator],
        }
        inputs = find_function(load(COORDINATOR).abi, "createTask", 1)["inputs"]
        return self._data("createTask", encode_arguments(inputs, [params], "createTask"))

    def _update(self, task: int, number: int, index: int) -> bytes:
        update = (task << 64 | number << 32 | index + 1).to_bytes(32, "big")
        return self._data("submitUpdate", _word(task), _word(number), update, _word(1_000))

    def _aggregate(self, task: int, number: int, earned: dict[str, int]) -> bytes:
        model = (task << 32 | number).to_bytes(32, "big")
        root = bytes.fromhex(reward_root(task, earned)[2:])
        return self._data(
            "submitAggregate", _word(task), _word(number), model, root, _word(900_000)
        )

    def _claim(self, task: int, member: str, earned: dict[str, int]) -> bytes:
        proof = [bytes.fromhex(node[2:]) for node in reward_proof(task, earned, member)]
        return self._data(
            "claim", _word(task), _word(member), _word(earned[member]), _word(0x80),
            _word(len(proof)), *proof,
        )  # fmt: skip

    # Sending

    def _play(self, calls: Iterable[Call]) -> None:
        """The calls in order, a block for every CALLS_A_BLOCK and at the end."""
        waiting: list[Call] = []
        for call in calls:
            waiting.append(call)
            if len(waiting) == CALLS_A_BLOCK:
                self._block(waiting)
                waiting = []
        if waiting:
            self._block(waiting)

    def _block(self, calls: Sequence[Call]) -> None:
        requests: list[tuple[str, tuple[Any, ...]]] = [
            ("eth_sendTransaction", (self._request(*call),)) for call in calls
        ]
        for start in range(0, len(requests), BATCH):
            self.client.batch(requests[start : start + BATCH])
        self.client.rpc("evm_mine")
        self.done.transactions += len(calls)

    def _request(self, sender: str, to: str, data: bytes) -> dict[str, str]:
        """With its nonce: Anvil works on the calls of a batch side by side."""
        if sender not in self._nonces:
            self._nonces[sender] = self.client.nonce(sender)
        nonce = self._nonces[sender]
        self._nonces[sender] += 1
        return {
            "from": sender, "to": to, "data": "0x" + data.hex(), "gas": GAS, "nonce": hex(nonce)
        }  # fmt: skip


def check_filled(client: ChainClient) -> Counter[bool]:
    """How many transactions of the newest block succeeded: a filling that reverts is none."""
    block = client.full_blocks([client.head().number])[0]
    return Counter(t.receipt.succeeded for t in block.transactions)


def _word(value: int | str) -> bytes:
    return (
        bytes.fromhex(value[2:]).rjust(32, b"\0")
        if isinstance(value, str)
        else value.to_bytes(32, "big")
    )
