"""Tables of this room, in three groups.

* ``people``: who signs in.
* ``work``: what we intend and do off chain (a task's form, its hosted seats, training runs).
* ``ledger``: what the chain says. Only the projection writes these rows, and it can rebuild them
  from the stored logs at any time.
"""

from sessions_app.models.ledger import (
    Claim,
    Participant,
    Reward,
    Round,
    ScoreSheet,
    TaskEvent,
    TokenBalance,
    TokenTransfer,
    Update,
)
from sessions_app.models.people import SignInNonce, User, Wallet
from sessions_app.models.work import RoundRun, Seat, Task, TrainingRun

__all__ = [
    "Claim",
    "Participant",
    "Reward",
    "Round",
    "RoundRun",
    "ScoreSheet",
    "Seat",
    "SignInNonce",
    "Task",
    "TaskEvent",
    "TokenBalance",
    "TokenTransfer",
    "TrainingRun",
    "Update",
    "User",
    "Wallet",
]
