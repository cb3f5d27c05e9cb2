"""What the chain says. Only ``sessions_app.projection.tables`` writes here, and it can start over.

Rows hang on ``chain.Log`` where they stand for one event, so a block that a reorg removes takes
them along.
"""

from __future__ import annotations

from django.db import models

from chain.fields import AddressField, HashField, WeiField
from chain.models import Log, Network
from sessions_app.models.work import Task


class Round(models.Model):
    class Phase(models.TextChoices):
        """``RoundPhase`` of the contract."""

        UPDATES = "updates", "Updates"
        SCORING = "scoring", "Scoring"
        AGGREGATING = "aggregating", "Aggregating"
        FINALIZED = "finalized", "Finalized"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="round_set")
    number = models.PositiveIntegerField()  # from 1
    phase = models.CharField(max_length=11, choices=Phase.choices, default=Phase.UPDATES)
    base_model_hash = HashField()  # the global model that this round starts from
    model_hash = HashField(blank=True, default="")
    reward_root = HashField(blank=True, default="")
    accuracy_ppm = models.PositiveIntegerField(null=True, blank=True)
    reward = WeiField(default=0)
    opened_block = models.PositiveBigIntegerField()
    opened_time = models.PositiveBigIntegerField()  # block time, unix seconds
    opened_tx = HashField()
    update_deadline = models.PositiveBigIntegerField()  # unix seconds
    phase_deadline = models.PositiveBigIntegerField()  # of the phase that is running now
    finalized_block = models.PositiveBigIntegerField(null=True, blank=True)
    finalized_time = models.PositiveBigIntegerField(null=True, blank=True)
    finalized_tx = HashField(blank=True, default="")
    # Do the rewards that we recompute from the events have the Merkle root on chain?
    rewards_match = models.BooleanField(null=True, blank=True)

    class Meta:
        ordering = ("task_id", "number")
        constraints = (models.UniqueConstraint(fields=("task", "number"), name="round_once"),)

    def __str__(self) -> str:
        return f"round {self.number} of task {self.task_id} ({self.phase})"


class Participant(models.Model):
    """An address that joined a task."""

    class Status(models.TextChoices):
        ACTIVE = "active", "Active"
        LEFT = "left", "Left"
        SLASHED = "slashed", "Slashed"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="members")
    address = AddressField()
    index = models.PositiveIntegerField()  # the contract's member index: order of joining
    samples_cap = models.PositiveBigIntegerField()
    stake = WeiField(default=0)
    stake_returned = WeiField(default=0)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.ACTIVE)
    earned = WeiField(default=0)
    claimed = WeiField(default=0)
    joined_tx = HashField()
    joined_block = models.PositiveBigIntegerField()

    class Meta:
        ordering = ("task_id", "index")
        constraints = (
            models.UniqueConstraint(fields=("task", "address"), name="participant_once"),
            models.UniqueConstraint(fields=("task", "index"), name="participant_index_once"),
        )

    def __str__(self) -> str:
        return f"{self.address} in task {self.task_id} ({self.status})"


class Update(models.Model):
    """A client update that an address committed to on chain."""

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="updates")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="updates")
    update_hash = HashField()
    samples = models.PositiveBigIntegerField()
    tx_hash = HashField()
    block_number = models.PositiveBigIntegerField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("round", "participant"), name="update_once"),
        )

    def __str__(self) -> str:
        return f"update {self.update_hash}"


class ScoreSheet(models.Model):
    """The scores one evaluator gave in one round, in the order of the member index."""

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="score_sheets")
    evaluator = AddressField()
    scores = models.JSONField()  # list[int]
    tx_hash = HashField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("round", "evaluator"), name="score_sheet_once"),
        )

    def __str__(self) -> str:
        return f"scores of {self.evaluator} in round {self.round_id}"


class Reward(models.Model):
    """What a participant earned in a finalised round, recomputed from the events alone."""

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="rewards")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="rewards")
    score = models.PositiveBigIntegerField()
    amount = WeiField()
    cumulative = WeiField()  # over all rounds so far: the amount in the Merkle leaf

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("round", "participant"), name="reward_once"),
        )

    def __str__(self) -> str:
        return f"{self.amount} wei to participant {self.participant_id}"


class Claim(models.Model):
    log = models.OneToOneField(Log, primary_key=True, on_delete=models.CASCADE)
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="claims")
    amount = WeiField()
    cumulative = WeiField()
    tx_hash = HashField()
    block_number = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"{self.amount} wei claimed in {self.tx_hash}"


class TaskEvent(models.Model):
    """Which task and round an event belongs to: the index behind the feed and the gas chart."""

    log = models.OneToOneField(Log, primary_key=True, on_delete=models.CASCADE)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="events", db_index=False)
    round_number = models.PositiveIntegerField(null=True, blank=True)
    name = models.CharField(max_length=40)
    actor = AddressField(blank=True, default="")
    tx_hash = HashField()
    block_number = models.PositiveBigIntegerField()
    log_index = models.PositiveIntegerField()
    block_time = models.PositiveBigIntegerField()

    class Meta:
        ordering = ("block_number", "log_index")
        indexes = (models.Index(fields=("task", "block_number", "log_index")),)

    def __str__(self) -> str:
        return f"{self.name} {self.block_number}/{self.log_index}"


class TokenTransfer(models.Model):
    log = models.OneToOneField(Log, primary_key=True, on_delete=models.CASCADE)
    network = models.ForeignKey(
        Network, on_delete=models.CASCADE, related_name="token_transfers", db_index=False
    )
    sender = AddressField()
    recipient = AddressField()
    amount = WeiField()
    tx_hash = HashField()
    block_number = models.PositiveBigIntegerField()
    log_index = models.PositiveIntegerField()

    class Meta:
        ordering = ("block_number", "log_index")
        indexes = (
            models.Index(fields=("network", "block_number", "log_index"), name="transfer_order"),
            models.Index(
                fields=("network", "sender", "block_number", "log_index"), name="transfer_sender"
            ),
            models.Index(
                fields=("network", "recipient", "block_number", "log_index"),
                name="transfer_recipient",
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} wei from {self.sender} to {self.recipient}"


class TokenBalance(models.Model):
    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="token_balances")
    address = AddressField()
    balance = WeiField(default=0)
    block_number = models.PositiveBigIntegerField()  # of the last transfer that touched it

    class Meta:
        constraints = (models.UniqueConstraint(fields=("network", "address"), name="balance_once"),)
        indexes = (models.Index(fields=("network", "balance"), name="balance_size"),)

    def __str__(self) -> str:
        return f"{self.address}: {self.balance} wei"
