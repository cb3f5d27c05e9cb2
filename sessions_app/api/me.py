"""The caller: profile, tokens, wallets, sessions.

What proves who somebody is (password, second factor, e-mail address) changes on the pages alone,
which ask for the proof again; a program that holds a token must not become its owner.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from eth_utils.address import is_address, to_checksum_address
from ninja import Field, Path, Schema, Status

from sessions_app.access import has_second_factor
from sessions_app.api.base import Address, Key, area, caller, not_found, user_of
from sessions_app.api.problems import ApiError
from sessions_app.api.sign_in import SignatureIn
from sessions_app.models import ApiToken, User, Wallet
from sessions_app.services import people, siwe, tokens, wallets

router = area("Me")


class WalletOut(Schema):
    address: Address
    label: str
    verified_at: datetime


class MeOut(Schema):
    username: str
    name: str
    first_name: str
    last_name: str
    email: str
    second_factor: bool = Field(description="Whether signing in on the pages asks for one.")
    role: Literal["operator", "participant", "admin"]
    hosted_address: Address = Field(description="Of the account the console signs with; or empty.")
    wallets: list[WalletOut]
    signed_in_by: Literal["session", "token", "wallet"]
    scope: Literal["read", "write"]


class ProfileIn(Schema):
    first_name: str | None = Field(None, max_length=150, description="null: as it is.")
    last_name: str | None = Field(None, max_length=150)


class LinkIn(SignatureIn):
    label: str = Field("", max_length=60)


class OpenSessionOut(Schema):
    id: int
    ip: str
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    current: bool = Field(description="This very one; never for a token.")


class EndedOut(Schema):
    ended: int


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
    return _me(request)


@router.patch("", response=MeOut, summary="Change my name")
def me_change(request: HttpRequest, body: ProfileIn) -> dict[str, Any]:
    user = user_of(request)
    names = {
        field: getattr(user, field) if (given := getattr(body, field)) is None else given
        for field in ("first_name", "last_name")
    }
    people.profile_change(user=user, **names)
    return _me(request)


def _me(request: HttpRequest) -> dict[str, Any]:
    who = caller(request)
    user: User = who.user
    token = who.token
    kind = "session" if token is None else ("wallet" if token.kind == "wallet" else "token")
    return {
        "username": user.get_username(),
        "name": user.get_full_name() or user.get_username(),
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email,
        "second_factor": has_second_factor(user),
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


@router.post("/wallets", response={201: WalletOut}, summary="Link a wallet to me")
def me_wallets_link(request: HttpRequest, body: LinkIn) -> Status[Wallet]:
    """`message` of POST /auth/message, signed by the wallet that is to be linked.

    For a page's session and for the token of a wallet that is linked already. An API token may not:
    whoever holds a linked wallet signs in on the pages, and may then do more than any token.
    """
    who = caller(request)
    if who.token is not None and not who.address:
        raise ApiError(
            403,
            "not-allowed",
            f"The API token “{who.token.name}” may not link a wallet, which could then sign in.",
            next_step="Link it in Settings, or use the token of a wallet that is linked already.",
        )
    address = siwe.verify(body.message, body.signature, domain=request.get_host())
    return Status(201, wallets.wallet_link(user=who.user, address=address, label=body.label))


@router.delete("/wallets/{address}", response={204: None}, summary="Unlink a wallet")
def me_wallets_unlink(request: HttpRequest, address: Path[Address]) -> Status[None]:
    """Its tokens end with it. Refused when it is the only way to sign in."""
    if not is_address(address):
        raise not_found(f"“{address}” is not an Ethereum address (0x and 40 hex digits).")
    wallets.wallet_unlink(user=user_of(request), address=str(to_checksum_address(address)))
    return Status(204, None)


@router.get("/sessions", response=list[OpenSessionOut], summary="Where I am signed in")
def me_sessions_list(request: HttpRequest) -> list[dict[str, Any]]:
    """On the pages, the one used last first."""
    here = request.session.session_key if caller(request).token is None else None
    return [
        {
            **{name: getattr(row, name) for name in ("ip", "user_agent", "created_at")},
            "id": row.pk,
            "last_seen_at": row.last_seen_at,
            "current": row.session_key == here,
        }
        for row in people.sessions_of(user_of(request))
    ]


@router.delete("/sessions", response=EndedOut, summary="Sign me out everywhere else")
def me_sessions_end_others(request: HttpRequest) -> dict[str, int]:
    """All sessions but the one that asks; a token has none, so all."""
    here = request.session.session_key if caller(request).token is None else None
    return {"ended": people.sessions_end_others(user=user_of(request), keep=here or "")}


@router.delete("/sessions/{session_id}", response={204: None}, summary="End one of my sessions")
def me_sessions_end(request: HttpRequest, session_id: Key) -> Status[None]:
    people.session_end(user=user_of(request), pk=session_id)
    return Status(204, None)
