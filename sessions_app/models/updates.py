"""Updates of participants who train on their own machines: the bytes, and signatures to relay."""

from __future__ import annotations

from django.db import models

from chain.fields import AddressField, HashField
from chain.models import OutgoingTransaction
from sessions_app.models.work import Task


class Upload(models.Model):
    """The bytes of one participant's update in one round, whole or on their way.

    Nobody but the aggregation reads them until the round's update phase has closed. What came so
    far lies in BLOB_ROOT/uploads; what is complete lies in the blob store under `content_hash`.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="uploads")
    round_number = models.PositiveIntegerField()
    address = AddressField()
    content_hash = HashField()  # announced at first, checked at the end
    size = models.PositiveBigIntegerField()  # bytes
    received = models.PositiveBigIntegerField(default=0)  # bytes
    created_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)  # past UPDATE_RETENTION_DAYS

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("task", "round_number", "address"), name="upload_once_a_round"
            ),
        )

    def __str__(self) -> str:
        return f"upload of {self.address} in round {self.round_number} of task {self.task_id}"


class SignedUpdate(models.Model):
    """An update that its participant signed (EIP-712) for somebody else to submit."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="signed_updates")
    round_number = models.PositiveIntegerField()
    address = AddressField()
    update_hash = HashField()
    samples = models.PositiveBigIntegerField()
    signature = models.CharField(max_length=130)  # 0x-hex of 64 bytes, ERC-2098
    created_at = models.DateTimeField(auto_now_add=True)
    sent_with = models.ForeignKey(
        OutgoingTransaction, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("task", "round_number", "address"), name="signed_update_once_a_round"
            ),
        )

    def __str__(self) -> str:
        return f"signed update of {self.address} in round {self.round_number}"
