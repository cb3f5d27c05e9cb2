"""Errors of this room. Their text is shown to people: value, limit, next step."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied


class BcflError(Exception):
    """Base of all errors that a person can act on."""


class NotAllowed(BcflError, PermissionDenied):
    """The signed-in person may not do this. Unhandled, it is the 403 page with this text."""


class InvalidTask(BcflError):
    """A task's numbers do not fit together; ``field`` names the form field."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidInvitation(BcflError):
    """An invitation that cannot be sent or used; ``field`` names the form field."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidWebhook(BcflError):
    """An address or choice of events that cannot be; ``field`` names the form field."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class WrongStage(BcflError):
    """The action does not fit where the task is now."""


class NothingToClaim(BcflError):
    """Everything earned has been claimed already."""


class ChainTrouble(BcflError):
    """The chain or a key refused; the text of the chain's error says what to do."""


class SignInRefused(BcflError):
    """A Sign-In with Ethereum message or its signature does not hold; `reason` says which part."""

    def __init__(self, message: str, *, reason: str = "format") -> None:
        super().__init__(message)
        self.reason = reason


class WalletTaken(BcflError):
    """The address belongs to another user."""


class InvalidToken(BcflError):
    """What a new API token asks for does not fit; ``field`` names which."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NoSuchVersion(BcflError):
    """The model has no such version, or none that was put into production."""


class ModelRefused(BcflError):
    """The stored bytes of a model are missing, or are not what the chain names."""


class BadInput(BcflError):
    """What was sent to a model does not fit it."""


class ServingTrouble(BcflError):
    """No worker answered a prediction in time, or the queue is away."""
