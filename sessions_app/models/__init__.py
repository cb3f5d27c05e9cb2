"""Tables of this room, in groups.

* ``people``: who signs in; ``access``: with which tokens; ``accounts``: who was asked in, and
  who did what.
* ``outreach``: notifications, webhooks, jobs that admins start.
* ``work``: what we intend and do off chain (a task's form, its hosted seats, training runs).
* ``updates``: what participants who train elsewhere send.
* ``steering``: what an operator does to a running task.
* ``drafts``: what stands before a task: wizards in progress, templates.
* ``registry``: what people decide about models, and the files made of them.
* ``ledger``: what the chain says. Only the projection writes these rows, and it can rebuild them
  from the stored logs at any time.
"""

from sessions_app.models.access import ApiToken, IdempotencyKey
from sessions_app.models.accounts import AuditEntry, Invitation
from sessions_app.models.drafts import NetworkPrice, TaskDraft, TaskTemplate
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
from sessions_app.models.outreach import (
    MaintenanceJob,
    Notification,
    OutreachCursor,
    Webhook,
    WebhookDelivery,
)
from sessions_app.models.people import SignInNonce, User, Wallet
from sessions_app.models.registry import ModelDecision, ModelFile
from sessions_app.models.steering import TaskNote, TopUp
from sessions_app.models.updates import SignedUpdate, Upload
from sessions_app.models.work import RoundRun, Seat, Task, TrainingRun

__all__ = [
    "ApiToken",
    "AuditEntry",
    "Claim",
    "IdempotencyKey",
    "Invitation",
    "MaintenanceJob",
    "ModelDecision",
    "ModelFile",
    "NetworkPrice",
    "Notification",
    "OutreachCursor",
    "Participant",
    "Reward",
    "Round",
    "RoundRun",
    "ScoreSheet",
    "Seat",
    "SignInNonce",
    "SignedUpdate",
    "Task",
    "TaskDraft",
    "TaskEvent",
    "TaskNote",
    "TaskTemplate",
    "TokenBalance",
    "TokenTransfer",
    "TopUp",
    "TrainingRun",
    "Update",
    "Upload",
    "User",
    "Wallet",
    "Webhook",
    "WebhookDelivery",
]
