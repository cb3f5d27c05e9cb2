"""Which user an address belongs to. The proof that somebody holds its key is ``siwe.verify``."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from sessions_app import audit
from sessions_app.access import require
from sessions_app.errors import NotAllowed, WalletTaken
from sessions_app.formats import short_hash
from sessions_app.models import ApiToken, User, Wallet


def wallet_link(*, user: User, address: str, label: str = "") -> Wallet:
    """Give a verified address (checksum form) to a user. Raises NotAllowed, and WalletTaken when
    another has it."""
    require(user, "wallet.link")
    with transaction.atomic():
        wallet, created = _linked(user, address, label)
        if created:
            audit.record(user, "wallet.link", f"wallet:{address}", {"label": label})
    return wallet


def _linked(user: User, address: str, label: str) -> tuple[Wallet, bool]:
    wallet, created = Wallet.objects.get_or_create(
        address=address,
        defaults={"user": user, "label": label, "verified_at": timezone.now()},
    )
    if wallet.user_id != user.pk:
        raise WalletTaken(
            f"{address} belongs to another user of this console. Sign in with that wallet, or "
            "unlink it there first."
        )
    if not created:
        wallet.verified_at = timezone.now()
        wallet.label = label or wallet.label
        wallet.save(update_fields=("verified_at", "label"))
    return wallet, created


def wallet_unlink(*, user: User, address: str) -> None:
    """Take an address from a user; its tokens end at once. Raises NotAllowed when they would have
    no way left to sign in, or when it is not theirs."""
    with transaction.atomic():
        wallet = Wallet.objects.select_for_update().filter(user=user, address=address).first()
        if wallet is None:
            raise NotAllowed(f"{address} is not a wallet of {user.short_name}.")
        require(user, "wallet.unlink", wallet)
        others = user.wallets.exclude(pk=wallet.pk).exists()
        if not others and not user.has_usable_password():
            raise NotAllowed(
                f"{address} is the only way {user.short_name} can sign in. Set a password or link "
                "another wallet first."
            )
        ApiToken.objects.filter(user=user, address=address, revoked_at=None).update(
            revoked_at=timezone.now()
        )
        wallet.delete()
        audit.record(user, "wallet.unlink", f"wallet:{address}")


def wallet_user(*, address: str) -> User:
    """The user of a verified address (checksum form): the one it is linked to, or a new
    participant. The caller has verified a signature. Raises NotAllowed for a closed account."""
    wallet = Wallet.objects.select_related("user").filter(address=address).first()
    if wallet is None:
        try:
            with transaction.atomic():
                user = User.objects.create_user(
                    username=address, first_name=short_hash(address), role=User.Role.PARTICIPANT
                )
                wallet = wallet_link(user=user, address=address)
        except IntegrityError:  # another request was first
            wallet = Wallet.objects.select_related("user").get(address=address)
    else:
        Wallet.objects.filter(pk=wallet.pk).update(verified_at=timezone.now())
    if not wallet.user.is_active:
        raise NotAllowed(f"The account of {address} is closed. Ask an admin to open it again.")
    return wallet.user
