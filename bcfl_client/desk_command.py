"""Commands of ``bcfl`` around tasks: one line each, over bcfl_client.desk."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

from bcfl_client.client import Client, flt
from bcfl_client.errors import ClientError

Argument = tuple[str, dict[str, Any]]
Add = Callable[..., None]  # (into, name, run, help, *arguments)

NUMBER: Argument = ("id", {"type": int, "help": "its number"})
TASK: Argument = ("task", {"type": int, "help": "its number"})
LIMIT: Argument = ("--limit", {"type": int, "default": 50, "help": "rows shown"})
NOTE: Argument = ("--note", {"default": "", "help": "why; it is logged"})
ROLES = ["operator", "participant", "admin"]
SET: Argument = (
    "--set",
    {"action": "append", "default": [], "metavar": "FIELD=VALUE", "help": "may be repeated"},
)


def add_task_commands(task: Any, add: Add) -> None:
    """Under ``bcfl task``."""
    add(task, "pause", lambda c, o: c.pause(o.task), "hand out no more training", TASK)
    add(task, "resume", lambda c, o: c.resume(o.task), "hand it out again", TASK)
    add(task, "remove", lambda c, o: c.remove(o.task, o.address), "a hosted participant leaves",
        TASK, ("address", {"help": "0x…"}))  # fmt: skip
    add(task, "wallet-launch", lambda c, o: c.launch_from_wallet(o.task),
        "launch a draft that your wallet pays", TASK)  # fmt: skip
    add(task, "wallet-undo", lambda c, o: c.undo_launch(o.task), "give that up", TASK)
    add(task, "top-up", lambda c, o: c.top_up(o.task, flt(o.amount)), "add to its pool",
        TASK, ("amount", {"help": "FLT"}))  # fmt: skip
    add(task, "template", _save_template, "save its settings as a template",
        TASK, ("name", {}), ("--description", {"default": ""}),
        ("--shared", {"action": "store_true", "help": "with all operators"}))  # fmt: skip


def add_commands(commands: Any, add: Add) -> None:
    add(commands, "compare", lambda c, o: c.compare(o.tasks)[o.what], "tasks side by side",
        ("tasks", {"type": int, "nargs": "+"}),
        ("--what", {"default": "figures", "choices": ["figures", "curves", "config"]}))  # fmt: skip
    _drafts(_group(commands, "draft", "tasks in the making"), add)
    _people(commands, add)
    _news(commands, add)
    _account(commands, add)
    models = _group(commands, "model", "a registered model")
    version = ("version", {"type": int})
    for name, run, help in (
        (
            "promote",
            lambda c, o: c.promote(o.id, o.version, o.note),
            "into production",
        ),
        ("retire", lambda c, o: c.retire(o.id, o.version, o.note), "take a version out of use"),
        ("restore", lambda c, o: c.restore(o.id, o.version, o.note), "take a retired one back"),
    ):
        add(models, name, run, help, NUMBER, version, NOTE)
    add(
        models,
        "rollback",
        lambda c, o: c.roll_back(o.id, o.note),
        "back to the version before",
        NUMBER,
        NOTE,
    )
    house = _group(commands, "maintenance", "jobs on chain and database, for admins")
    add(house, "list", lambda c, o: c.maintenance(), "what ran and what it found")
    add(house, "start",
        lambda c, o: c.start_maintenance(o.kind, from_block=o.from_block), "start one",
        ("kind", {"choices": ["reconcile", "resync", "rebuild"]}),
        ("--from-block", {"type": int}))  # fmt: skip


def _group(commands: Any, name: str, help: str) -> Any:
    return commands.add_parser(name, help=help).add_subparsers(dest="action", required=True)


def _drafts(drafts: Any, add: Add) -> None:
    add(drafts, "list", lambda c, o: c.drafts(), "mine")
    add(drafts, "templates", lambda c, o: c.templates(), "where one can begin")
    add(drafts, "create", lambda c, o: c.create_draft(o.template, _values(o)), "begin one",
        ("--template", {"default": "blank", "help": "its key, or task:7"}), SET)  # fmt: skip
    add(drafts, "change", lambda c, o: c.change_draft(o.id, _values(o)), "set fields", NUMBER, SET)
    for name, run, help in (
        ("show", lambda c, o: c.draft(o.id), "its fields, and what must be settled"),
        ("quote", lambda c, o: c.draft_quote(o.id), "what it would cost"),
        ("partition", lambda c, o: c.draft_partition(o.id), "who would have what data"),
        ("check", lambda c, o: c.draft_check(o.id), "what the contract would answer"),
        ("delete", lambda c, o: c.delete_draft(o.id), "delete it"),
        ("delete-template", lambda c, o: c.delete_template(o.id), "delete a template"),
    ):
        add(drafts, name, run, help, NUMBER)
    add(drafts, "finish", lambda c, o: c.finish_draft(o.id, launch=o.launch), "make its task",
        NUMBER, ("--launch", {"action": "store_true", "help": "and start it"}))  # fmt: skip
    add(drafts, "prices", lambda c, o: c.prices(), "prices of other networks that quotes use")
    add(drafts, "price", _remember_price, "remember one", ("name", {}), ("gwei", {}),
        ("--coin-price", {"help": "of one coin, in your currency"}))  # fmt: skip
    add(drafts, "forget-price", lambda c, o: c.forget_price(o.id), "forget one", NUMBER)


def _people(commands: Any, add: Add) -> None:
    invitations = _group(commands, "invitation", "who is asked in")
    add(invitations, "list", lambda c, o: c.invitations(), "open ones")
    add(invitations, "create", lambda c, o: c.invite(
            o.email, role=o.role, task=o.task, days=o.days, message=o.message),
        "by e-mail, or a link to hand over",
        ("--email", {"default": ""}), ("--role", {"default": "participant", "choices": ROLES}),
        ("--task", {"type": int}), ("--days", {"type": int, "default": 7}),
        ("--message", {"default": ""}))  # fmt: skip
    add(invitations, "revoke", lambda c, o: c.revoke_invitation(o.id), "end one", NUMBER)
    users = _group(commands, "user", "accounts, for admins")
    add(users, "list", lambda c, o: islice(c.users(o.q, o.role), o.limit), "newest first",
        ("--q", {"default": "", "help": "a part of a name or e-mail"}),
        ("--role", {"default": "", "choices": ["", *ROLES]}), LIMIT)  # fmt: skip
    add(users, "role", lambda c, o: c.change_role(o.id, o.role), "change a role",
        NUMBER, ("role", {"choices": ROLES}))  # fmt: skip
    add(users, "close", lambda c, o: c.set_active(o.id, False), "close an account", NUMBER)
    add(users, "open", lambda c, o: c.set_active(o.id, True), "open it again", NUMBER)
    add(commands, "audit", lambda c, o: islice(
            c.audit(action=o.action, actor=o.actor, target=o.target), o.limit),
        "what people did, for admins",
        ("--action", {"default": ""}), ("--actor", {"default": ""}),
        ("--target", {"default": "", "help": "like task:5"}), LIMIT)  # fmt: skip


def _news(commands: Any, add: Add) -> None:
    hooks = _group(commands, "webhook", "news by HTTP")
    add(hooks, "list", lambda c, o: c.webhooks(), "mine")
    add(hooks, "create", lambda c, o: c.create_webhook(o.url, o.events), "a new one",
        ("url", {}), ("events", {"nargs": "+"}))  # fmt: skip
    for name, run, help in (
        ("show", lambda c, o: c.webhook(o.id), "its secret and its deliveries"),
        ("test", lambda c, o: c.test_webhook(o.id), "send a ping"),
        ("delete", lambda c, o: c.delete_webhook(o.id), "remove it"),
    ):
        add(hooks, name, run, help, NUMBER)
    news = _group(commands, "news", "notifications")
    add(news, "list", lambda c, o: islice(c.notifications(unread=o.unread), o.limit),
        "newest first", ("--unread", {"action": "store_true"}), LIMIT)  # fmt: skip
    add(news, "read", lambda c, o: {"read": c.read_notifications()}, "mark all as read")
    add(news, "choices", lambda c, o: c.notification_choices(), "what I am told, and how")
    add(news, "choose", lambda c, o: c.choose_notifications({o.event: o.ways}), "change that",
        ("event", {}), ("ways", {"nargs": "*", "help": "app, mail; none: not at all"}))  # fmt: skip


def _account(commands: Any, add: Add) -> None:
    add(commands, "profile",
        lambda c, o: c.change_profile(first_name=o.first_name, last_name=o.last_name),
        "change my name", ("--first-name", {}), ("--last-name", {}))  # fmt: skip
    sessions = _group(commands, "session", "where I am signed in on the pages")
    add(sessions, "list", lambda c, o: c.sessions(), "the one used last first")
    add(sessions, "end", lambda c, o: c.end_session(o.id), "end one", NUMBER)
    add(sessions, "end-all", lambda c, o: {"ended": c.end_sessions()}, "sign me out everywhere")
    wallets = _group(commands, "wallet", "my wallets; `bcfl me` lists them")
    add(wallets, "unlink", lambda c, o: c.unlink_wallet(o.address), "take one off my account",
        ("address", {"help": "0x…"}))  # fmt: skip


def _save_template(client: Client, options: argparse.Namespace) -> Any:
    return client.save_template(
        options.task, options.name, description=options.description, shared=options.shared
    )


def _remember_price(client: Client, options: argparse.Namespace) -> Any:
    try:
        wei = Decimal(options.gwei) * 10**9
    except InvalidOperation as error:
        raise ClientError(f"{options.gwei} is no number of gwei, such as 20 or 0.05.") from error
    if wei < 0 or wei != wei.to_integral_value():
        raise ClientError(f"{options.gwei} gwei is no whole number of wei.")
    return client.remember_price(options.name, int(wei), options.coin_price)


def _values(options: argparse.Namespace) -> dict[str, str]:
    values = {}
    for item in options.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ClientError(f"“{item}” is not like rounds=5.")
        values[name] = value
    return values
