"""Signing in with a key of one's own; needs eth-account (``pip install 'bcfl[wallet]'``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bcfl_client.errors import ClientError, WalletNeeded
from bcfl_client.transport import Transport


def account_of(key: Any) -> Any:
    """An eth-account LocalAccount from one, from 32 bytes, or from 0x-hex."""
    if hasattr(key, "sign_message"):
        return key
    eth = _eth_account()
    try:
        return eth.Account.from_key(key)
    except Exception as error:  # eth-keys and coincurve raise their own
        raise ClientError("This is no private key: it has 32 bytes, 64 hex digits.") from error


def open_keystore(path: str | Path, password: str) -> Any:
    """The account of a keystore file (Web3 Secret Storage v3)."""
    eth = _eth_account()
    try:
        return eth.Account.from_key(
            eth.Account.decrypt(json.loads(Path(path).read_text()), password)
        )
    except OSError as error:
        raise ClientError(f"The keystore {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ClientError(f"The keystore {path} does not open: {error}.") from error


def sign_in(transport: Transport, account: Any) -> dict[str, Any]:
    """Sign the console's message, and get an hour's token for it."""
    body = signed_message(transport, account)
    session: dict[str, Any] = transport.post("/auth/wallet", body, signed_in=False)
    return session


def signed_message(transport: Transport, account: Any) -> dict[str, str]:
    """A message of the console (EIP-4361) and the account's signature of it.

    The message is signed only when it is for the address and the host that were asked.
    """
    from eth_account.messages import encode_defunct

    asked = transport.post("/auth/message", {"address": account.address}, signed_in=False)
    text: str = asked["message"]
    host = transport.url.partition("://")[2].partition("/")[0]
    lines = text.split("\n")
    if not lines[0].startswith(f"{host} wants you to sign in") or lines[1] != account.address:
        raise ClientError(
            f"The console at {host} asked for a signature of “{lines[0]}” for {lines[1]}: that is "
            "not this site and this wallet. Nothing was signed."
        )
    signature = bytes(account.sign_message(encode_defunct(text=text)).signature)
    return {"message": text, "signature": "0x" + signature.hex()}


def _eth_account() -> Any:
    try:
        import eth_account
    except ImportError as error:
        raise WalletNeeded("Wallets need eth-account: pip install 'bcfl[wallet]'.") from error
    return eth_account
