"""Role × action, all of them, and that no view writes without an action of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import URLPattern, reverse
from django.utils import timezone

from chain.models import OutgoingTransaction
from sessions_app import access, audit, urls
from sessions_app.errors import NotAllowed
from sessions_app.models import (
    AuditEntry,
    Invitation,
    Participant,
    Seat,
    Task,
    TaskDraft,
    TaskTemplate,
    User,
    Wallet,
)
from tests import factories

pytestmark = pytest.mark.django_db

ROLES = ("operator", "participant", "admin")
# Who may, by action: letters o, p, a; "own" after a colon marks who may only for their own.
# This is the wanted table, written apart from the code's.
EXPECTED: dict[str, str] = {
    "task.view": "o p a",
    "task.create": "o a",
    "task.clone": "o a",
    "task.change": "o:own a",
    "task.launch": "o:own a",
    "task.start": "o:own a",
    "task.cancel": "o:own a",
    "task.pause": "o:own a",
    "task.remove": "o:own a",
    "task.top_up": "o:own a",
    "draft.create": "o a",
    "draft.change": "o:own a",
    "template.create": "o a",
    "template.delete": "o:own a",
    "price.remember": "o a",
    "transaction.retry": "o:own a",
    "task.files": "o:own p:own a",
    "update.upload": "o:own p:own a:own",
    "reward.claim": "o:own p:own a",
    "reward.claim_all": "o:own a",
    "model.promote": "o:own a",
    "model.rollback": "o:own a",
    "model.retire": "o:own a",
    "model.download": "o:own p:own a",
    "model.predict": "o:own p:own a",
    "profile.change": "o p a",
    "session.end": "o:own p:own a:own",
    "wallet.link": "o p a",
    "wallet.unlink": "o:own p:own a:own",
    "token.create": "o p a",
    "token.revoke": "o:own p:own a:own",
    "webhook.create": "o p a",
    "webhook.change": "o:own p:own a:own",
    "notification.read": "o p a",
    "notification.preferences": "o p a",
    "invitation.create": "o:own a",
    "invitation.list": "o a",
    "invitation.revoke": "o:own a",
    "user.list": "a",
    "user.change_role": "a:other",
    "user.activate": "a:other",
    "audit.view": "a",
    "health.view": "o a",
    "deployment.view": "a",
    "maintenance.run": "a",
}
# Views that take POST from anyone: the theme, an invitation (its link permits), signing in
# by wallet. The pages of allauth are included, not listed; each is about the visitor's own account.
OPEN_TO_ALL = {"theme", "invitation", "wallet-message", "wallet-sign-in"}


@pytest.fixture
def people() -> dict[str, User]:
    return {role: factories.user(role) for role in ROLES}


def _things(user: User, other: User) -> dict[str, Callable[[], Any]]:
    """By the first word of an action (or all of it): what it is done to, when `user` owns it."""

    def task() -> Task:
        return Task(pk=1, owner=user)

    def model() -> Task:
        """Of a task that `user` owns, or, as a participant, has a seat in."""
        if user.role != "participant":
            return factories.draft(user, "Mine")
        made = factories.draft(other, "Theirs together")
        Seat.objects.create(task=made, slot=0, account=user.account)
        return made

    return {
        "task": task,
        "model": model,
        "reward.claim": lambda: (
            Participant(
                task=Task(pk=1, owner=other),
                address=user.account.address if user.account else "0x0",
            )
            if user.role == "participant"
            else Participant(task=task(), address="0x" + "1" * 40)
        ),
        "reward.claim_all": task,
        "transaction": lambda: OutgoingTransaction(
            reference=f"task:{factories.draft(user, 'Sent').pk}"
        ),
        "update": lambda: Participant(address=_wallet_of(user)),
        "draft": lambda: TaskDraft(owner=user),
        "template": lambda: TaskTemplate(owner=user),
        "wallet": lambda: Wallet(user=user),
        "token": lambda: Wallet(user=user),  # anything with a user
        "webhook": lambda: Wallet(user=user),
        "session": lambda: Wallet(user=user),
        "invitation": lambda: Invitation(invited_by=user, task=task()),
        "user": lambda: user,
    }


def _wallet_of(user: User) -> str:
    address = factories.address_of(user.username)
    Wallet.objects.get_or_create(
        address=address, defaults={"user": user, "verified_at": timezone.now()}
    )
    return address


def _thing(action: str, owner: User, other: User) -> Any:
    things = _things(owner, other)
    return (things.get(action) or things[action.split(".", maxsplit=1)[0]])()


def test_the_wanted_table_knows_every_action() -> None:
    assert set(access.ACTIONS) == set(EXPECTED)


@pytest.mark.parametrize("action", sorted(access.ACTIONS))
@pytest.mark.parametrize("role", ROLES)
def test_role_by_action(people: dict[str, User], role: str, action: str) -> None:
    user = people[role]
    stranger = factories.user("operator", name="Stranger")
    entries = dict(part.partition(":")[::2] for part in EXPECTED[action].split())
    extent = entries.get(role[0])
    assert access.may_ever(user, action) is (extent is not None)
    if access.ACTIONS[action].rule is None:
        assert access.can(user, action) is (extent == "")
        return
    mine, theirs = _thing(action, user, stranger), _thing(action, stranger, user)
    assert access.can(user, action, mine) is (extent in ("", "own"))
    assert access.can(user, action, theirs) is (extent in ("", "other"))
    with pytest.raises(TypeError, match="is about an object"):
        access.can(user, action)


@pytest.mark.parametrize("action", sorted(access.ACTIONS))
def test_strangers_and_closed_accounts_may_nothing(people: dict[str, User], action: str) -> None:
    admin = people["admin"]
    admin.is_active = False
    for user in (AnonymousUser(), admin):
        thing = _thing(action, people["operator"], admin) if access.ACTIONS[action].rule else None
        assert not access.can(user, action, thing)
        with pytest.raises(NotAllowed, match="Sign in first"):
            access.require(user, action, thing)


def test_refusals_say_who_may_and_what_to_do(people: dict[str, User]) -> None:
    task = factories.draft(people["operator"])
    with pytest.raises(NotAllowed, match=r"Eastfield is a participant.*needs the operator role"):
        access.require(people["participant"], "task.launch", task)
    with pytest.raises(NotAllowed, match=rf"Only the operator of task {task.pk} \(Mara\) or an"):
        access.require(factories.user("operator", name="Stranger"), "task.launch", task)
    with pytest.raises(KeyError):
        access.can(people["admin"], "task.nonsense")


def test_operators_invite_participants_to_their_own_tasks(people: dict[str, User]) -> None:
    operator, stranger = people["operator"], factories.user("operator", name="Stranger")
    for invitation, may in (
        (Invitation(role="participant"), True),
        (Invitation(role="participant", task=Task(owner=stranger)), False),
        (Invitation(role="operator"), False),
        (Invitation(role="admin"), False),
    ):
        assert access.can(operator, "invitation.create", invitation) is may
        assert access.can(people["admin"], "invitation.create", invitation)


def test_a_linked_wallet_may_be_claimed_for(people: dict[str, User]) -> None:
    user = people["participant"]
    member = Participant(task=Task(owner=people["operator"]), address="0x" + "a" * 40)
    assert not access.can(user, "reward.claim", member)
    Wallet.objects.create(user=user, address=member.address, verified_at=timezone.now())
    assert access.can(user, "reward.claim", member)


def test_every_view_that_writes_has_an_action(people: dict[str, User]) -> None:
    """A view that does not answer 405 to POST must name its action, or be open to all."""
    client = Client(raise_request_exception=False)
    client.force_login(people["participant"])
    without = []
    for pattern in urls.urlpatterns:
        if not isinstance(pattern, URLPattern) or pattern.name in OPEN_TO_ALL:
            continue
        kwargs = {
            name: 987_654 if converter.__class__.__name__ == "IntConverter" else "nothing"
            for name, converter in pattern.pattern.converters.items()
        }
        path = reverse(str(pattern.name), kwargs={**kwargs, **pattern.default_args})
        if client.post(path).status_code == 405:
            continue
        if getattr(pattern.callback, "action", None) not in access.ACTIONS:
            without.append(pattern.name)
    assert without == []


def test_what_is_done_is_recorded(people: dict[str, User]) -> None:
    factories.account("Evaluator 1", "evaluator")
    task = factories.draft(people["operator"], "Recorded")
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(people["operator"])
    client.post(f"/tasks/{task.pk}/clone/")
    client.post(f"/tasks/{task.pk}/cancel/")
    entries = {entry.action: entry for entry in AuditEntry.objects.all()}
    assert set(entries) == {"draft.create", "task.cancel"}
    deleted = entries["task.cancel"]
    assert (deleted.actor_name, deleted.target) == ("mara", f"task:{task.pk}")
    assert deleted.address == "192.0.2.7"
    assert deleted.details == {"title": "Recorded", "deleted": True}


def test_a_refusal_leaves_no_entry(people: dict[str, User]) -> None:
    task = factories.draft(people["operator"])
    client = Client()
    client.force_login(people["participant"])
    assert client.post(f"/tasks/{task.pk}/cancel/").status_code == 403
    assert not AuditEntry.objects.exists()


def test_the_console_itself_is_an_actor() -> None:
    entry = audit.record(None, "maintenance.run", "network:1", {"job": "reconcile"})
    assert str(entry) == "the console: maintenance.run network:1"
