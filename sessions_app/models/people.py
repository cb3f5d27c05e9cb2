from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models

from chain.fields import AddressField
from chain.models import Account


class User(AbstractUser):
    """Someone who signs in. The role decides which home page and which actions they see."""

    class Role(models.TextChoices):
        OPERATOR = "operator", "Operator"
        PARTICIPANT = "participant", "Participant"
        ADMIN = "admin", "Admin"

    class Theme(models.TextChoices):
        SYSTEM = "system", "Follow the system"
        LIGHT = "light", "Light"
        DARK = "dark", "Dark"

    role = models.CharField(max_length=12, choices=Role.choices, default=Role.PARTICIPANT)
    theme = models.CharField(max_length=6, choices=Theme.choices, default=Theme.SYSTEM)
    # By event of services.outreach, the ways chosen: "app", "mail". Absent: its default.
    notify = models.JSONField(default=dict, blank=True)
    # The hosted account that signs for this user on a development chain. A participant who
    # brings their own wallet has none: their key never reaches the server.
    account = models.ForeignKey(
        Account, null=True, blank=True, on_delete=models.SET_NULL, related_name="users"
    )

    @property
    def is_operator(self) -> bool:
        return self.role in (self.Role.OPERATOR, self.Role.ADMIN)

    @property
    def is_admin(self) -> bool:
        return self.role == self.Role.ADMIN

    @property
    def short_name(self) -> str:
        return self.get_short_name() or self.get_username()


class Wallet(models.Model):
    """An address whose key a user has shown to hold, by Sign-In with Ethereum.

    An address belongs to one user; a user may have several.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="wallets")
    address = AddressField(unique=True)
    label = models.CharField(max_length=60, blank=True, default="")
    verified_at = models.DateTimeField()  # of the last message it signed
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.label or self.address


class SignInNonce(models.Model):
    """A nonce of EIP-4361: issued by us, good for one message until it expires."""

    value = models.CharField(max_length=32, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True, blank=True)
    address = AddressField(blank=True, default="")  # who used it

    def __str__(self) -> str:
        return self.value
