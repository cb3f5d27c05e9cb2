"""The database against the contracts, both at the block the follower has reached.

Everything is asked by `eth_call` at that block's hash, so a chain that moves on meanwhile does not
disturb the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chain.artifacts import COORDINATOR, TOKEN, deployment, load
from chain.calls import decode_result, encode_call
from chain.client import ChainClient, call_object
from chain.errors import NotDeployed
from chain.models import Log, Network, SyncCursor
from chain.wire import content
from sessions_app.models import Participant, Round, Task, TokenBalance

PHASES = (
    "none",
    *(Task.Phase.OPEN, Task.Phase.RUNNING, Task.Phase.COMPLETED, Task.Phase.CANCELLED),
)
ROUND_PHASES = (
    "none",
    Round.Phase.UPDATES,
    Round.Phase.SCORING,
    Round.Phase.AGGREGATING,
    Round.Phase.FINALIZED,
)
# The contract's MemberStatus; a returned stake leaves our status as it was.
MEMBER_STATUS = ("none", "active", "left", "slashed", "active")


@dataclass
class Reconciliation:
    """`differences`: one entry for each value that is not the chain's."""

    block_number: int
    block_hash: str
    compared: dict[str, int] = field(default_factory=dict)
    differences: list[dict[str, Any]] = field(default_factory=list)

    def compare(self, kind: str, of: str, stored: Any, on_chain: Any) -> None:
        self.compared[kind] = self.compared.get(kind, 0) + 1
        if stored != on_chain:
            entry: dict[str, Any] = {"what": kind, "of": of, "stored": stored, "chain": on_chain}
            if isinstance(stored, int) and isinstance(on_chain, int):
                entry["difference"] = stored - on_chain
            self.differences.append(entry)

    @property
    def wei(self) -> int:
        """The sum of all differences in amounts, without signs."""
        return sum(
            abs(entry.get("difference", 0))
            for entry in self.differences
            if "(wei)" in entry["what"]
        )


class _Contracts:
    """Reads of our contracts at one block, many in a request."""

    def __init__(self, client: ChainClient, network: Network, block_hash: str) -> None:
        self._client = client
        self._addresses = deployment(network.chain_id).addresses
        self._block = {"blockHash": block_hash}

    def read(self, contract: str, function: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Each result's first value, or all values by name where the function has several."""
        abi, address = load(contract).abi, self._addresses[contract]
        answers = self._client.batch(
            [
                (
                    "eth_call",
                    (
                        call_object(to=address, data="0x" + encode_call(abi, function, a).hex()),
                        self._block,
                    ),
                )
                for a in calls
            ]
        )
        found = []
        for args, answer in zip(calls, answers, strict=True):
            values = decode_result(abi, function, len(args), content(function, answer))
            found.append(values if len(values) > 1 else next(iter(values.values())))
        return found


def reconcile(
    network: Network,
    client: ChainClient,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reconciliation:
    """Compare balances, supply, phases, rounds, escrow and members.

    `progress` is told (done, total) tasks.

    Raises NotDeployed, and StateMissing when the node has pruned the state of that block.
    """
    cursor = SyncCursor.objects.filter(network=network).first()
    if cursor is None or cursor.block_number < 0:
        raise NotDeployed("The database holds no block yet. Start the follower first.")
    report = Reconciliation(cursor.block_number, cursor.block_hash)
    contracts = _Contracts(client, network, cursor.block_hash)
    _balances(report, network, contracts)
    _tasks(report, network, contracts, progress)
    return report


def _balances(report: Reconciliation, network: Network, contracts: _Contracts) -> None:
    rows = list(TokenBalance.objects.filter(network=network).order_by("address"))
    found = contracts.read(TOKEN, "balanceOf", [[row.address] for row in rows])
    for row, balance in zip(rows, found, strict=True):
        report.compare("balance (wei)", row.address, row.balance, balance)
    (supply,) = contracts.read(TOKEN, "totalSupply", [[]])
    report.compare("supply (wei)", TOKEN, sum(row.balance for row in rows), supply)


def _tasks(
    report: Reconciliation,
    network: Network,
    contracts: _Contracts,
    progress: Callable[[int, int], None],
) -> None:
    tasks = list(
        Task.objects.filter(network=network, onchain_id__isnull=False).order_by("onchain_id")
    )
    (count,) = contracts.read(COORDINATOR, "taskCount", [[]])
    report.compare("tasks", COORDINATOR, len(tasks), count)
    ids = [[task.onchain_id] for task in tasks]
    views = contracts.read(COORDINATOR, "task", ids)
    escrows = contracts.read(COORDINATOR, "escrow", ids)
    states = contracts.read(COORDINATOR, "roundState", ids)
    found = zip(tasks, views, escrows, states, strict=True)
    for number, (task, view, escrow, state) in enumerate(found):
        progress(number, len(tasks))
        name = f"task {task.onchain_id}"
        report.compare("phase", name, task.phase, PHASES[view["phase"]])
        report.compare("round", name, task.current_round, view["round"])
        report.compare("model", name, task.model_hash, view["modelHash"])
        members = list(Participant.objects.filter(task=task))
        swept = sum(
            log.args["amount"]
            for log in Log.objects.filter(
                network=network, task_id=task.onchain_id, event="RewardsSwept"
            )
        )
        claimed = sum(member.claimed for member in members)
        held = sum(_held(member) for member in members)
        pool, unclaimed, stakes = escrow["pool"], escrow["unclaimed"], escrow["stakes"]
        report.compare("pool (wei)", name, task.pool_left, pool)
        unpaid = task.pool_allocated - claimed - swept
        report.compare("unclaimed (wei)", name, unpaid, unclaimed)
        report.compare("stakes (wei)", name, held, stakes)
        current = Round.objects.filter(task=task, number=state["round"]).first()
        if state["round"]:
            stored = current.phase if current else "none"
            report.compare("round phase", name, stored, ROUND_PHASES[state["phase"]])
        _members(report, task, members, contracts)


def _members(
    report: Reconciliation, task: Task, members: Sequence[Participant], contracts: _Contracts
) -> None:
    views = contracts.read(COORDINATOR, "member", [[task.onchain_id, m.address] for m in members])
    for member, view in zip(members, views, strict=True):
        name = f"{member.address} in task {task.onchain_id}"
        report.compare("member", name, member.status, MEMBER_STATUS[view["status"]])
        report.compare("member index", name, member.index, view["index"])
        report.compare("stake (wei)", name, _held(member), view["stake"])
        report.compare("claimed (wei)", name, member.claimed, view["claimed"])


def _held(member: Participant) -> int:
    """Stake the contract still holds of a member."""
    slashed = member.status == Participant.Status.SLASHED
    return 0 if slashed else member.stake - member.stake_returned
