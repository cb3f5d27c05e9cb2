"""The working memory of the projection while it folds a batch of events.

Rows are loaded once, changed in memory and written in bulk by `flush`; the order in which they
are written follows the foreign keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from django.db.models import Model

from chain import bulk
from chain.events import DecodedEvent
from chain.models import Log, Network
from sessions_app.errors import BcflError
from sessions_app.models import (
    Claim,
    Participant,
    Reward,
    Round,
    ScoreSheet,
    Task,
    TaskEvent,
    TokenBalance,
    TokenTransfer,
    Update,
)
from sessions_app.rewards import RewardLine

ZERO_ADDRESS = "0x" + "0" * 40
RowT = TypeVar("RowT", bound=Model)


class MissingHistory(BcflError):
    """An event speaks of a task, round or member whose own events are not stored."""


class Fold:
    """Everything is keyed as the chain names it: on-chain task id, round number, address."""

    def __init__(self, network: Network, events: Sequence[DecodedEvent]) -> None:
        self.network = network
        self._logs = _log_ids(network, events)
        ids = {event.args["taskId"] for event in events if "taskId" in event.args}
        self._tasks = {
            task.onchain_id: task
            for task in Task.objects.filter(network=network, onchain_id__in=ids)
        }
        created = [event for event in events if event.name == "TaskCreated"]
        self._drafts = _drafts({event.args["configHash"] for event in created})
        # Their events need the keys before the tasks are written.
        self._task_keys = iter(bulk.reserve_ids(Task, len(created)))
        self._new_tasks: list[Task] = []
        self._placed: list[int] = []  # our own tasks that have just appeared on the chain
        self._rounds: dict[tuple[int, int], Round] = {}
        self._participants: dict[int, dict[str, Participant]] = {}
        self._updates: dict[tuple[int, int], list[Update]] = {}
        self._sheets: dict[tuple[int, int], list[ScoreSheet]] = {}
        self._balances: dict[str, TokenBalance] = {}
        self._new: dict[type[Model], list[Model]] = {}
        # Rows that nothing here reads again, as the database takes them: one for most events.
        self._events: list[tuple[Any, ...]] = []
        self._transfers: list[tuple[Any, ...]] = []
        self._dirty: dict[int, Model] = {}  # id(row) → row loaded from the database and changed
        self._load(ids)
        self._load_balances(events)

    # --- reading ----------------------------------------------------------------------------

    def task(self, event: DecodedEvent) -> Task:
        task = self._tasks.get(event.args["taskId"])
        if task is None:
            raise MissingHistory(
                f"{event.name} in block {event.block_number} names task {event.args['taskId']}, "
                "whose TaskCreated is not stored. Run manage.py resync from the block in which "
                "the contracts were deployed."
            )
        return self.touch(task)

    def round(self, event: DecodedEvent) -> Round:
        key = (event.args["taskId"], event.args["round"])
        if key not in self._rounds:
            raise MissingHistory(
                f"{event.name} in block {event.block_number} names round {key[1]} of task "
                f"{key[0]}, whose RoundOpened is not stored. Run manage.py resync."
            )
        return self.touch(self._rounds[key])

    def participant(self, event: DecodedEvent) -> Participant:
        members = self._participants.get(event.args["taskId"], {})
        if event.args["participant"] not in members:
            raise MissingHistory(
                f"{event.name} in block {event.block_number} names "
                f"{event.args['participant']}, whose ParticipantJoined in task "
                f"{event.args['taskId']} is not stored. Run manage.py resync."
            )
        return self.touch(members[event.args["participant"]])

    def participants_of(self, task: Task) -> list[Participant]:
        """In the order of the contract's member index."""
        assert task.onchain_id is not None
        members = self._participants.get(task.onchain_id, {}).values()
        return sorted(members, key=lambda member: member.index)

    def score_sheets_of(self, round_: Round) -> list[list[int]]:
        sheets = self._sheets.get(self._round_key(round_), [])
        return [sheet.scores for sheet in sorted(sheets, key=lambda s: s.evaluator)]

    def samples_of(self, round_: Round) -> dict[str, int]:
        updates = self._updates.get(self._round_key(round_), [])
        return {update.participant.address: update.samples for update in updates}

    # --- writing ----------------------------------------------------------------------------

    def touch(self, row: RowT) -> RowT:
        """Mark a row as changed."""
        if not row._state.adding:
            self._dirty[id(row)] = row
        return row

    def task_created(self, onchain_id: int, config_hash: str, operator: str) -> Task:
        """Our own task with that configuration, or a new row for somebody else's.

        A task that was launched from an address is nobody else's: the hash is public, and
        somebody who sends it first must not get our participants.

        Its launch is over at this moment, so the two columns that tell of it change here.
        """
        drafts = self._drafts.get(config_hash, [])
        task = next((one for one in drafts if one.launched_from in ("", operator)), None)
        if task is None:
            title = f"Task {onchain_id}"
            task = Task(pk=next(self._task_keys), title=title, config_hash=config_hash)
            self._new_tasks.append(task)
        else:
            drafts.remove(task)
            self._placed.append(task.pk)
        task.stage, task.failure = Task.Stage.PLACED, ""
        self._tasks[onchain_id] = task
        self._participants.setdefault(onchain_id, {})
        return self.touch(task)

    def add_participant(self, participant: Participant) -> None:
        assert participant.task.onchain_id is not None
        self._participants[participant.task.onchain_id][participant.address] = participant
        self._add(participant)

    def remove_participant(self, participant: Participant) -> None:
        assert participant.task.onchain_id is not None
        del self._participants[participant.task.onchain_id][participant.address]
        if participant._state.adding:
            self._new[Participant].remove(participant)
        else:
            self._dirty.pop(id(participant), None)
            participant.delete()

    def add_round(self, round_: Round) -> None:
        self._rounds[self._round_key(round_)] = round_
        self._add(round_)

    def add_update(
        self,
        round_: Round,
        participant: Participant,
        event: DecodedEvent,
        *,
        update_hash: str,
        samples: int,
    ) -> None:
        update = Update(
            round=round_,
            participant=participant,
            update_hash=update_hash,
            samples=samples,
            tx_hash=event.tx_hash,
            block_number=event.block_number,
        )
        self._updates.setdefault(self._round_key(round_), []).append(update)
        self._add(update)

    def add_score_sheet(
        self, round_: Round, evaluator: str, scores: list[int], tx_hash: str
    ) -> None:
        sheet = ScoreSheet(round=round_, evaluator=evaluator, scores=scores, tx_hash=tx_hash)
        self._sheets.setdefault(self._round_key(round_), []).append(sheet)
        self._add(sheet)

    def add_reward(self, round_: Round, participant: Participant, line: RewardLine) -> None:
        self._add(
            Reward(
                round=round_,
                participant=participant,
                score=line.score,
                amount=line.amount,
                cumulative=line.cumulative,
            )
        )

    def add_claim(self, participant: Participant, event: DecodedEvent) -> None:
        self._add(
            Claim(
                log_id=self._log_id(event),
                participant=participant,
                amount=event.args["amount"],
                cumulative=event.args["cumulativeAmount"],
                tx_hash=event.tx_hash,
                block_number=event.block_number,
            )
        )

    def add_task_event(self, event: DecodedEvent, *, actor: str) -> None:
        self._events.append(
            (
                self._log_id(event),
                self._tasks[event.args["taskId"]].pk,
                event.args.get("round"),
                event.name,
                actor,
                event.tx_hash,
                event.block_number,
                event.log_index,
                event.block_time,
            )
        )

    def add_transfer(
        self, event: DecodedEvent, *, sender: str, recipient: str, amount: int
    ) -> None:
        self._transfers.append(
            (
                self._log_id(event),
                self.network.pk,
                sender,
                recipient,
                bulk.wei(amount),
                event.tx_hash,
                event.block_number,
                event.log_index,
            )
        )
        for address, change in ((sender, -amount), (recipient, amount)):
            if address != ZERO_ADDRESS:
                balance = self.touch(self._balances[address])
                balance.balance += change
                balance.block_number = event.block_number

    def flush(self) -> None:
        """Write what was folded, parents before children."""
        Task.objects.bulk_create(self._new_tasks)
        if self._placed:
            placed = Task.objects.filter(pk__in=self._placed)
            placed.update(stage=Task.Stage.PLACED, failure="")
        changed: dict[type[Model], list[Model]] = {}
        for row in self._dirty.values():
            changed.setdefault(type(row), []).append(row)
        for model, fields in _CHANGING.items():
            rows = changed.get(model, [])
            if rows:
                bulk.update(model, fields, rows)
        for model in _WRITE_ORDER:
            rows = self._new.get(model, [])
            if rows:
                bulk.create(model, rows)
        bulk.insert(TaskEvent, _EVENT_COLUMNS, self._events)
        bulk.insert(TokenTransfer, _TRANSFER_COLUMNS, self._transfers)
        self._new_tasks.clear()
        self._placed.clear()
        self._events.clear()
        self._transfers.clear()
        self._new.clear()
        self._dirty.clear()

    # --- inside -----------------------------------------------------------------------------

    def _add(self, row: Model) -> None:
        self._new.setdefault(type(row), []).append(row)

    def _load(self, ids: Iterable[int]) -> None:
        by_pk = {task.pk: task for task in self._tasks.values()}
        for onchain_id in ids:
            self._participants.setdefault(onchain_id, {})
        for member in Participant.objects.filter(task__in=by_pk):
            member.task = by_pk[member.task_id]
            assert member.task.onchain_id is not None
            self._participants[member.task.onchain_id][member.address] = member
        # Finished rounds are not spoken of again.
        open_rounds = Round.objects.filter(task__in=by_pk).exclude(phase=Round.Phase.FINALIZED)
        rounds = {}
        for round_ in open_rounds:
            round_.task = by_pk[round_.task_id]
            self._rounds[self._round_key(round_)] = round_
            rounds[round_.pk] = round_
        for update in Update.objects.filter(round__in=rounds):
            round_ = rounds[update.round_id]
            members = self._participants[self._round_key(round_)[0]].values()
            update.participant = next(m for m in members if m.pk == update.participant_id)
            self._updates.setdefault(self._round_key(round_), []).append(update)
        for sheet in ScoreSheet.objects.filter(round__in=rounds):
            key = self._round_key(rounds[sheet.round_id])
            self._sheets.setdefault(key, []).append(sheet)

    def _load_balances(self, events: Sequence[DecodedEvent]) -> None:
        ends = {
            event.args[end]
            for event in events
            if event.name == "Transfer"
            for end in ("from", "to")
        }
        rows = TokenBalance.objects.filter(network=self.network, address__in=ends)
        stored = {balance.address: balance for balance in rows}
        for address in ends - {ZERO_ADDRESS}:
            if address not in stored:
                stored[address] = TokenBalance(network=self.network, address=address, balance=0)
                self._add(stored[address])
        self._balances = stored

    @staticmethod
    def _round_key(round_: Round) -> tuple[int, int]:
        assert round_.task.onchain_id is not None
        return round_.task.onchain_id, round_.number

    def _log_id(self, event: DecodedEvent) -> int:
        return self._logs[event.block_number, event.log_index]


# The columns that events change after a row is there.
_CHANGING: dict[type[Model], tuple[str, ...]] = {
    Task: Task.PROJECTED,
    Round: (
        "phase",
        "phase_deadline",
        "model_hash",
        "reward_root",
        "accuracy_ppm",
        "reward",
        "finalized_block",
        "finalized_time",
        "finalized_tx",
        "rewards_match",
    ),
    Participant: ("status", "stake_returned", "earned", "claimed"),
    TokenBalance: ("balance", "block_number"),
}
_WRITE_ORDER: tuple[type[Model], ...] = (
    Round,
    Participant,
    Update,
    ScoreSheet,
    Reward,
    Claim,
    TokenBalance,
)
_EVENT_COLUMNS = (
    "log_id",
    "task_id",
    "round_number",
    "name",
    "actor",
    "tx_hash",
    "block_number",
    "log_index",
    "block_time",
)
_TRANSFER_COLUMNS = (
    "log_id",
    "network_id",
    "sender",
    "recipient",
    "amount",
    "tx_hash",
    "block_number",
    "log_index",
)


def _drafts(config_hashes: Collection[str]) -> dict[str, list[Task]]:
    """Our tasks with these configurations that are not on the chain yet, oldest first."""
    found: dict[str, list[Task]] = {}
    if config_hashes:
        waiting = Task.objects.filter(config_hash__in=config_hashes, onchain_id=None)
        for task in waiting.order_by("pk"):
            found.setdefault(task.config_hash, []).append(task)
    return found


def _log_ids(network: Network, events: Sequence[DecodedEvent]) -> dict[tuple[int, int], int]:
    if not events:
        return {}
    numbers = [event.block_number for event in events]
    rows = Log.objects.filter(
        network=network, block_number__gte=min(numbers), block_number__lte=max(numbers)
    ).values_list("block_number", "log_index", "pk")
    return {(number, log_index): pk for number, log_index, pk in rows}
