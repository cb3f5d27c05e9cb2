"""What we intend and do off chain. Services and the orchestrator write these rows."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import models

from chain.fields import AddressField, HashField, WeiField
from chain.models import Account, Network
from sessions_app.models.people import User


class Task(models.Model):
    """One federated-learning task.

    The upper fields are the operator's intention. Those under "the chain says" are written by the
    projection alone; a task that another client created on chain has only those.
    """

    class Stage(models.TextChoices):
        """How far the launch has come; what happens after it is ``phase``."""

        DRAFT = "draft", "Draft"
        PREPARING = "preparing", "Preparing the model"
        FUNDING = "funding", "Funding"
        PLACED = "placed", "On chain"
        FAILED = "failed", "Failed"

    class Phase(models.TextChoices):
        """``TaskPhase`` of the contract."""

        NONE = "none", "Not on chain"
        OPEN = "open", "Open"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        CANCELLED = "cancelled", "Cancelled"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    title = models.CharField(max_length=120)
    owner = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks"
    )
    operator_account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.PROTECT, related_name="operated_tasks"
    )
    evaluator_accounts: models.ManyToManyField[Account, models.Model] = models.ManyToManyField(
        Account, blank=True, related_name="evaluated_tasks"
    )
    # Evaluators who score from machines and keys of their own; addresses.
    outside_evaluators = models.JSONField(default=list, blank=True)
    config = models.JSONField(null=True, blank=True)  # training.specs.TaskConfig.to_dict()
    config_hash = HashField(db_index=True)  # our own are unique by their salt
    pool = WeiField(default=0)
    stake = WeiField(default=0)  # per participant
    rounds = models.PositiveIntegerField(default=0)
    min_participants = models.PositiveIntegerField(default=1)
    max_participants = models.PositiveIntegerField(default=1)
    # Places that this server trains for; the others are open to wallets and agents. 0 for a task
    # that another client created: nobody is seated in it from here.
    hosted_places = models.PositiveIntegerField(default=0)
    join_seconds = models.PositiveIntegerField(default=3600)
    update_seconds = models.PositiveIntegerField(default=600)
    score_seconds = models.PositiveIntegerField(default=600)
    aggregate_seconds = models.PositiveIntegerField(default=600)
    # What the task was said to cost when its terms were set: selectors.quote.Quote.as_json().
    quote = models.JSONField(null=True, blank=True)
    initial_model_hash = HashField(blank=True, default="")
    # Whose createTask is this task's. Anyone can read the configuration hash and send another.
    launched_from = AddressField(blank=True, default="")
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.DRAFT)
    failure = models.TextField(blank=True, default="")  # what went wrong and the next step
    created_at = models.DateTimeField(auto_now_add=True)
    launched_at = models.DateTimeField(null=True, blank=True)
    prepare_requested_at = models.DateTimeField(null=True, blank=True)
    # While set, no training is dispatched here. The contract knows no pause: its deadlines run on.
    paused_at = models.DateTimeField(null=True, blank=True)
    # Counts what the page may show; a page that holds a smaller number asks for the rest.
    live_seq = models.PositiveBigIntegerField(default=0)

    # --- the chain says -------------------------------------------------------------------
    network = models.ForeignKey(
        Network, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks"
    )
    onchain_id = models.PositiveBigIntegerField(null=True, blank=True)
    phase = models.CharField(max_length=10, choices=Phase.choices, default=Phase.NONE)
    operator_address = AddressField(blank=True, default="")
    current_round = models.PositiveIntegerField(default=0)
    stopping = models.BooleanField(default=False)  # cancelled with effect from this round's end
    pool_funded = WeiField(default=0)  # escrowed in total, top-ups included
    pool_allocated = WeiField(default=0)  # credited to finalised rounds
    pool_returned = WeiField(default=0)
    round_reward = WeiField(default=0)  # what each round but the last pays
    topped_up = models.BooleanField(default=False)  # the next finalisation spreads the pool anew
    model_hash = HashField(blank=True, default="")  # the global model now
    evaluators = models.JSONField(default=list, blank=True)  # addresses, in the contract's order
    quorum = models.PositiveSmallIntegerField(default=1)
    reward_mode = models.CharField(max_length=8, blank=True, default="")
    created_block = models.PositiveBigIntegerField(null=True, blank=True)
    created_tx = HashField(blank=True, default="")
    ended_time = models.PositiveBigIntegerField(null=True, blank=True)  # block time, unix s

    # The columns that the projection may write and a refold resets. The terms (stake, rounds,
    # limits) are here too: once on chain, the chain's are the ones that hold.
    PROJECTED = (
        "network",
        "onchain_id",
        "phase",
        "operator_address",
        "current_round",
        "stopping",
        "pool_funded",
        "pool_allocated",
        "pool_returned",
        "round_reward",
        "topped_up",
        "model_hash",
        "evaluators",
        "created_block",
        "created_tx",
        "ended_time",
        "stake",
        "rounds",
        "min_participants",
        "max_participants",
        "join_seconds",
        "update_seconds",
        "score_seconds",
        "aggregate_seconds",
        "quorum",
        "reward_mode",
    )
    TERMS = PROJECTED[-10:]  # also the operator's intention: a refold keeps them

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("network", "onchain_id"),
                condition=models.Q(onchain_id__isnull=False),
                name="task_once_per_chain",
            ),
        )

    def __str__(self) -> str:
        return f"Task {self.pk}: {self.title}"

    @property
    def is_finished(self) -> bool:
        return self.phase in (self.Phase.COMPLETED, self.Phase.CANCELLED)

    @property
    def open_places(self) -> int:
        """Places that nobody is seated in from here: for wallets and agents."""
        return max(self.max_participants - self.hosted_places, 0)

    @property
    def pool_left(self) -> int:
        """Escrowed and not credited to a round, in wei."""
        return self.pool_funded - self.pool_allocated - self.pool_returned

    @property
    def reference(self) -> str:
        """Groups this task's transactions in the outbox."""
        return f"task:{self.pk}"


class Seat(models.Model):
    """A hosted participant's place in a task, and which slice of the data it trains on."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="seats")
    slot = models.PositiveIntegerField()  # 0 .. participants - 1
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="seats")
    samples = models.PositiveIntegerField(default=0)  # in the slice; known once prepared
    removed_at = models.DateTimeField(null=True, blank=True)  # by the operator: it does not rejoin

    class Meta:
        ordering = ("task_id", "slot")
        constraints = (
            models.UniqueConstraint(fields=("task", "slot"), name="seat_slot_once"),
            models.UniqueConstraint(fields=("task", "account"), name="seat_account_once"),
        )

    def __str__(self) -> str:
        return f"{self.account.label} in task {self.task_id}, slot {self.slot}"


class TrainingRun(models.Model):
    """Local training of one seat in one round. Started again when its lease runs out.

    Training is seeded, so a run that is delivered twice ends in the same bytes.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Waiting for a worker"
        TRAINING = "training", "Training"
        TRAINED = "trained", "Trained"
        FAILED = "failed", "Failed"

    QUEUE_LEASE = timedelta(minutes=10)  # a job may wait that long behind others

    seat = models.ForeignKey(Seat, on_delete=models.CASCADE, related_name="runs")
    round_number = models.PositiveIntegerField()
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    done = models.PositiveBigIntegerField(default=0)  # samples seen, all epochs
    total = models.PositiveBigIntegerField(default=0)
    samples_per_second = models.FloatField(null=True, blank=True)
    content_hash = HashField(blank=True, default="")  # keccak of the update's safetensors bytes
    update_hash = HashField(blank=True, default="")
    samples = models.PositiveIntegerField(null=True, blank=True)
    loss = models.FloatField(null=True, blank=True)
    accuracy = models.FloatField(null=True, blank=True)  # 0..1, on the participant's own data
    seconds = models.FloatField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("seat", "round_number"), name="training_run_once"),
        )

    def __str__(self) -> str:
        return f"training of seat {self.seat_id} in round {self.round_number} ({self.status})"


class RoundRun(models.Model):
    """Our side of one round: when each part began, how long it took, what it found."""

    class Status(models.TextChoices):
        UPDATES = "updates", "Collecting updates"
        AGGREGATING = "aggregating", "Aggregating"
        AGGREGATED = "aggregated", "Aggregated"
        FINALIZED = "finalized", "Finalized"
        FAILED = "failed", "Failed"

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="round_runs")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=11, choices=Status.choices, default=Status.UPDATES)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField()
    trained_at = models.DateTimeField(null=True, blank=True)
    updates_seen_at = models.DateTimeField(null=True, blank=True)
    aggregated_at = models.DateTimeField(null=True, blank=True)
    finalized_at = models.DateTimeField(null=True, blank=True)
    model_hash = HashField(blank=True, default="")
    accuracy = models.FloatField(null=True, blank=True)  # 0..1, held-out
    loss = models.FloatField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)  # training.specs.AggregateResult
    seconds_score = models.FloatField(null=True, blank=True)
    seconds_aggregate = models.FloatField(null=True, blank=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ("task_id", "number")
        constraints = (models.UniqueConstraint(fields=("task", "number"), name="round_run_once"),)

    def __str__(self) -> str:
        return f"round {self.number} of task {self.task_id} ({self.status})"

    @property
    def seconds(self) -> float | None:
        """Wall time from the round's opening to its finalisation, as seen by the server."""
        if self.finalized_at is None:
            return None
        return (self.finalized_at - self.opened_at).total_seconds()

    @property
    def seconds_train(self) -> float | None:
        if self.trained_at is None:
            return None
        return (self.trained_at - self.opened_at).total_seconds()

    @property
    def seconds_chain(self) -> float | None:
        """Time in which nothing was computed: what is left of the round is waiting for blocks."""
        if self.seconds is None or self.seconds_train is None:
            return None
        worked = self.seconds_train + (self.seconds_score or 0) + (self.seconds_aggregate or 0)
        return max(0.0, self.seconds - worked)
