"""What stops an agent, each with a sentence that says what to do."""

from __future__ import annotations


class AgentError(Exception):
    """Root of the agent's own errors."""


class WrongNetwork(AgentError):
    """The node serves another chain than the one the task is on, or has no such contract."""


class ConsoleLies(AgentError):
    """What the console says is not what the chain holds."""


class CannotJoin(AgentError):
    """The task takes nobody any more, or the account cannot pay."""


class BadKeystore(AgentError):
    """The keystore does not open."""


class WrongToken(AgentError):
    """The API token is of an account that does not own the key's address, or may only read."""


class NotInTask(AgentError):
    """The key's address is neither a member nor an evaluator of the task."""


class StillPending(AgentError):
    """A transaction of the same key is not mined yet; passes by itself."""


class Mismatch(AgentError):
    """A finalised round is not what its updates and scores give."""
