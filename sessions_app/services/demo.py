"""What a development chain starts with: three people, their tokens, one task."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.db import transaction

from chain.accounts import account_derive
from chain.models import Account
from chain.outbox import transaction_enqueue
from sessions_app.models import Task, User
from sessions_app.selectors.balances import token_balance
from sessions_app.services import tasks as task_services
from sessions_app.services.hosted import seat_account
from sessions_app.services.tasks import FLT
from training.specs import DatasetSpec, LocalSpec, TaskConfig

# Indices of the development mnemonic; hosted participants start at FIRST_SEAT_INDEX.
TREASURY, OPERATOR = 0, 1
EVALUATORS = (2, 3, 4)
OPERATOR_TOKENS = 1_000_000 * FLT
PARTICIPANT_TOKENS = 1_000 * FLT
DEMO_PARTICIPANTS = 5
DEMO_ROUNDS = 120
DEMO_POOL = 1_200 * FLT
DEMO_STAKE = 10 * FLT
DEMO_TITLE = "Handwritten digits, five sites"
# Slow learners on uneven data: the curve climbs while one watches, for a minute or two.
DEMO_CONFIG = TaskConfig(
    dataset=DatasetSpec(name="digits", partition="dirichlet", alpha=0.3),
    local=LocalSpec(epochs=1, learning_rate=0.0003),
    participants=DEMO_PARTICIPANTS,
    rounds=DEMO_ROUNDS,
)


@dataclass(frozen=True)
class Login:
    role: str
    username: str
    password: str


LOGINS = (
    Login("operator", "mara", "mara-operates"),
    Login("participant", "eastfield", "eastfield-trains"),
    Login("admin", "ada", "ada-inspects"),
)


def seed() -> tuple[Login, ...]:
    """Make accounts and logins, and queue the tokens they start with. Changes nothing twice.

    Raises KeystoreError on any chain but the development chain, whose keys are public.
    """
    treasury = account_derive(label="Treasury", kind="deployer", index=TREASURY)
    operator = account_derive(label="Mara", kind="operator", index=OPERATOR)
    for number, index in enumerate(EVALUATORS, start=1):
        account_derive(label=f"Evaluator {number}", kind="evaluator", index=index)
    seats = [seat_account(slot) for slot in range(DEMO_PARTICIPANTS)]
    accounts = {"operator": operator, "participant": seats[0], "admin": None}
    names = {"operator": "Mara", "participant": "Eastfield", "admin": "Ada"}
    for login in LOGINS:
        _user(login, account=accounts[login.role], name=names[login.role])
    with transaction.atomic():
        _send_tokens(treasury, operator, OPERATOR_TOKENS)
        for seat in seats:
            _send_tokens(treasury, seat, PARTICIPANT_TOKENS)
    return LOGINS


def start_task(*, seconds: float) -> Task | None:
    """Start the demo task once the operator's tokens have arrived; None if it was started before.

    Raises TimeoutError when the follower does not see the tokens within `seconds`.
    """
    owner = User.objects.get(username=LOGINS[0].username)
    if Task.objects.filter(owner=owner, title=DEMO_TITLE).exists():
        return None
    assert owner.account is not None
    wait_for_tokens(owner.account.address, DEMO_POOL, seconds=seconds)
    task = task_services.task_create(
        owner=owner,
        title=DEMO_TITLE,
        config=DEMO_CONFIG,
        pool=DEMO_POOL,
        stake=DEMO_STAKE,
    )
    return task_services.task_launch(task=task, by=owner)


def wait_for_tokens(address: str, amount: int, *, seconds: float) -> None:
    """Until the follower has written a balance of at least `amount` wei. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while token_balance(address) < amount:
        if time.monotonic() > until:
            raise TimeoutError(
                f"{address} holds {token_balance(address) / FLT:,.2f} FLT after "
                f"{seconds:.0f} s, not the {amount / FLT:,.2f} FLT it was sent. Are the control "
                "worker and the follower running? Look at their logs."
            )
        time.sleep(0.1)


def _user(login: Login, *, account: Account | None, name: str) -> User:
    user, created = User.objects.get_or_create(
        username=login.username,
        defaults={
            "role": login.role,
            "first_name": name,
            "is_staff": login.role == "admin",
            "is_superuser": login.role == "admin",
            "account": account,
        },
    )
    if created:
        user.set_password(login.password)
        user.save(update_fields=("password",))
    return user


def _send_tokens(treasury: Account, to: Account, amount: int) -> None:
    transaction_enqueue(
        account=treasury,
        contract="FLToken",
        function="transfer",
        args=[to.address, amount],
        idempotency_key=f"demo:tokens:{to.address}",
        reference="demo",
    )
