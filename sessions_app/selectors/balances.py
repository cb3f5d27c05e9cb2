"""FLT by address, as the chain says."""

from __future__ import annotations

from sessions_app.models import TokenBalance


def token_balance(address: str) -> int:
    """FLT of an address in wei, as of the last block that the follower has written."""
    row = TokenBalance.objects.filter(address=address).order_by("-block_number").first()
    return row.balance if row is not None else 0
