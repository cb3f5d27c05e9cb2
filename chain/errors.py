"""What can go wrong between us and a chain, sorted by what the caller can do about it.

`RetryableError`: the same call may work later without anyone changing anything.
`PermanentError`: it will not, until someone does what the message says.
"""

from __future__ import annotations

from typing import Any


class ChainError(Exception):
    """Root of every error this package raises. The message names value, limit and next step."""


class RetryableError(ChainError):
    """Worth trying again, unchanged, later."""


class PermanentError(ChainError):
    """Trying again unchanged gives the same answer."""


class NodeUnavailable(RetryableError):
    """Nobody answers at the RPC address, or the node answers that it cannot work now."""


class NodeTimeout(RetryableError):
    """The node took longer than the limit."""


class InconsistentAnswer(RetryableError):
    """Two answers of the node contradict each other or what it must hold; nothing was believed."""


class RangeTooLarge(RetryableError):
    """The node refuses so wide a range of blocks.

    `suggestion`: (first, last) block of the range the node said it would serve, or None.
    """

    def __init__(self, message: str, suggestion: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


class CursorMoved(RetryableError):
    """Another follower wrote the cursor since we read it; nothing of ours was written."""


class WrongChain(PermanentError):
    """The node serves another chain (chain id or genesis) than the one in the database."""


class ReorgTooDeep(PermanentError):
    """The common ancestor with the node lies further back than CHAIN_REORG_LIMIT."""


class ChainBehindDatabase(PermanentError):
    """The node's chain ends before, or parted from, what the database already holds."""


class ContractReverted(PermanentError):
    """The EVM refused the call.

    `name`: the custom error, `Error` (a reason string), `Panic`, `OutOfGas` or `Reverted`.
    `args`: its decoded arguments. `sentence`: the same for a reader.
    """

    def __init__(self, name: str, args: dict[str, Any], sentence: str) -> None:
        super().__init__(sentence)
        self.name = name
        self.arguments = args
        self.sentence = sentence


class InsufficientFunds(PermanentError):
    """The account cannot pay value + gas limit x fee."""


class NotDeployed(PermanentError):
    """No contract code where we expect one."""


class IdempotencyConflict(PermanentError):
    """The idempotency key already stands for another call."""


class KeystoreError(PermanentError):
    """A private key is missing, cannot be decrypted, or may not exist on this network."""


class StateMissing(PermanentError):
    """The node no longer keeps the state of so old a block."""


class NonceTaken(PermanentError):
    """The node has already mined a transaction with this nonce (nonce too low)."""


class AlreadyKnown(PermanentError):
    """The node already has these very bytes; for a sender that is success."""


class Underpriced(RetryableError):
    """The fee is too low: for a block of now, or to replace what waits with the same nonce."""


class CallFailed(PermanentError):
    """The node refused the request itself: unknown method, bad parameters, or an error we
    have no name for. `code` is the JSON-RPC error code."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
