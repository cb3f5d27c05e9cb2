"""Which addresses are a user's: the account hosted for them, and the wallets they have linked."""

from __future__ import annotations

from collections.abc import Sequence

from sessions_app.models import User


def addresses_of(user: User) -> Sequence[str]:
    """Hosted first, then wallets in the order of linking; each once. One query, two the first
    time the account is read."""
    hosted = [user.account.address] if user.account is not None else []
    linked = user.wallets.values_list("address", flat=True)
    return tuple(dict.fromkeys([*hosted, *linked]))
