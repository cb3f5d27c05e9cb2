"""API tokens: made once, shown once, kept as a digest.

A token is ``bcfl_`` and 43 random letters (256 bits), so a plain SHA-256 is as good as a slow hash.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from sessions_app import audit
from sessions_app.access import has_second_factor, require
from sessions_app.errors import InvalidToken, NotAllowed
from sessions_app.formats import short_hash
from sessions_app.models import ApiToken, User

PREFIX = "bcfl_"
SHOWN = 12  # letters of a token that are kept for recognising it
MOST = 50  # living tokens of one user
WALLET_SECONDS = 3_600
LONGEST_DAYS = 3_650
USED_EVERY = timedelta(seconds=60)  # last_used_at is this coarse, so that reading does not write


def token_create(
    *, user: User, name: str, scope: str = ApiToken.Scope.READ, days: int | None = None
) -> tuple[ApiToken, str]:
    """A new token and its text, which cannot be shown again. `days` of life; None: until revoked.

    Raises InvalidToken and NotAllowed.
    """
    require(user, "token.create")
    name = name.strip()
    if not name or len(name) > 80:
        raise InvalidToken("Give the token a name of 1 to 80 letters.", field="name")
    if scope not in ApiToken.Scope.values:
        known = " or ".join(ApiToken.Scope.values)
        raise InvalidToken(f"There is no scope “{scope}”; use {known}.", field="scope")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise InvalidToken(f"A token lives for 1 to {LONGEST_DAYS} days, not {days}.", field="days")
    if tokens_of(user).count() >= MOST:
        raise InvalidToken(f"You have {MOST} tokens, the most there may be. Revoke one first.")
    expires = None if days is None else timezone.now() + timedelta(days=days)
    with transaction.atomic():
        made = _create(user=user, name=name, scope=scope, expires_at=expires)
        audit.record(user, "token.create", made[0], {"name": name, "scope": scope, "days": days})
    return made


def wallet_token_create(*, user: User, address: str) -> tuple[ApiToken, str]:
    """For a wallet that has just signed in: it may read and write, for an hour.

    Raises NotAllowed for a person with a second factor: a program cannot be asked for it.
    """
    if has_second_factor(user):
        raise NotAllowed(
            f"{user.short_name} has a second factor, and a signature of {short_hash(address)} is "
            "only the first. Sign in on the pages, make an API token (scope “write”) under "
            "Settings, and give it to the program: --token or BCFL_TOKEN for bcfl-agent and bcfl."
        )
    ApiToken.objects.filter(
        kind=ApiToken.Kind.WALLET, expires_at__lt=timezone.now() - timedelta(days=7)
    ).delete()
    with transaction.atomic():
        made = _create(
            user=user,
            name=f"Wallet {short_hash(address)}",
            scope=ApiToken.Scope.WRITE,
            expires_at=timezone.now() + timedelta(seconds=WALLET_SECONDS),
            kind=ApiToken.Kind.WALLET,
            address=address,
        )
        audit.record(user, "wallet.sign_in", f"wallet:{address}", {"to": "the API"})
    return made


def token_revoke(*, user: User, pk: int) -> ApiToken:
    """End a token of the user at once. Raises NotAllowed when it is not theirs."""
    token = ApiToken.objects.filter(pk=pk).first()
    if token is None:
        raise NotAllowed(f"There is no token {pk}. Look at the list of yours.")
    require(user, "token.revoke", token)
    if token.revoked_at is None:
        with transaction.atomic():
            token.revoked_at = timezone.now()
            token.save(update_fields=("revoked_at",))
            audit.record(user, "token.revoke", token, {"name": token.name})
    return token


def tokens_of(user: User) -> QuerySet[ApiToken]:
    """The user's own tokens that still work, newest first."""
    return living().filter(user=user, kind=ApiToken.Kind.PERSONAL)


def token_find(text: str) -> ApiToken | None:
    """The living token with this text, its user loaded; notes that it was used."""
    token = living().select_related("user__account").filter(digest=_digest(text)).first()
    if token is None or not token.user.is_active:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > USED_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def living() -> QuerySet[ApiToken]:
    return ApiToken.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()), revoked_at__isnull=True
    )


def _create(**fields: Any) -> tuple[ApiToken, str]:
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(prefix=text[:SHOWN], digest=_digest(text), **fields)
    return token, text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
