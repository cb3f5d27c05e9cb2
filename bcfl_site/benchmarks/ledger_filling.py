"""Fill this process's database with a ledger of whole tasks, as sync would have written it.

Blocks, transactions (with real calldata) and logs go in as rows, and the real projection folds
the events, so tasks, rounds, rewards, transfers and balances are those of the same chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

MEMBERS = 10
ROUNDS = 5
PEOPLE = 400
FLT = 10**18
CALLS_A_BLOCK = 10
BATCH = 2_000  # transactions
GWEI = 10**9
ZERO = "0x" + "0" * 40


@dataclass(frozen=True)
class Call:
    """One transaction to come. `events`: (contract, name, args)."""

    sender: str
    contract: str
    function: str
    args: tuple[Any, ...]
    events: tuple[tuple[str, str, dict[str, Any]], ...]
    refused: dict[str, Any] = field(default_factory=dict)  # arguments of NothingToClaim


@dataclass(frozen=True)
class Filled:
    transactions: int
    events: int
    tasks: int
    people: list[str]


def fill(transactions: int, say: Callable[[str], Any]) -> Filled:
    """`transactions` of them in blocks of ten, a tenth of them reverted."""
    from django.conf import settings
    from django.db import transaction as database

    from chain.models import Account, Network, SyncCursor

    network, _ = Network.objects.get_or_create(
        chain_id=settings.NETWORKS[settings.CHAIN_NETWORK]["chain_id"], defaults={"name": "dev"}
    )
    people = [_address("person", number) for number in range(PEOPLE)]
    Account.objects.bulk_create(
        Account(address=a, label=f"Clinic {n}", kind="participant", keystore={})
        for n, a in enumerate(people)
    )
    contracts = {"FLToken": _address("token", 0), "FLCoordinator": _address("coordinator", 0)}
    calls = _calls(people, contracts["FLCoordinator"])
    written = events = 0
    while written < transactions:
        batch = list(islice(calls, min(BATCH, transactions - written)))
        with database.atomic():
            events += _write(network, contracts, batch, written)
        written += len(batch)
        if written % 20_000 < BATCH:
            say(f"{written:,} transactions, {events:,} events written")
    head = -(-written // CALLS_A_BLOCK)
    SyncCursor.objects.create(network=network, block_number=head, head_number=head, state="live")
    tasks = written // (MEMBERS * (ROUNDS + 3) + 2 * ROUNDS + 2)
    return Filled(written, events, tasks, people)


def _calls(people: list[str], coordinator: str) -> Iterator[Call]:
    operator, evaluator = _address("operator", 0), _address("evaluator", 0)
    supply = {"from": ZERO, "to": operator, "value": 10**9 * FLT}
    everybody = [supply] + [{"from": operator, "to": p, "value": 10**5 * FLT} for p in people]
    for grant in everybody:
        event = ("FLToken", "Transfer", grant)
        yield Call(operator, "FLToken", "transfer", (grant["to"], grant["value"]), (event,))
    task = 0
    while True:
        task += 1
        yield from _task(task, people, operator, evaluator, coordinator)


def _task(
    task: int, people: list[str], operator: str, evaluator: str, coordinator: str
) -> Iterator[Call]:
    from sessions_app.rewards import reward_proof, reward_root

    own = "FLCoordinator"
    members = [people[(task * 7 + n) % len(people)] for n in range(MEMBERS)]
    pool, stake = 1_000 * FLT, 10 * FLT
    earned = dict.fromkeys(members, 0)

    def event(name: str, **args: Any) -> tuple[str, str, dict[str, Any]]:
        return own, name, {"taskId": task, **args}

    def moved(sender: str, to: str, value: int) -> tuple[str, str, dict[str, Any]]:
        return "FLToken", "Transfer", {"from": sender, "to": to, "value": value}

    params = {
        "configHash": _hash("config", task), "modelHash": _hash("model", task, 0),
        "pool": pool, "stake": stake, "rounds": ROUNDS, "minParticipants": MEMBERS,
        "maxParticipants": MEMBERS, "quorum": 1, "rewardMode": 0, "joinSeconds": 3600,
        "updateSeconds": 600, "scoreSeconds": 600, "aggregateSeconds": 600,
        "evaluators": [evaluator],
    }  # fmt: skip
    created = event(
        "TaskCreated", operator=operator, configHash=params["configHash"], params=params
    )
    yield Call(
        operator, own, "createTask", (params,), (moved(operator, coordinator, pool), created)
    )
    for index, member in enumerate(members):
        joined = event(
            "ParticipantJoined", participant=member, index=index, samplesCap=1000, stake=stake
        )
        yield Call(member, own, "join", (task, 1000), (moved(member, coordinator, stake), joined))
    opened = event("RoundOpened", round=1, modelHash=_hash("model", task, 0), updateDeadline=600)
    yield Call(
        operator, own, "start", (task,), (event("TaskStarted", participants=MEMBERS), opened)
    )
    for number in range(1, ROUNDS + 1):
        for index, member in enumerate(members):
            update = _hash("update", task, number, index)
            submitted = event(
                "UpdateSubmitted", participant=member, round=number, updateHash=update, samples=900
            )
            yield Call(member, own, "submitUpdate", (task, number, update, 900), (submitted,))
        scores = "0x" + (900_000).to_bytes(4, "big").hex() * MEMBERS
        yield Call(
            evaluator,
            own,
            "submitScores",
            (task, number, scores),
            (
                event("ScoringOpened", round=number, updates=MEMBERS, deadline=600),
                event("ScoresSubmitted", round=number, evaluator=evaluator, scores=scores),
                event("AggregatingOpened", round=number, deadline=600),
            ),
        )
        for member in members:
            earned[member] += pool // ROUNDS // MEMBERS
        result = {
            "round": number,
            "modelHash": _hash("model", task, number),
            "rewardRoot": reward_root(task, earned),
            "accuracyPpm": 800_000 + number * 10_000,
        }
        after = (
            event("TaskCompleted", modelHash=result["modelHash"])
            if number == ROUNDS
            else event(
                "RoundOpened", round=number + 1, modelHash=result["modelHash"], updateDeadline=600
            )
        )
        yield Call(
            evaluator,
            own,
            "submitAggregate",
            (task, *result.values()),
            (
                event("AggregateSubmitted", evaluator=evaluator, **result),
                event("RoundFinalized", reward=pool // ROUNDS, **result),
                after,
            ),
        )
    for member in members:
        amount = earned[member]
        claimed = event("RewardClaimed", participant=member, amount=amount, cumulativeAmount=amount)
        args = (task, member, amount, reward_proof(task, earned, member))
        yield Call(member, own, "claim", args, (moved(coordinator, member, amount), claimed))
        refused = {"taskId": task, "participant": member, "claimed": amount}
        yield Call(member, own, "claim", args, (), refused=refused)
        returned = event("StakeReturned", participant=member, amount=stake)
        yield Call(
            member,
            own,
            "returnStake",
            (task, member),
            (moved(coordinator, member, stake), returned),
        )


def _write(network: Any, contracts: dict[str, str], calls: list[Call], first: int) -> int:
    from chain.artifacts import load
    from chain.calls import encode_call
    from chain.models import Block, Log, Transaction
    from sessions_app.projection.tables import TaskProjection

    numbers = range(first // CALLS_A_BLOCK, (first + len(calls) - 1) // CALLS_A_BLOCK + 1)
    blocks = {
        block.number: block
        for block in Block.objects.bulk_create(
            Block(
                network=network, number=n, hash=_hash("block", n),
                parent_hash=_hash("block", n - 1), timestamp=1_790_000_000 + 12 * n,
                gas_used=900_000, gas_limit=30_000_000, base_fee=GWEI,
                transaction_count=CALLS_A_BLOCK,
            )
            for n in numbers
        )
    }  # fmt: skip
    rows = Transaction.objects.bulk_create(
        (
            Transaction(
                network=network, block=blocks[at // CALLS_A_BLOCK],
                block_number=at // CALLS_A_BLOCK, index=at % CALLS_A_BLOCK, hash=_hash("tx", at),
                from_address=call.sender, to_address=contracts[call.contract], nonce=at,
                input="0x" + encode_call(load(call.contract).abi, call.function, call.args).hex(),
                contract=call.contract, function=call.function, succeeded=not call.refused,
                error_name="NothingToClaim" if call.refused else "", error_args=call.refused,
                error="Nothing to claim." if call.refused else "",
                gas_limit=120_000, gas_used=90_000, effective_gas_price=2 * GWEI,
            )
            for at, call in enumerate(calls, first)
        ),
        batch_size=500,
    )  # fmt: skip
    logs = []
    place: dict[int, int] = {}
    for row, call in zip(rows, calls, strict=True):
        for contract, name, args in call.events:
            at = place.get(row.block_number, 0)
            place[row.block_number] = at + 1
            logs.append(
                Log(
                    network=network, block=row.block, transaction=row,
                    block_number=row.block_number, log_index=at, address=contracts[contract],
                    topics=[_hash("topic", name)], contract=contract, event=name, args=args,
                    task_id=args.get("taskId"),
                )
            )  # fmt: skip
    logs = Log.objects.bulk_create(logs, batch_size=500)
    TaskProjection().apply(network, [log.decoded() for log in logs])
    return len(logs)


def _hash(*parts: Any) -> str:
    from training.canonical import keccak_hex

    return keccak_hex(":".join(map(str, parts)).encode())


def _address(kind: str, number: int) -> str:
    from chain.events import checksum

    return checksum("0x" + _hash(kind, number)[-40:])
