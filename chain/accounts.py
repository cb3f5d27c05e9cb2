"""Accounts we hold keys for, as encrypted keystores (Web3 Secret Storage v3).

The decrypted key exists only in the memory of the process that signs.
"""

from __future__ import annotations

import json
import secrets
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount

from chain.artifacts import DEV_CHAIN_ID
from chain.errors import KeystoreError
from chain.events import checksum
from chain.models import Account, AccountKind
from chain.network import network_settings

# The mnemonic of Anvil, Hardhat and every tutorial: its keys are public knowledge.
DEV_MNEMONIC = "test test test test test test test test test test test junk"
PREFUNDED = 128  # accounts the embedded chain starts with, from index 0
# Light: a hosted development key is worth nothing, and a round waits for its decryption.
LIGHT_ITERATIONS = 1_024
FULL_ITERATIONS = 600_000  # PBKDF2-HMAC-SHA256, as OWASP's password storage sheet asks

Signer.enable_unaudited_hdwallet_features()


def account_create(
    *, label: str, kind: AccountKind | str, private_key: bytes | None = None
) -> Account:
    """An account with a new random key, or with the one given (32 bytes).

    Raises KeystoreError when the key is invalid or its address already has an account.
    """
    return _store(label=label, kind=kind, key=private_key or secrets.token_bytes(32), index=None)


def account_derive(*, label: str, kind: AccountKind | str, index: int) -> Account:
    """Account `index` of the development mnemonic; the existing row when there is one.

    Raises KeystoreError on any other chain: everybody knows these keys.
    """
    chain_id = network_settings()["chain_id"]
    if chain_id != DEV_CHAIN_ID:
        raise KeystoreError(
            f"Keys of the development mnemonic are public; chain {chain_id} is not the "
            f"development chain ({DEV_CHAIN_ID}). Use account_create or import a keystore."
        )
    found = Account.objects.filter(derivation_index=index).first()
    if found is not None:
        return found
    key = bytes(derived(index).key)
    try:
        with transaction.atomic():
            return _store(label=label, kind=kind, key=key, index=index)
    except IntegrityError:  # another process was first
        return Account.objects.get(derivation_index=index)


def account_import(
    *, label: str, kind: AccountKind | str, keystore: dict[str, Any], password: str
) -> Account:
    """Take in someone's keystore file; kept under our own password.

    Raises KeystoreError when the password does not open it.
    """
    try:
        key = bytes(Signer.decrypt(keystore, password))
    except (ValueError, KeyError, TypeError) as error:
        raise KeystoreError(
            f"The keystore does not open: {error}. Check the password and that the file is a "
            "Web3 Secret Storage v3 JSON."
        ) from error
    return account_create(label=label, kind=kind, private_key=key)


def derived(index: int) -> LocalAccount:
    """Key `index` of the development mnemonic, path m/44'/60'/0'/0/index."""
    account: LocalAccount = Signer.from_mnemonic(
        DEV_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}"
    )
    return account


def key_address(private_key: bytes) -> str:
    """The address that a private key signs for. Raises KeystoreError for what is no key."""
    try:
        return checksum(Signer.from_key(private_key).address)
    except Exception as error:  # coincurve and eth-keys raise differently
        raise KeystoreError(
            f"Not a private key: {len(private_key)} bytes, needs 32 within the order of secp256k1."
        ) from error


def signing_account(account: Account) -> LocalAccount:
    """The decrypted signer, remembered in this process. For senders only.

    Raises KeystoreError when BCFL_KEYSTORE_PASSWORD does not open the keystore.
    """
    return _decrypted(json.dumps(account.keystore), account.address)


@lru_cache(maxsize=4_096)
def _decrypted(keystore: str, address: str) -> LocalAccount:
    try:
        key = Signer.decrypt(keystore, settings.BCFL_KEYSTORE_PASSWORD)
    except (ValueError, KeyError, TypeError) as error:
        raise KeystoreError(
            f"The keystore of {address} does not open ({error}). BCFL_KEYSTORE_PASSWORD is not "
            "the one it was made with."
        ) from error
    signer: LocalAccount = Signer.from_key(key)
    return signer


def _store(*, label: str, kind: AccountKind | str, key: bytes, index: int | None) -> Account:
    if kind not in AccountKind.values:
        raise KeystoreError(f"{kind} is no kind of account; use one of {AccountKind.values}.")
    try:
        signer = Signer.from_key(key)
    except Exception as error:  # coincurve and eth-keys raise differently
        raise KeystoreError(
            f"Not a private key: {len(key)} bytes, needs 32 within the order of secp256k1."
        ) from error
    light = network_settings()["chain_id"] == DEV_CHAIN_ID
    keystore = signer.encrypt(
        settings.BCFL_KEYSTORE_PASSWORD,
        kdf="pbkdf2",
        iterations=LIGHT_ITERATIONS if light else FULL_ITERATIONS,
    )
    address = checksum(signer.address)
    if index is None and Account.objects.filter(address=address).exists():
        raise KeystoreError(f"{address} already has an account; use that one.")
    return Account.objects.create(
        address=address,
        label=label,
        kind=kind,
        keystore=keystore,
        derivation_index=index,
    )
