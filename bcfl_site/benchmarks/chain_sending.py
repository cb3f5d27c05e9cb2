"""A hundred submissions of one round, relayed through the outbox, and the plain way.

Ours: the participants sign, two transactions carry fifty signatures each, the follower confirms
them in the database. Plain: web3 builds, signs, sends and waits for the receipt, one by one.
"""

from __future__ import annotations

import time
from typing import Any

from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from eth_utils.crypto import keccak

from chain.accounts import account_derive
from chain.artifacts import COORDINATOR, TOKEN, deployment, load
from chain.calls import encode_call
from chain.client import ChainClient
from chain.models import OutgoingStatus, OutgoingTransaction
from chain.network import client_current, network_current
from chain.outbox import account_send, transaction_enqueue
from chain.sync import Follower
from sessions_app.models import Update

FLT = 10**18
SECONDS = 86_400
ROUNDS = 4
SAMPLES = 1_000
TYPEHASH = keccak(text="Update(uint256 taskId,uint16 round,bytes32 updateHash,uint32 samples)")


class Sending:
    """One task with `members` participants on an empty chain with our contracts."""

    def __init__(self, follower: Follower, members: int, batch: int) -> None:
        self.client: ChainClient = client_current()
        self.network, self.follower, self.batch = network_current(), follower, batch
        self.addresses = deployment(self.network.chain_id).addresses
        self.relayer = account_derive(label="Treasury", kind="deployer", index=0)
        self.operator, self.evaluator = (self.client.rpc("eth_accounts")[place] for place in (1, 2))
        self.members: list[LocalAccount] = [
            Signer.from_key(keccak(text=f"bcfl sending {n}")) for n in range(members)
        ]
        self._prepare()

    def _prepare(self) -> None:
        self.client.rpc("anvil_autoImpersonateAccount", True)
        coordinator = self.addresses[COORDINATOR]
        for member in self.members:
            self.client.rpc("anvil_setBalance", member.address, hex(10**21))
        people = [self.operator, *(m.address for m in self.members)]
        for person in people:
            self._play(self.relayer.address, TOKEN, "transfer", person, 1_000 * FLT)
            self._play(person, TOKEN, "approve", coordinator, 1_000 * FLT)
        self._play(
            self.operator,
            COORDINATOR,
            "createTask",
            {
                "configHash": keccak(text="config"),
                "modelHash": keccak(text="model"),
                "pool": 100 * FLT,
                "stake": FLT,
                "rounds": ROUNDS,
                "minParticipants": len(self.members),
                "maxParticipants": len(self.members),
                "quorum": 1,
                "rewardMode": 0,
                **{f"{n}Seconds": SECONDS for n in ("join", "update", "score", "aggregate")},
                "evaluators": [self.evaluator],
            },
        )
        for member in self.members:
            self._play(member.address, COORDINATOR, "join", 1, SAMPLES)
        self._play(self.operator, COORDINATOR, "start", 1)
        self.follower.sync_to_head()
        asked = encode_call(load(COORDINATOR).abi, "domainSeparator", [])
        self.separator = self.client.call(self.addresses[COORDINATOR], asked)

    def _play(self, sender: str, contract: str, function: str, *args: Any) -> None:
        data = "0x" + encode_call(load(contract).abi, function, args).hex()
        request = {"from": sender, "to": self.addresses[contract], "data": data, "gas": hex(10**6)}
        self.client.rpc("eth_sendTransaction", request)

    def _digest(self, number: int, update: bytes) -> bytes:
        """EIP-712, as each participant works it out for themselves (see SignedUpdates.sol)."""
        words = (1).to_bytes(32, "big") + number.to_bytes(32, "big") + update
        struct = keccak(TYPEHASH + words + SAMPLES.to_bytes(32, "big"))
        return keccak(b"\x19\x01" + self.separator + struct)

    def relayed(self, number: int) -> float:
        """Seconds from nothing signed to every update in the database."""
        started = time.perf_counter()
        hashes = [keccak(text=f"update {number} {m.address}") for m in self.members]
        digests = [self._digest(number, update) for update in hashes]
        packed: list[tuple[bytes, bytes]] = []
        for index, (member, update, digest) in enumerate(
            zip(self.members, hashes, digests, strict=True)
        ):
            signed = member.unsafe_sign_hash(Hash32(digest))
            compact = ((signed.v - 27) << 255) | signed.s  # ERC-2098
            packed.append(
                (
                    index.to_bytes(2, "big") + update + SAMPLES.to_bytes(4, "big"),
                    signed.r.to_bytes(32, "big") + compact.to_bytes(32, "big"),
                )
            )
        rows = [
            transaction_enqueue(
                account=self.relayer,
                contract=COORDINATOR,
                function="submitUpdatesBySig",
                args=[
                    1,
                    number,
                    b"".join(update for update, _ in packed[start : start + self.batch]),
                    b"".join(signature for _, signature in packed[start : start + self.batch]),
                ],
                idempotency_key=f"relay:{number}:{start}",
            ).pk
            for start in range(0, len(packed), self.batch)
        ]
        account_send(self.relayer.pk)
        sent = OutgoingTransaction.objects.filter(pk__in=rows)
        while sent.filter(status=OutgoingStatus.SENT).exists():
            self.follower.sync_to_head()  # Anvil mines a moment after it took the bytes
        seconds = time.perf_counter() - started
        confirmed = sent.filter(status=OutgoingStatus.CONFIRMED).count()
        updates = Update.objects.filter(round__number=number).count()
        if (confirmed, updates) != (len(rows), len(self.members)):
            raise RuntimeError(f"{confirmed} of {len(rows)} confirmed, {updates} updates stored.")
        return seconds

    def next_round(self, number: int) -> None:
        scores = (1).to_bytes(4, "big") * len(self.members)
        self._play(self.evaluator, COORDINATOR, "submitScores", 1, number, scores)
        root = keccak(text="root")
        self._play(self.evaluator, COORDINATOR, "submitAggregate", 1, number, root, root, 900_000)
        self.follower.sync_to_head()

    def plain(self, number: int) -> float:
        """Seconds until the last receipt; nothing is written to a database."""
        from web3 import HTTPProvider, Web3

        w3 = Web3(HTTPProvider(self.client.url))
        contract: Any = w3.eth.contract(
            address=Web3.to_checksum_address(self.addresses[COORDINATOR]),
            abi=load(COORDINATOR).abi,
        )
        started = time.perf_counter()
        for member in self.members:
            update = keccak(text=f"update {number} {member.address}")
            call = contract.functions.submitUpdate(1, number, update, SAMPLES)
            built = call.build_transaction(
                {"from": member.address, "nonce": w3.eth.get_transaction_count(member.address)}
            )
            signed = member.sign_transaction(built)
            receipt = w3.eth.wait_for_transaction_receipt(
                w3.eth.send_raw_transaction(signed.raw_transaction)
            )
            if receipt["status"] != 1:
                raise RuntimeError(f"{member.address} was refused.")
        return time.perf_counter() - started


def send(members: str, batch: str) -> dict[str, Any]:
    """Both ways in turns, a round each; the first two warm the process up."""
    from django.core.management import call_command

    from bcfl_site.benchmarks.chain_silent import Silent, quiet

    call_command("migrate", verbosity=0)
    call_command("deploy_contracts", stdout=quiet())
    follower = Follower(client_current(), network_current(), Silent())
    sending = Sending(follower, int(members), int(batch))
    seconds = []
    for number in range(1, ROUNDS + 1):
        seconds.append(sending.relayed(number) if number % 2 else sending.plain(number))
        if number < ROUNDS:
            sending.next_round(number)
    relayed, plain = seconds[-2:]
    return {"members": int(members), "relayed_seconds": relayed, "plain_seconds": plain}
