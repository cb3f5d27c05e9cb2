"""The participant's own key: an encrypted keystore file (Web3 Secret Storage v3), opened here."""

from __future__ import annotations

import getpass
import json
import os
import secrets
from pathlib import Path

from eth_account import Account as Signer
from eth_account.signers.local import LocalAccount

from agent.errors import BadKeystore

ITERATIONS = 600_000  # PBKDF2-HMAC-SHA256, as OWASP's password storage sheet asks
PASSWORD_VARIABLE = "BCFL_KEY_PASSWORD"  # noqa: S105 (a name, not a secret)


def read_password(file: Path | None, *, again: bool = False) -> str:
    """From a file, else from BCFL_KEY_PASSWORD, else asked for."""
    if file is not None:
        try:
            return file.read_text().rstrip("\n")
        except OSError as error:
            raise BadKeystore(f"{file} cannot be read: {error.strerror}.") from error
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    password = getpass.getpass("Password of the keystore: ")
    if again and getpass.getpass("Once more: ") != password:
        raise BadKeystore("The two passwords differ. Nothing was written.")
    return password


def open_keystore(path: Path, password: str) -> LocalAccount:
    """Raises BadKeystore. The key stays in this process's memory."""
    try:
        keystore = json.loads(path.read_text())
    except OSError as error:
        raise BadKeystore(
            f"{path} cannot be read: {error.strerror}. Make one with `bcfl-agent keygen`."
        ) from error
    except ValueError as error:
        raise BadKeystore(f"{path} is not a keystore: no JSON.") from error
    try:
        opened: LocalAccount = Signer.from_key(Signer.decrypt(keystore, password))
    except (ValueError, KeyError, TypeError) as error:
        raise BadKeystore(f"{path} does not open: {error}. Check the password.") from error
    return opened


def make_keystore(path: Path, password: str, *, iterations: int = ITERATIONS) -> str:
    """Write a new key to `path`, readable by its owner alone; returns its address.

    Raises BadKeystore when the file exists: a key is never written over.
    """
    if not password:
        raise BadKeystore("An empty password protects nothing. Give another.")
    signer: LocalAccount = Signer.from_key(secrets.token_bytes(32))
    keystore = signer.encrypt(password, kdf="pbkdf2", iterations=iterations)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise BadKeystore(f"{path} exists already. A key is never written over.") from error
    except OSError as error:
        raise BadKeystore(f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w") as file:
        json.dump(keystore, file)
    return str(signer.address)
