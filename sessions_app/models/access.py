"""What programs sign in with, and the answers kept for those that ask twice."""

from __future__ import annotations

from django.db import models

from chain.fields import AddressField
from sessions_app.models.people import User


class ApiToken(models.Model):
    """A bearer token of a user: only its digest is kept.

    ``personal`` ones are made by a person for a program; ``wallet`` ones come from Sign-In with
    Ethereum and live for an hour.
    """

    class Kind(models.TextChoices):
        PERSONAL = "personal", "API token"
        WALLET = "wallet", "Wallet session"

    class Scope(models.TextChoices):
        READ = "read", "Read"
        WRITE = "write", "Read and write"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.PERSONAL)
    name = models.CharField(max_length=80)
    scope = models.CharField(max_length=5, choices=Scope.choices, default=Scope.READ)
    prefix = models.CharField(max_length=16)  # the first letters, to tell tokens apart
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the token, hex
    address = AddressField(blank=True, default="")  # the wallet that signed in
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class IdempotencyKey(models.Model):
    """A write that was carried out, with the answer it gave: the same key gets it again.

    The row and what the write did are committed together, so there is never one without the
    other. Refused writes leave no row.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=128)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of method, path and body, hex
    status = models.PositiveSmallIntegerField(default=0)
    content_type = models.CharField(max_length=100, blank=True, default="")
    body = models.BinaryField(default=b"")
    location = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "key"), name="idempotency_once"),)

    def __str__(self) -> str:
        return self.key
