"""From what nodes and sockets say to `chain.errors`. Nodes differ in words, so the words of
Geth, Nethermind, Erigon, Besu, Reth and Anvil are all here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chain.errors import (
    AlreadyKnown,
    CallFailed,
    ChainError,
    InsufficientFunds,
    NodeTimeout,
    NodeUnavailable,
    NonceTaken,
    RangeTooLarge,
    StateMissing,
    Underpriced,
)
from chain.reverts import RevertDecoder

_REVERTED = 3  # Geth and Anvil: "execution reverted", revert data in `data`
_LIMIT_EXCEEDED = -32005  # EIP-1474
_BUSY = (-32002, -32603)

_PATTERNS: tuple[tuple[re.Pattern[str], type[ChainError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"already known|already imported|known transaction|already exists in", AlreadyKnown),
        (r"nonce too low|nonce is too low|oldnonce|invalid nonce.*expected", NonceTaken),
        (
            r"underpriced|replacement.*fee|gas price too low to replace"
            r"|(less than|below).{0,20}base ?fee|feetoolow",
            Underpriced,
        ),
        (r"insufficient funds|insufficient balance|insufficientfunds", InsufficientFunds),
        (
            r"missing trie node|state.{0,40}(not available|unavailable|pruned|missing)"
            r"|historical state|pruned|blockoutofrange|required historical",
            StateMissing,
        ),
        (r"timeout|timed out|deadline exceeded", NodeTimeout),
        (
            r"rate limit|too many requests|header not found|try again"
            r"|not synced|syncing|service unavailable",
            NodeUnavailable,
        ),
    )
)
_RANGE = re.compile(
    r"block range|range (is )?too (large|wide)|query returned more than|too many (logs|results)"
    r"|exceed.*(range|logs|results|blocks)|response size|limited to",
    re.IGNORECASE,
)
_SUGGESTED = re.compile(r"\[\s*(0x[0-9a-f]+)\s*,\s*(0x[0-9a-f]+)\s*\]", re.IGNORECASE)
_HEX = re.compile(r"0x[0-9a-f]{8,}", re.IGNORECASE)


def from_rpc(method: str, error: Mapping[str, Any], reverts: RevertDecoder) -> ChainError:
    """The typed error for a JSON-RPC error object."""
    code = error.get("code")
    message = str(error.get("message", ""))
    data = revert_data(error)
    if code == _REVERTED or data is not None or "revert" in message.lower():
        return reverts.decode(data or "0x", message)
    if method == "eth_getLogs" and (code == _LIMIT_EXCEEDED or _RANGE.search(message)):
        found = _SUGGESTED.search(message)
        suggestion = (int(found[1], 16), int(found[2], 16)) if found else None
        return RangeTooLarge(f"{method}: {message}", suggestion)
    for pattern, kind in _PATTERNS:
        if pattern.search(message):
            return kind(f"{method}: {message}")
    if code == _LIMIT_EXCEEDED or code in _BUSY:
        return NodeUnavailable(f"{method}: {message} (code {code})")
    return CallFailed(f"{method}: {message} (code {code})", code)


def revert_data(error: Mapping[str, Any]) -> str | None:
    """Revert data, wherever the node put it; None when the error is no revert."""
    data = error.get("data")
    if isinstance(data, Mapping):  # Hardhat, some gateways
        data = data.get("data") or data.get("result")
    if isinstance(data, str):
        if data.startswith("0x"):
            return data
        found = _HEX.search(data)  # Parity, Nethermind: "Reverted 0x08c379a0..."
        if found and "revert" in data.lower():
            return found[0]
    return None
