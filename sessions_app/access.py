"""Who may do what: one table of actions.

A service calls ``require(user, "task.launch", task)`` before it writes; a page hides what
``can(user, "task.launch", task)`` refuses, so the two can't disagree. Each action names the roles
that may ever do it and, where it is about an object, a rule that must hold for that object too.
An action without an entry here does not exist: asking for it raises KeyError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser

from chain.models import OutgoingTransaction
from sessions_app.errors import NotAllowed
from sessions_app.models import Participant, Task, User

OPERATOR, PARTICIPANT, ADMIN = User.Role.OPERATOR, User.Role.PARTICIPANT, User.Role.ADMIN
EVERYONE = frozenset((OPERATOR, PARTICIPANT, ADMIN))
OPERATORS = frozenset((OPERATOR, ADMIN))
ADMINS = frozenset((ADMIN,))

Rule = Callable[[User, Any], bool]


@dataclass(frozen=True)
class Action:
    """``does``: the words after "may", for the refusal. ``who``: who may, when a rule refuses."""

    name: str
    does: str
    roles: frozenset[User.Role]
    rule: Rule | None = None
    who: Callable[[Any], str] | None = None


def _owns_task(user: User, task: Task) -> bool:
    return user.is_admin or task.owner_id == user.pk


def _task_people(task: Task) -> str:
    owner = f" ({task.owner.short_name})" if task.owner else ""
    return f"the operator of task {task.pk}{owner} or an admin"


def _uses_model(user: User, task: Task) -> bool:
    """A model belongs to those who made it: its operator and the task's participants."""
    if _owns_task(user, task):
        return True
    addresses = addresses_of(user)
    seated = user.account_id is not None and task.seats.filter(account=user.account_id).exists()
    return seated or task.members.filter(address__in=addresses).exists()


def _model_people(task: Task) -> str:
    return f"participants of task {task.pk}, {_task_people(task)}"


def _takes_part(user: User, task: Task) -> bool:
    if _owns_task(user, task):
        return True
    mine = addresses_of(user)
    return bool(mine & set(task.evaluators)) or task.members.filter(address__in=mine).exists()


def _owns(user: User, thing: Any) -> bool:
    """Drafts and templates."""
    return bool(user.is_admin or thing.owner_id == user.pk)


def _owner_or_admin(thing: Any) -> str:
    return f"{thing.owner.short_name} or an admin"


def _claims_for(user: User, member: Participant) -> bool:
    """The earner, by hosted account or linked wallet, and whoever runs the task: the contract
    pays the earner alone, whoever sends the claim."""
    if can(user, "reward.claim_all", member.task):
        return True
    return member.address in addresses_of(user)


def _is_for_task_of(user: User, row: OutgoingTransaction) -> bool:
    kind, _, number = row.reference.partition(":")
    return kind == "task" and Task.objects.filter(pk=number, owner=user).exists()


def _own(user: User, thing: Any) -> bool:
    """For things that have a ``user``: tokens, wallets, webhooks, notifications, sessions."""
    return bool(thing.user_id == user.pk)


def _invites(user: User, invitation: Any) -> bool:
    """Admins invite anyone to anything; operators invite participants, to tasks of their own."""
    if user.is_admin:
        return True
    task = invitation.task
    mine = task is None or task.owner_id == user.pk
    return invitation.role == PARTICIPANT and mine


def _invited(user: User, invitation: Any) -> bool:
    return user.is_admin or invitation.invited_by_id == user.pk


def _another(user: User, other: User) -> bool:
    """No admin locks themselves out: someone else has to do it."""
    return other.pk != user.pk


_TABLE = (
    # tasks
    Action("task.view", "see tasks", EVERYONE),
    Action("task.create", "create tasks", OPERATORS),
    Action("task.clone", "clone tasks", OPERATORS),
    Action("task.change", "change this draft", OPERATORS, _owns_task, _task_people),
    Action("task.launch", "start this task", OPERATORS, _owns_task, _task_people),
    Action("task.start", "begin this task early", OPERATORS, _owns_task, _task_people),
    Action("task.pause", "pause or resume this task", OPERATORS, _owns_task, _task_people),
    Action("task.remove", "remove its participants", OPERATORS, _owns_task, _task_people),
    Action("task.top_up", "top up its pool", OPERATORS, _owns_task, _task_people),
    Action("task.cancel", "end this task", OPERATORS, _owns_task, _task_people),
    # what stands before a task
    Action("draft.create", "begin a draft", OPERATORS),
    Action("draft.change", "change this draft", OPERATORS, _owns, _owner_or_admin),
    Action("template.create", "save templates", OPERATORS),
    Action("template.delete", "delete this template", OPERATORS, _owns, _owner_or_admin),
    Action("price.remember", "remember prices of other networks", OPERATORS),
    Action(
        "task.files",
        "read the models and updates of this task",
        EVERYONE,
        _takes_part,
        lambda task: f"its members and evaluators, {_task_people(task)}",
    ),
    Action(
        "update.upload",
        "send an update of this participant",
        EVERYONE,
        lambda user, member: member.address in addresses_of(user),
        lambda member: member.address,
    ),
    Action(
        "reward.claim",
        "claim this reward",
        EVERYONE,
        _claims_for,
        lambda member: f"{member.address}, {_task_people(member.task)}",
    ),
    Action("reward.claim_all", "claim for everyone", OPERATORS, _owns_task, _task_people),
    Action(
        "transaction.retry",
        "send this transaction again",
        OPERATORS,
        lambda user, row: user.is_admin or _is_for_task_of(user, row),
        lambda _: "the operator of the task that the transaction is for or an admin",
    ),
    # models
    Action("model.promote", "put this model into production", OPERATORS, _owns_task, _task_people),
    Action("model.rollback", "roll this model back", OPERATORS, _owns_task, _task_people),
    Action("model.retire", "retire versions of this model", OPERATORS, _owns_task, _task_people),
    Action("model.download", "download this model", EVERYONE, _uses_model, _model_people),
    Action("model.predict", "ask this model", EVERYONE, _uses_model, _model_people),
    # one's own account
    Action("profile.change", "change their profile", EVERYONE),
    Action(
        "session.end",
        "end this session",
        EVERYONE,
        _own,
        lambda _: "whoever signed in",
    ),
    Action("wallet.link", "link a wallet", EVERYONE),
    Action("wallet.unlink", "unlink this wallet", EVERYONE, _own, lambda _: "its owner"),
    Action("token.create", "make API tokens", EVERYONE),
    Action("token.revoke", "revoke this API token", EVERYONE, _own, lambda _: "its owner"),
    Action("webhook.create", "add webhooks", EVERYONE),
    Action("webhook.change", "change this webhook", EVERYONE, _own, lambda _: "its owner"),
    Action("notification.read", "read notifications", EVERYONE),
    Action("notification.preferences", "choose their notifications", EVERYONE),
    # people
    Action(
        "invitation.create",
        "send this invitation",
        OPERATORS,
        _invites,
        lambda _: "an admin (operators invite participants, to tasks of their own)",
    ),
    Action("invitation.list", "see invitations", OPERATORS),
    Action(
        "invitation.revoke",
        "revoke this invitation",
        OPERATORS,
        _invited,
        lambda _: "whoever sent it or an admin",
    ),
    Action("user.list", "see all accounts", ADMINS),
    Action("user.change_role", "change this role", ADMINS, _another, lambda _: "another admin"),
    Action(
        "user.activate", "open or close this account", ADMINS, _another, lambda _: "another admin"
    ),
    # the house
    Action("audit.view", "see the audit log", ADMINS),
    Action("health.view", "see the health of the console", OPERATORS),
    Action("deployment.view", "see how the console is deployed", ADMINS),
    Action("maintenance.run", "resync, rebuild or reconcile", ADMINS),
)
ACTIONS: dict[str, Action] = {action.name: action for action in _TABLE}


def addresses_of(user: User) -> set[str]:
    """Addresses whose rewards are this person's: the hosted account's and the linked wallets'."""
    found = {wallet.address for wallet in user.wallets.all()}  # prefetched where there are many
    if user.account is not None:
        found.add(user.account.address)
    return found


def has_second_factor(user: User) -> bool:
    """Whether a signature alone must not let them in: an app or a security key is asked for too."""
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    return Authenticator.objects.filter(user=user, type__in=kinds).exists()


def may_ever(user: User | AnonymousUser, name: str) -> bool:
    """Whether the role reaches the action at all, for some object."""
    action = ACTIONS[name]
    return isinstance(user, User) and user.is_active and user.role in action.roles


def can(user: User | AnonymousUser, name: str, thing: Any = None) -> bool:
    """Whether this person may do it to this thing.

    Raises KeyError for an action without an entry, TypeError when the entry has a rule and the
    thing is missing: a check that forgets its object must not pass.
    """
    action = ACTIONS[name]
    if action.rule is not None and thing is None:
        raise TypeError(f"{name} is about an object; give it, or ask may_ever.")
    if not may_ever(user, name):
        return False
    assert isinstance(user, User)
    return action.rule is None or action.rule(user, thing)


def require_role(user: User | AnonymousUser, name: str) -> None:
    """Raises NotAllowed for a role that never reaches the action, whatever the object."""
    action = ACTIONS[name]
    if may_ever(user, name):
        return
    if not isinstance(user, User) or not user.is_active:
        raise NotAllowed(f"Sign in first: only people with an account may {action.does}.")
    wanted = "operator" if OPERATOR in action.roles else "admin"
    raise NotAllowed(
        f"{user.short_name} is {_a(user.get_role_display().lower())}; to {action.does} needs "
        f"the {wanted} role. Ask an admin."
    )


def require(user: User | AnonymousUser, name: str, thing: Any = None) -> None:
    """Raises NotAllowed, whose text says who may and what to do."""
    require_role(user, name)
    if can(user, name, thing):
        return
    action = ACTIONS[name]
    assert action.who is not None
    raise NotAllowed(f"Only {action.who(thing)} may {action.does}. Ask them.")


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
