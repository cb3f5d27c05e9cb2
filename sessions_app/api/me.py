"""The caller: profile, tokens, wallets."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Field, Schema, Status

from sessions_app.api.base import Address, Key, area, caller, user_of
from sessions_app.models import ApiToken, User
from sessions_app.services import tokens

router = area("Me")


class WalletOut(Schema):
    address: Address
    label: str
    verified_at: datetime


class MeOut(Schema):
    username: str
    name: str
    email: str
    role: Literal["operator", "participant", "admin"]
    hosted_address: Address = Field(description="Of the account the console signs with; or empty.")
    wallets: list[WalletOut]
    signed_in_by: Literal["session", "token", "wallet"]
    scope: Literal["read", "write"]


class TokenOut(Schema):
    id: int
    name: str
    prefix: str = Field(description="The first letters; the rest is not kept.")
    scope: Literal["read", "write"]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewTokenOut(TokenOut):
    token: str = Field(description="Shown this once. Send it as `Authorization: Bearer …`.")


class TokenIn(Schema):
    name: str = Field(min_length=1, max_length=80)
    scope: Literal["read", "write"] = "read"
    days: int | None = Field(None, ge=1, le=tokens.LONGEST_DAYS, description="null: no end.")


@router.get("", response=MeOut, summary="Who I am")
def me_get(request: HttpRequest) -> dict[str, Any]:
    who = caller(request)
    user: User = who.user
    token = who.token
    kind = "session" if token is None else ("wallet" if token.kind == "wallet" else "token")
    return {
        "username": user.get_username(),
        "name": user.get_full_name() or user.get_username(),
        "email": user.email,
        "role": user.role,
        "hosted_address": user.account.address if user.account else "",
        "wallets": list(user.wallets.all()),
        "signed_in_by": kind,
        "scope": token.scope if token else "write",
    }


@router.get("/tokens", response=list[TokenOut], summary="My API tokens")
def tokens_list(request: HttpRequest) -> list[ApiToken]:
    """At most 50, newest first; only those that still work."""
    return list(tokens.tokens_of(user_of(request)))


@router.post("/tokens", response={201: NewTokenOut}, summary="Make an API token")
def tokens_create(request: HttpRequest, response: HttpResponse, body: TokenIn) -> Any:
    """A token can only make tokens that can do no more than itself: writing needs `write`, and
    this is a write."""
    token, text = tokens.token_create(
        user=user_of(request), name=body.name, scope=body.scope, days=body.days
    )
    response["Cache-Control"] = "no-store"
    token.token = text  # type: ignore[attr-defined]
    return Status(201, token)


@router.delete("/tokens/{token_id}", response={204: None}, summary="Revoke an API token")
def tokens_revoke(request: HttpRequest, token_id: Key) -> Status[None]:
    """At once, and for good."""
    tokens.token_revoke(user=user_of(request), pk=token_id)
    return Status(204, None)
