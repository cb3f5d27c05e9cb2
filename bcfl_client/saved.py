"""Where the command is logged in: one small file that only its owner may read."""

from __future__ import annotations

import argparse
import getpass
import json
import os
from pathlib import Path
from typing import Any

from bcfl_client.client import Client
from bcfl_client.errors import ClientError
from bcfl_client.wallet import open_keystore

DEFAULT_URL = "http://127.0.0.1:8000"


def client(options: argparse.Namespace) -> Client:
    """For the options of a command: what is given goes before the environment, that before the
    login."""
    login = getattr(options, "address", None) if options.command == "login" else None
    known = _read()
    url = login or options.url or os.environ.get("BCFL_URL") or known.get("url", DEFAULT_URL)
    if login and options.keystore:
        return Client.with_wallet(url, open_keystore(options.keystore, _password(options)))
    token = options.token or os.environ.get("BCFL_TOKEN")
    if not token and url.rstrip("/") == known.get("url"):
        token = known.get("token", "")  # never sent to another console
    return Client(url, token or "")


def save(url: str, token: str) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"url": url.rstrip("/"), "token": token}, file)


def forget() -> dict[str, Any]:
    _path().unlink(missing_ok=True)
    return {"forgotten": True}


def _read() -> dict[str, Any]:
    try:
        found = json.loads(_path().read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ClientError(f"{_path()} is damaged ({error}); bcfl logout removes it.") from error
    return found if isinstance(found, dict) else {}


def _path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "bcfl" / "login.json"


def _password(options: argparse.Namespace) -> str:
    if options.password_file:
        return Path(options.password_file).read_text().rstrip("\n")
    return getpass.getpass("Password of the keystore: ")
