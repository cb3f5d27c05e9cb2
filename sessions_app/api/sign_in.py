"""Wallets: a message to sign (EIP-4361), and an hour's token for the signature."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from ninja import Field, Schema

from sessions_app.api.base import Address, area
from sessions_app.services import siwe
from sessions_app.services.tokens import wallet_token_create
from sessions_app.services.wallets import wallet_user

router = area("Sign in", auth=None)


class MessageIn(Schema):
    address: str = Field(max_length=42, examples=["0x70997970C51812dc3A010C7d01b50e0d17dc79C8"])


class MessageOut(Schema):
    message: str = Field(description="Sign these very characters (personal_sign, EIP-191).")
    nonce: str
    chain_id: int
    expires_at: datetime


class SignatureIn(Schema):
    message: str = Field(max_length=4096)
    signature: str = Field(max_length=20_000, description="0x-hex")


class SessionOut(Schema):
    token: str = Field(description="Send it as `Authorization: Bearer …`.")
    address: Address
    user: str
    role: str
    expires_at: datetime


@router.post("/message", response=MessageOut, summary="A message for a wallet to sign")
def auth_message(request: HttpRequest, body: MessageIn) -> MessageOut:
    """A Sign-In with Ethereum message (EIP-4361) with a nonce that counts once, for this
    console's domain and chain."""
    scheme = "https" if request.is_secure() else "http"
    host = request.get_host()
    message = siwe.build(address=body.address, domain=host, uri=f"{scheme}://{host}")
    assert message.expiration_time is not None
    return MessageOut(
        message=str(message),
        nonce=message.nonce,
        chain_id=message.chain_id,
        expires_at=message.expiration_time,
    )


@router.post("/wallet", response=SessionOut, summary="A token for a signed message")
def auth_wallet(request: HttpRequest, response: HttpResponse, body: SignatureIn) -> SessionOut:
    """The token of the user the address is linked to; an unknown address becomes a participant."""
    address = siwe.verify(body.message, body.signature, domain=request.get_host())
    user = wallet_user(address=address)
    token, text = wallet_token_create(user=user, address=address)
    response["Cache-Control"] = "no-store"
    assert token.expires_at is not None
    return SessionOut(
        token=text,
        address=address,
        user=user.get_username(),
        role=user.role,
        expires_at=token.expires_at,
    )
