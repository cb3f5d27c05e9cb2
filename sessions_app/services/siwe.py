"""Sign-In with Ethereum (EIP-4361): whoever signs our message holds the key of an address.

``issue_nonce`` → ``build`` (or a message built in the browser) → the wallet signs → ``verify``.
A nonce is kept in the database, expires, and counts once: the update that marks it used is what
makes a replay fail, also on another web process at the same moment.
"""

from __future__ import annotations

import secrets
import string
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from eth_abi.abi import decode, encode
from eth_account import Account as Signer
from eth_account.messages import SignableMessage, defunct_hash_message, encode_defunct
from eth_utils.address import is_address, to_checksum_address

from chain.errors import ChainError, PermanentError
from chain.network import client_current, network_settings
from sessions_app.errors import SignInRefused
from sessions_app.models import SignInNonce
from sessions_app.siwe_message import SiweMessage, parse

NONCE_SECONDS = 600  # from asking for a message to signing it
CLOCK_SKEW = timedelta(seconds=60)  # a wallet's clock may be so far ahead of ours
STATEMENT = "Sign in to BCFL Console. This sends no transaction and costs no gas."
_ALPHABET = string.ascii_letters + string.digits
_NONCE_LENGTH = 24  # of 62 characters: 142 bits
# ERC-1271: isValidSignature(bytes32,bytes) and the value that means yes.
_IS_VALID_SIGNATURE = bytes.fromhex("1626ba7e")
MAX_SIGNATURE_BYTES = 8_192  # contract wallets concatenate several


def issue_nonce() -> str:
    """A nonce for one message, valid for NONCE_SECONDS; forgets those long past."""
    now = timezone.now()
    SignInNonce.objects.filter(expires_at__lt=now - timedelta(days=1)).delete()
    nonce = SignInNonce.objects.create(
        value="".join(secrets.choice(_ALPHABET) for _ in range(_NONCE_LENGTH)),
        expires_at=now + timedelta(seconds=NONCE_SECONDS),
    )
    return nonce.value


def build(
    *, address: str, domain: str = "", uri: str = "", statement: str = STATEMENT
) -> SiweMessage:
    """A message for `address` to sign, with a fresh nonce and this console's chain.

    `domain` (host and port as the browser shows them) and `uri` default to SITE_URL's.
    Raises SignInRefused when `address` is none.
    """
    if not is_address(address):
        raise SignInRefused(f"“{address}” is not an Ethereum address (0x and 40 hex digits).")
    now = timezone.now().replace(microsecond=0)
    domain = domain or site_domain()
    return SiweMessage(
        domain=domain,
        address=to_checksum_address(address),
        statement=statement,
        uri=uri or f"{urlsplit(settings.SITE_URL).scheme}://{domain}",
        chain_id=chain_id(),
        nonce=issue_nonce(),
        issued_at=now,
        expiration_time=now + timedelta(seconds=NONCE_SECONDS),
    )


def verify(message: str, signature: str, *, domain: str = "") -> str:
    """The address (checksum form) that signed `message`; its nonce is used up.

    `signature` is 0x-hex: 65 bytes of an ordinary account, or what a contract wallet accepts
    (ERC-1271). `domain` is the host the browser talks to, by default SITE_URL's. Raises
    SignInRefused, whose `reason` is one of: format, domain, uri, chain, expired, not_yet, nonce,
    signature, node.
    """
    domain = domain or site_domain()
    parsed = parse(message)
    _check_place(parsed, domain)
    _check_times(parsed, timezone.now())
    nonce = SignInNonce.objects.filter(value=parsed.nonce).first()
    if nonce is None or nonce.used_at is not None or nonce.expires_at <= timezone.now():
        raise _nonce_refused(parsed.nonce, nonce)
    _check_signature(parsed.address, message, signature)
    # The one place that decides: of two requests with the same message, one updates a row.
    now = timezone.now()
    fresh = SignInNonce.objects.filter(value=parsed.nonce, used_at__isnull=True, expires_at__gt=now)
    if fresh.update(used_at=now, address=parsed.address) != 1:
        raise _nonce_refused(parsed.nonce, SignInNonce.objects.filter(value=parsed.nonce).first())
    return parsed.address


def site_domain() -> str:
    return urlsplit(settings.SITE_URL).netloc


def chain_id() -> int:
    return int(network_settings()["chain_id"])


def _check_place(message: SiweMessage, domain: str) -> None:
    if message.domain != domain:
        raise SignInRefused(
            f"The message is for {message.domain}, but this is {domain}. If a site you do not know "
            "asked you to sign it, it tried to sign in as you.",
            reason="domain",
        )
    if urlsplit(message.uri).netloc != domain:
        raise SignInRefused(
            f"The message's URI {message.uri} is not at {domain}. Ask for a new message.",
            reason="uri",
        )
    if message.chain_id != chain_id():
        raise SignInRefused(
            f"The message is for chain {message.chain_id}, this console is on chain {chain_id()}. "
            "Switch the network in your wallet and sign again.",
            reason="chain",
        )


def _check_times(message: SiweMessage, now: datetime) -> None:
    if message.expiration_time is not None and message.expiration_time <= now:
        raise SignInRefused(
            f"The message expired at {message.expiration_time.isoformat()}. Ask for a new one.",
            reason="expired",
        )
    if message.issued_at > now + CLOCK_SKEW:
        raise SignInRefused(
            f"The message was issued at {message.issued_at.isoformat()}, which is in the future "
            f"(now {now.isoformat(timespec='seconds')}). Set the clock and ask for a new one.",
            reason="not_yet",
        )
    if message.not_before is not None and message.not_before > now:
        raise SignInRefused(
            f"The message is valid only from {message.not_before.isoformat()} on.",
            reason="not_yet",
        )
    if message.issued_at < now - timedelta(seconds=NONCE_SECONDS) - CLOCK_SKEW:
        raise SignInRefused(
            f"The message was issued at {message.issued_at.isoformat()}, more than "
            f"{NONCE_SECONDS // 60} minutes ago. Ask for a new one.",
            reason="expired",
        )


def _nonce_refused(value: str, nonce: SignInNonce | None) -> SignInRefused:
    if nonce is None:
        why = f"The nonce {value} was not issued here"
    elif nonce.used_at is not None:
        why = f"The nonce {value} has been used already: a signed message counts once"
    else:
        why = f"The nonce {value} expired at {nonce.expires_at.isoformat(timespec='seconds')}"
    return SignInRefused(f"{why}. Ask for a new message and sign that.", reason="nonce")


def _check_signature(address: str, message: str, signature: str) -> None:
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
    except ValueError:
        raise SignInRefused(
            "The signature is not hexadecimal; send it as 0x and 130 hex digits.",
            reason="signature",
        ) from None
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise SignInRefused(
            f"The signature has {len(raw)} bytes; the limit is {MAX_SIGNATURE_BYTES}.",
            reason="signature",
        )
    if _recovered(encode_defunct(text=message), raw) == address:
        return
    if _contract_accepts(address, bytes(defunct_hash_message(text=message)), raw):
        return
    raise SignInRefused(
        f"The signature is not one of {address} over this message. Sign the message unchanged, "
        "with the account it names.",
        reason="signature",
    )


def _recovered(signable: SignableMessage, raw: bytes) -> str:
    """The signer of an EIP-191 message, or empty for what is no signature."""
    if len(raw) != 65:
        return ""
    try:
        return str(Signer.recover_message(signable, signature=raw))
    except Exception:  # eth-keys, coincurve and eth-account each raise their own
        return ""


def _contract_accepts(address: str, digest: bytes, raw: bytes) -> bool:
    """ERC-1271, where the address is a contract on this console's chain."""
    client = client_current()
    try:
        if not client.code(address):
            return False
        data = _IS_VALID_SIGNATURE + encode(["bytes32", "bytes"], [digest, raw])
        answer = client.call(address, data)
    except PermanentError:  # it reverts, or has no such function
        return False
    except ChainError as error:
        raise SignInRefused(
            f"Whether {address} is a contract wallet that accepts this signature cannot be "
            f"checked now: {error}",
            reason="node",
        ) from error
    return len(answer) == 32 and decode(["bytes4"], answer)[0] == _IS_VALID_SIGNATURE
