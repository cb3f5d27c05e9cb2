"""What several test files of this room do."""

from __future__ import annotations

from chain.events import DecodedEvent
from chain.models import OutgoingTransaction
from chain.outbox import account_send, transaction_enqueue
from tests.chain.conftest import Chain

SOMEONE = "0x1111111111111111111111111111111111111111"


def send(chain: Chain, *amounts: int, key: str = "t") -> list[OutgoingTransaction]:
    rows = [
        transaction_enqueue(
            account=chain.deployer,
            contract="FLToken",
            function="transfer",
            args=[SOMEONE, amount],
            idempotency_key=f"{key}:{number}",
        )
        for number, amount in enumerate(amounts)
    ]
    assert account_send(chain.deployer.pk) == len(rows)
    return rows


def amounts(events: list[DecodedEvent]) -> list[int]:
    return [e.args["value"] for e in events if e.name == "Transfer" and e.args["to"] == SOMEONE]


class Lines:
    """A stream for a command's output."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""

    def isatty(self) -> bool:
        return False
