"""The ledger as the node told it, who signs, and what we asked to be sent.

Blocks, transactions and logs are facts of the canonical chain only: a reorg deletes the
orphaned blocks and, by cascade, everything in them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from chain.events import DecodedEvent
from chain.fields import AddressField, HashField, WeiField


class Network(models.Model):
    """A chain we follow. A node that answers with another chain id or genesis is refused."""

    name = models.CharField(max_length=40)
    chain_id = models.PositiveBigIntegerField(unique=True)
    genesis_hash = HashField(blank=True, default="")  # of block 0; set at first contact
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} (chain {self.chain_id})"


class Block(models.Model):
    # Holds always: for two neighbours b, c of one network, c.parent_hash == b.hash.
    network = models.ForeignKey(
        Network, on_delete=models.CASCADE, related_name="blocks", db_index=False
    )
    number = models.PositiveBigIntegerField()
    hash = HashField()
    parent_hash = HashField()
    timestamp = models.PositiveBigIntegerField(help_text="Unix seconds")
    gas_used = models.PositiveBigIntegerField()
    gas_limit = models.PositiveBigIntegerField()
    base_fee = models.PositiveBigIntegerField(default=0, help_text="wei per gas")
    transaction_count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["network", "number"], name="block_one_per_height"),
            models.UniqueConstraint(fields=["network", "hash"], name="block_hash_once"),
        ]

    def __str__(self) -> str:
        return f"block {self.number}"


class Transaction(models.Model):
    """A mined transaction with what its receipt says."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="+", db_index=False)
    block = models.ForeignKey(
        Block, on_delete=models.CASCADE, related_name="transactions", db_index=False
    )
    block_number = models.PositiveBigIntegerField()  # = block.number, for keyset paging
    index = models.PositiveIntegerField(help_text="position in the block")
    hash = HashField()
    from_address = AddressField()
    to_address = AddressField(blank=True, default="")  # empty: contract creation
    contract_address = AddressField(blank=True, default="")  # what a creation created
    nonce = models.PositiveBigIntegerField()
    value = WeiField(default=0)
    input = models.TextField(default="0x", help_text="calldata, 0x-hex")
    contract = models.CharField(max_length=60, blank=True, default="")  # ours, by name
    function = models.CharField(max_length=80, blank=True, default="")  # decoded from the input
    succeeded = models.BooleanField()
    gas_limit = models.PositiveBigIntegerField()
    gas_used = models.PositiveBigIntegerField()
    effective_gas_price = models.PositiveBigIntegerField(help_text="wei per gas")
    error_name = models.CharField(max_length=80, blank=True, default="")
    error = models.TextField(blank=True, default="", help_text="why it reverted, in words")
    error_args = models.JSONField(default=dict)  # of the custom error, by name

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["network", "hash"], name="transaction_hash_once"),
            models.UniqueConstraint(fields=["block", "index"], name="transaction_one_per_place"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["network", "block_number", "index"], name="transaction_order"),
            # Each filter of the ledger with the order of its pages.
            models.Index(
                fields=["network", "from_address", "block_number", "index"], name="transaction_from"
            ),
            models.Index(
                fields=["network", "to_address", "block_number", "index"], name="transaction_to"
            ),
            models.Index(
                fields=["network", "function", "block_number", "index"], name="transaction_function"
            ),
            models.Index(
                fields=["network", "block_number", "index"],
                condition=models.Q(succeeded=False),
                name="transaction_reverted",
            ),
        ]

    def __str__(self) -> str:
        return self.hash

    @property
    def fee(self) -> int:
        """What the sender paid for gas, in wei."""
        return self.gas_used * self.effective_gas_price


class Log(models.Model):
    """One log. `contract` and `event` are empty for logs of contracts that are not ours."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="+", db_index=False)
    block = models.ForeignKey(Block, on_delete=models.CASCADE, related_name="logs", db_index=False)
    transaction = models.ForeignKey(Transaction, on_delete=models.CASCADE, related_name="logs")
    block_number = models.PositiveBigIntegerField()  # = block.number, for ordered replay
    log_index = models.PositiveIntegerField(help_text="position in the block")
    address = AddressField()
    topics = models.JSONField(default=list)
    data = models.TextField(default="0x")
    contract = models.CharField(max_length=60, blank=True, default="")
    event = models.CharField(max_length=80, blank=True, default="")
    args = models.JSONField(default=dict)  # see events.DecodedEvent.args
    task_id = models.PositiveBigIntegerField(null=True)  # args["taskId"], for refolding

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["block", "log_index"], name="log_one_per_place")
        ]
        indexes: ClassVar = [
            models.Index(fields=["network", "block_number", "log_index"], name="log_order"),
            models.Index(
                fields=["network", "task_id", "block_number", "log_index"], name="log_task_order"
            ),
            models.Index(
                fields=["network", "contract", "event", "block_number", "log_index"],
                name="log_event_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event or 'log'} {self.block_number}/{self.log_index}"

    def decoded(self) -> DecodedEvent:
        """The event this row stores; `block` and `transaction` should be select_related."""
        return DecodedEvent(
            contract=self.contract,
            name=self.event,
            args=self.args,
            address=self.address,
            block_number=self.block_number,
            block_hash=self.block.hash,
            block_time=self.block.timestamp,
            tx_hash=self.transaction.hash,
            tx_index=self.transaction.index,
            log_index=self.log_index,
        )


class SyncState(models.TextChoices):
    STARTING = "starting", "Starting"
    BACKFILL = "backfill", "Catching up"
    LIVE = "live", "Live"
    UNREACHABLE = "unreachable", "Node unreachable"
    INCONSISTENT = "inconsistent", "Node contradicts itself"
    BEHIND = "behind", "Chain older than the database"
    WRONG_CHAIN = "wrong_chain", "Wrong chain"
    DEEP_REORG = "deep_reorg", "Reorg too deep"
    HALTED = "halted", "Stopped by an error"


class SyncCursor(models.Model):
    """How far the database has come. Written in the transaction of the rows it counts, and only
    by whoever still finds `version` as they read it."""

    network = models.OneToOneField(Network, on_delete=models.CASCADE, related_name="cursor")
    block_number = models.BigIntegerField(default=-1)  # last block written; -1: none yet
    block_hash = HashField(blank=True, default="")
    version = models.PositiveBigIntegerField(default=0)
    head_number = models.BigIntegerField(default=-1)  # newest block the node has told of
    state = models.CharField(max_length=20, choices=SyncState.choices, default=SyncState.STARTING)
    message = models.TextField(blank=True, default="")  # cause and next step when not live
    updated_at = models.DateTimeField(auto_now=True)  # beats every second or two while followed

    def __str__(self) -> str:
        return f"block {self.block_number} of {self.head_number}"

    @property
    def lag(self) -> int:
        """Blocks between the node's head and the database."""
        return max(self.head_number - self.block_number, 0)


class AccountKind(models.TextChoices):
    DEPLOYER = "deployer", "Deployer"
    OPERATOR = "operator", "Operator"
    PARTICIPANT = "participant", "Participant"
    EVALUATOR = "evaluator", "Evaluator"


class Account(models.Model):
    """An address we sign for. The key exists only inside the encrypted `keystore`."""

    address = AddressField(unique=True)
    label = models.CharField(max_length=80)
    kind = models.CharField(max_length=20, choices=AccountKind.choices)
    keystore = models.JSONField()  # Web3 Secret Storage v3
    derivation_index = models.PositiveIntegerField(null=True)  # dev mnemonic accounts only
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.label} {self.address}"


class OutgoingStatus(models.TextChoices):
    QUEUED = "queued", "Queued"  # not signed: no bytes exist that a node could mine
    SENT = "sent", "Sent"  # signed; the bytes may be at a node
    CONFIRMED = "confirmed", "Confirmed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class OutgoingTransaction(models.Model):
    """A transaction we want to happen once.

    Signed bytes are stored before they are broadcast, so whoever comes after a kill sends the
    same bytes again: one nonce, one hash, at most one effect.
    """

    Status = OutgoingStatus

    network = models.ForeignKey(Network, on_delete=models.PROTECT, related_name="+")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="outgoing")
    contract = models.CharField(max_length=60, blank=True, default="")  # empty: plain transfer
    function = models.CharField(max_length=80, blank=True, default="")
    args = models.JSONField(default=list)  # JSON twin of the call's arguments, for readers
    to = AddressField(blank=True, default="")
    data = models.TextField(default="0x")
    value = WeiField(default=0)
    idempotency_key = models.CharField(max_length=200, unique=True)
    reference = models.CharField(max_length=200, blank=True, default="", db_index=True)

    status = models.CharField(
        max_length=10, choices=OutgoingStatus.choices, default=OutgoingStatus.QUEUED
    )
    nonce = models.PositiveBigIntegerField(null=True)
    tx_hash = HashField(blank=True, default="", db_index=True)
    replaced_hashes = models.JSONField(default=list)  # earlier bytes under the same nonce
    raw_transaction = models.TextField(blank=True, default="")  # signed bytes, 0x-hex
    gas_limit = models.PositiveBigIntegerField(null=True)
    max_fee_per_gas = models.PositiveBigIntegerField(null=True, help_text="wei per gas")
    gas_used = models.PositiveBigIntegerField(null=True)
    effective_gas_price = models.PositiveBigIntegerField(null=True, help_text="wei per gas")
    block_number = models.PositiveBigIntegerField(null=True)
    error_name = models.CharField(max_length=80, blank=True, default="")
    error = models.TextField(blank=True, default="")  # while queued: why it still waits
    error_args = models.JSONField(default=dict)  # of the custom error, by name
    attempts = models.PositiveIntegerField(default=0)
    queued_at = models.DateTimeField(auto_now_add=True)
    attempted_at = models.DateTimeField(null=True)  # last try to estimate or sign
    sent_at = models.DateTimeField(null=True)  # signed and stored
    broadcast_at = models.DateTimeField(null=True)  # a node last took the bytes
    confirmed_at = models.DateTimeField(null=True)  # mined, succeeded or reverted

    class Meta:
        constraints: ClassVar = [
            # Two senders that pick the same nonce: the database refuses the second.
            models.UniqueConstraint(
                fields=["network", "account", "nonce"], name="outgoing_nonce_once"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["account", "status", "id"], name="outgoing_queue"),
            models.Index(fields=["network", "status", "id"], name="outgoing_status"),
        ]

    def __str__(self) -> str:
        return f"{self.idempotency_key} ({self.status})"

    @property
    def fee(self) -> int | None:
        """Gas cost in wei once mined."""
        if self.gas_used is None or self.effective_gas_price is None:
            return None
        return self.gas_used * self.effective_gas_price

    @property
    def call(self) -> tuple[Any, ...]:
        """What the idempotency key stands for."""
        return (self.network_id, self.account_id, self.to, self.data, self.value)
