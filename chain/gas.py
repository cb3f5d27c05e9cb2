"""What every call of the protocol costs, measured from mined transactions.

Runs a whole task on a development chain for a given number of participants: one round with
direct submissions, one relayed in batches, all calls that move money. Used by
`manage.py gas_report`; the budgets are those of docs/standard.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from eth_utils.crypto import keccak

from chain.artifacts import COORDINATOR, TOKEN, load
from chain.calls import decode_result, encode_arguments, encode_call
from chain.client import ChainClient
from chain.errors import ContractReverted
from chain.merkle import reward_tree

FLT = 10**18
SUPPLY = 10**9 * FLT
ROUNDS = 4  # 1 warms the slots, 2 direct, 3 relayed, 4 ends the task
BATCH = 50  # relayed updates in one transaction

# Gas budgets: the limit for one call, or for a sum of calls. `per_update` counts the share of
# one update in a relayed batch.
BUDGETS = {
    "createTask": 230_000,
    "join": 80_000,
    "submitUpdate": 33_000,
    "submitUpdatesBySig per update": 11_000,
    "submitScores + submitAggregate": 130_000,
    "claim, repeated": 60_000,
    "round, direct": 450_000,
    "round, relayed": 235_000,
}
# At 10 participants. Elsewhere only what does not depend on their number is compared.
BUDGETS_AT_TEN = {
    "submitUpdatesBySig per update",
    "submitScores + submitAggregate",
    "round, direct",
    "round, relayed",
}
# The reference design (an array of updates on chain, one contract a task) with solc 0.8.17.
REFERENCE = {
    "submitUpdate": {4: 209_000, 10: 220_000, 25: 253_000},
    "round, direct": {10: 3_180_000},
}


@dataclass
class GasRun:
    """Gas of each call for one number of participants; lists are in the order of mining."""

    participants: int
    calls: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, gas: int) -> None:
        self.calls.setdefault(name, []).append(gas)

    def figures(self) -> dict[str, int]:
        """One number a name: the dearest call, or the sum that a budget speaks of."""
        calls = self.calls
        relayed = sum(calls["submitUpdatesBySig"])
        evaluation = calls["submitScores"][1] + calls["submitAggregate"][1]
        direct = calls["submitUpdate"][self.participants :]
        return {
            "approve": max(calls["approve"]),
            "createTask": calls["createTask"][1],
            "createTask, first ever": calls["createTask"][0],
            "join": max(calls["join"]),
            "joinWithPermit": max(calls["joinWithPermit"]),
            "start": calls["start"][0],
            "submitUpdate": max(direct),
            "submitUpdate, cheapest": min(direct),
            "submitUpdatesBySig per update": round(relayed / self.participants),
            "submitScores": calls["submitScores"][1],
            "submitAggregate": calls["submitAggregate"][1],
            "submitScores + submitAggregate": evaluation,
            "claim, first": calls["claim"][0],
            "claim, repeated": calls["claim"][-1],
            "returnStake": max(calls["returnStake"]),
            "round, direct": sum(direct) + evaluation,
            "round, relayed": relayed + calls["submitScores"][2] + calls["submitAggregate"][2],
        }


class ProtocolDriver:
    """Signs and sends the calls of a whole task; every transaction is mined before the next."""

    def __init__(self, client: ChainClient) -> None:
        self.client = client
        self.chain_id = client.chain_id()
        self.nonces: dict[str, int] = {}
        self.addresses: dict[str, str] = {}
        self.owner = self._signer("owner")
        token = self.deploy(TOKEN, [SUPPLY])
        self.deploy(COORDINATOR, [token])

    def deploy(self, name: str, values: Sequence[Any]) -> str:
        artifact = load(name)
        inputs = artifact.constructor["inputs"]
        code = bytes.fromhex(artifact.bytecode[2:]) + encode_arguments(inputs, values, name)
        receipt = self.send(self.owner, None, code)
        self.addresses[name] = receipt.contract_address
        return receipt.contract_address

    def _signer(self, name: str) -> LocalAccount:
        signer: LocalAccount = Signer.from_key(keccak(text=f"bcfl gas report {name}"))
        self.client.rpc("anvil_setBalance", signer.address, hex(10**21))
        return signer

    def send(self, signer: LocalAccount, to: str | None, data: bytes) -> Any:
        nonce = self.nonces.get(signer.address, 0)
        transaction: dict[str, Any] = {
            "chainId": self.chain_id,
            "nonce": nonce,
            "gas": 10_000_000 if to is None else 5_000_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 10**9,
            "value": 0,
            "data": "0x" + data.hex(),
        }
        if to is not None:
            transaction["to"] = to
        signed = signer.sign_transaction(transaction)
        tx_hash = self.client.send_raw("0x" + bytes(signed.raw_transaction).hex())
        self.nonces[signer.address] = nonce + 1
        receipt = self.client.wait_for_receipt(tx_hash)
        if not receipt.succeeded:
            raise ContractReverted("Reverted", {}, f"{tx_hash} reverted; run it with eth_call.")
        return receipt

    def call(self, signer: LocalAccount, contract: str, function: str, *args: Any) -> int:
        """Gas used."""
        data = encode_call(load(contract).abi, function, args)
        return int(self.send(signer, self.addresses[contract], data).gas_used)

    def read(self, contract: str, function: str, *args: Any) -> dict[str, Any]:
        abi = load(contract).abi
        data = self.client.call(self.addresses[contract], encode_call(abi, function, args))
        return decode_result(abi, function, len(args), data)

    def run(self, participants: int) -> GasRun:
        """A whole task with one evaluator; see the module's docstring for its rounds."""
        run = GasRun(participants)
        operator, evaluator = self._signer("operator"), self._signer("evaluator")
        members = [self._signer(f"member {i}") for i in range(participants)]
        for person in (operator, *members):
            self.call(self.owner, TOKEN, "transfer", person.address, 100_000 * FLT)
        # The first task of a coordinator also pays for its balance and counter leaving zero.
        self._create(run, operator, evaluator, participants)
        task_id = self._create(run, operator, evaluator, participants)
        for index, member in enumerate(members):
            self._join(run, task_id, member, with_permit=index == 0)
        run.add("start", self.call(operator, COORDINATOR, "start", task_id))
        earned: dict[str, int] = {str(member.address): 0 for member in members}
        for number in range(1, ROUNDS + 1):
            self._updates(run, task_id, number, members)
            proofs = self._evaluate(run, task_id, number, evaluator, earned)
            first = str(members[0].address)
            run.add(
                "claim",
                self.call(members[0], COORDINATOR, "claim", task_id, first, earned[first], proofs),
            )
        for member in members:
            run.add(
                "returnStake",
                self.call(member, COORDINATOR, "returnStake", task_id, member.address),
            )
        return run

    def _create(
        self, run: GasRun, operator: LocalAccount, evaluator: LocalAccount, participants: int
    ) -> int:
        pool = 1_000 * FLT
        allowance = self.call(operator, TOKEN, "approve", self.addresses[COORDINATOR], pool)
        run.add("approve", allowance)
        params = {
            "configHash": keccak(text="config"),
            "modelHash": keccak(text="model 0"),
            "pool": pool,
            "stake": 10 * FLT,
            "rounds": ROUNDS,
            "minParticipants": participants,
            "maxParticipants": participants,
            "quorum": 1,
            "rewardMode": 2,
            "joinSeconds": 3_600,
            "updateSeconds": 3_600,
            "scoreSeconds": 3_600,
            "aggregateSeconds": 3_600,
            "evaluators": [evaluator.address],
        }
        run.add("createTask", self.call(operator, COORDINATOR, "createTask", params))
        (count,) = self.read(COORDINATOR, "taskCount").values()
        return int(count)

    def _join(self, run: GasRun, task_id: int, member: LocalAccount, *, with_permit: bool) -> None:
        stake = 10 * FLT
        if with_permit:
            deadline = 2**40
            v, r, s = self._permit(member, stake, deadline)
            gas = self.call(
                member, COORDINATOR, "joinWithPermit", task_id, 1_000, deadline, v, r, s
            )
            run.add("joinWithPermit", gas)
            return
        allowance = self.call(member, TOKEN, "approve", self.addresses[COORDINATOR], stake)
        run.add("approve", allowance)
        run.add("join", self.call(member, COORDINATOR, "join", task_id, 1_000))

    def _permit(self, owner: LocalAccount, value: int, deadline: int) -> tuple[int, bytes, bytes]:
        """ERC-2612 signature for the coordinator."""
        (separator,) = self.read(TOKEN, "DOMAIN_SEPARATOR").values()
        (nonce,) = self.read(TOKEN, "nonces", owner.address).values()
        words = [
            keccak(
                text="Permit(address owner,address spender,uint256 value,uint256 nonce,"
                "uint256 deadline)"
            ),
            bytes.fromhex(owner.address[2:]).rjust(32, b"\0"),
            bytes.fromhex(self.addresses[COORDINATOR][2:]).rjust(32, b"\0"),
            *(number.to_bytes(32, "big") for number in (value, nonce, deadline)),
        ]
        digest = keccak(b"\x19\x01" + bytes.fromhex(separator[2:]) + keccak(b"".join(words)))
        signed = owner.unsafe_sign_hash(Hash32(digest))
        return signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")

    def _updates(
        self, run: GasRun, task_id: int, number: int, members: Sequence[LocalAccount]
    ) -> None:
        hashes = [keccak(text=f"update {number} {m.address}") for m in members]
        if number != 3:
            for member, update in zip(members, hashes, strict=True):
                gas = self.call(member, COORDINATOR, "submitUpdate", task_id, number, update, 1_000)
                if number <= 2:
                    run.add("submitUpdate", gas)
            return
        for start in range(0, len(members), BATCH):
            updates, signatures = b"", b""
            for index in range(start, min(start + BATCH, len(members))):
                updates += index.to_bytes(2, "big") + hashes[index] + (1_000).to_bytes(4, "big")
                signatures += self._sign_update(members[index], task_id, number, hashes[index])
            gas = self.call(
                self.owner,
                COORDINATOR,
                "submitUpdatesBySig",
                task_id,
                number,
                updates,
                signatures,
            )
            run.add("submitUpdatesBySig", gas)

    def _sign_update(
        self, member: LocalAccount, task_id: int, number: int, update_hash: bytes
    ) -> bytes:
        """ERC-2098 compact signature of the EIP-712 digest."""
        (digest,) = self.read(
            COORDINATOR, "updateDigest", task_id, number, update_hash, 1_000
        ).values()
        signed = member.unsafe_sign_hash(Hash32(bytes.fromhex(digest[2:])))
        parity = signed.v - 27
        return signed.r.to_bytes(32, "big") + ((parity << 255) | signed.s).to_bytes(32, "big")

    def _evaluate(
        self,
        run: GasRun,
        task_id: int,
        number: int,
        evaluator: LocalAccount,
        earned: dict[str, int],
    ) -> list[bytes]:
        """Scores and aggregate of a round with equal rewards; the first member's proof."""
        (reward,) = self.read(COORDINATOR, "roundReward", task_id).values()
        scores = b"".join((900_000 + i).to_bytes(4, "big") for i in range(len(earned)))
        run.add(
            "submitScores",
            self.call(evaluator, COORDINATOR, "submitScores", task_id, number, scores),
        )
        for address in earned:
            earned[address] += reward // len(earned)
        tree = reward_tree(task_id, earned)
        run.add(
            "submitAggregate",
            self.call(
                evaluator,
                COORDINATOR,
                "submitAggregate",
                task_id,
                number,
                keccak(text=f"model {number}"),
                tree.root,
                900_000,
            ),
        )
        return list(tree.proof(sorted(earned).index(next(iter(earned)))))


def over_budget(run: GasRun) -> dict[str, tuple[int, int]]:
    """Figures beyond their budget: name -> (measured, budget)."""
    figures = run.figures()
    return {
        name: (figures[name], limit)
        for name, limit in BUDGETS.items()
        if (name not in BUDGETS_AT_TEN or run.participants == 10) and figures[name] > limit
    }
