"""``bcfl``: everything the pages do, from a shell.

    bcfl login http://127.0.0.1:8000 --token bcfl_…
    bcfl tasks
    bcfl task start 7
    bcfl task watch 7
    bcfl claim 7

``--json`` prints the API's own JSON. What has no command of its own: ``bcfl api POST /path``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bcfl_client import saved
from bcfl_client.client import Client, flt
from bcfl_client.desk_command import add_commands, add_task_commands
from bcfl_client.errors import ApiProblem, ClientError
from bcfl_client.shapes import FLT, Event, Retracted

LEDGERS = ("blocks", "transactions", "events", "transfers", "holders", "outbox")
MONEY = (
    *("pool", "stake", "earned", "claimed", "claimable", "reward", "amount", "balance"),
    *("fee", "fee_relayed", "coins", "coins_needed"),
)
Run = Callable[[Client, argparse.Namespace], Any]


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 for a refusal, whose next step is printed; 2 for a wrong command line."""
    options = _parser().parse_args(argv)
    try:
        with saved.client(options) as client:
            found = options.run(client, options)
            _print(found, options)
    except ApiProblem as error:
        return _refused(options, f"{error.detail} {error.next_step}".strip(), error)
    except (ClientError, TimeoutError) as error:
        return _refused(options, str(error), None)
    except KeyboardInterrupt:
        return 130
    return 0


# --- commands ------------------------------------------------------------------------------------


def _login(client: Client, options: argparse.Namespace) -> Any:
    me = client.me()
    saved.save(options.address, client.transport.token)
    return {"signed_in": me.username, "role": me.role, "console": options.address}


def _task_create(client: Client, options: argparse.Namespace) -> Any:
    config = _json_of(options.config) if options.config else {}
    terms = {
        name: getattr(options, name)
        for name in ("hosted_places", "min_participants")
        if getattr(options, name) is not None
    }
    return client.create_task(
        options.title, pool=flt(options.pool), stake=flt(options.stake), config=config, **terms
    )


def _task_change(client: Client, options: argparse.Namespace) -> Any:
    changes: dict[str, Any] = {}
    for name in ("title", "hosted_places", "min_participants"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    for name in ("pool", "stake"):
        if getattr(options, name) is not None:
            changes[name] = flt(getattr(options, name))
    if options.config:
        changes["config"] = _json_of(options.config)
    return client.change_task(options.task, **changes)


def _task_start(client: Client, options: argparse.Namespace) -> Any:
    """A draft is launched; an open task begins with those who have joined."""
    if client.task(options.task).state == "open":
        return client.begin(options.task)
    return client.launch(options.task)


def _task_watch(client: Client, options: argparse.Namespace) -> None:
    for found in client.events(task=options.task, after=options.after):
        _print_event(found, options)
        if options.once and isinstance(found, Event) and found.name == "TaskCompleted":
            return


def _events(client: Client, options: argparse.Namespace) -> None:
    if options.follow:
        for found in client.events(task=options.task, after=options.after):
            _print_event(found, options)
    for event in client.past_events(task=options.task, after=options.after):
        _print_event(event, options)


def _export(client: Client, options: argparse.Namespace) -> Any:
    """All rows of a list, one file."""
    path = options.what
    if path in LEDGERS:
        path = f"/ledger/{path}"
    elif options.task is not None:
        path = f"/tasks/{options.task}/{path}"
    rows = list(client.rows(path if path.startswith("/") else f"/{path}", limit=200))
    target = Path(options.to)
    if options.format == "json":
        target.write_text(json.dumps(rows, indent=1) + "\n")
    else:
        with target.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return {"rows": len(rows), "file": str(target)}


def _api(client: Client, options: argparse.Namespace) -> Any:
    body = _json_of(options.data) if options.data else None
    return client.request(options.method, options.path, body)


def _config(client: Client, options: argparse.Namespace) -> None:
    data = client.config(options.task, client.task(options.task).config_hash)
    sys.stdout.write(data.decode() + "\n")


# --- the command line ----------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bcfl", description="A BCFL Console from the shell.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="the API's own JSON")
    common.add_argument("--url", help="the console; else $BCFL_URL, else where you logged in")
    common.add_argument("--token", help="else $BCFL_TOKEN, else the one of the login")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        into: Any, name: str, run: Run, help: str, *arguments: tuple[str, dict[str, Any]]
    ) -> None:
        made = into.add_parser(name, help=help, parents=[common])
        for flag, settings in arguments:
            made.add_argument(flag, **settings)
        made.set_defaults(run=run)

    number = ("task", {"type": int, "help": "its number"})
    address = ("--address", {"help": "0x…"})
    limit = ("--limit", {"type": int, "default": 50, "help": "rows shown"})

    add(commands, "login", _login, "remember a console and a token or a wallet",
        ("address", {"help": "http://…"}),
        ("--keystore", {"help": "sign in with this wallet instead of a token"}),
        ("--password-file", {"help": "of the keystore; else it is asked for"}))  # fmt: skip
    add(commands, "logout", lambda c, o: saved.forget(), "forget it")
    add(commands, "me", lambda c, o: c.me(), "who I am")
    add(commands, "network", lambda c, o: c.network(), "chain and contracts")
    add(commands, "choices", lambda c, o: c.choices(), "what a task may choose from")
    add(commands, "tasks", lambda c, o: islice(c.tasks(o.show), o.limit), "list tasks",
        ("--show", {"default": "all", "choices": ["all", "running", "drafts", "ended"]}),
        limit)  # fmt: skip
    add(commands, "claim", lambda c, o: c.claim(o.task, o.address), "pay out rewards",
        number, address)  # fmt: skip
    add(commands, "events", _events, "events, oldest first",
        ("--task", {"type": int}), ("--after", {"type": int, "default": 0, "help": "a seq"}),
        ("--follow", {"action": "store_true", "help": "and each as it happens"}))  # fmt: skip
    add(commands, "ledger", lambda c, o: islice(
            c.ledger(o.kind, task=o.task, address=o.address, status=o.status, state=o.state),
            o.limit), "the chain as a book",
        ("kind", {"choices": LEDGERS}), ("--task", {"type": int}), address, limit,
        ("--status", {"choices": ["succeeded", "reverted"]}),
        ("--state", {"help": "of the outbox: queued, sent, confirmed, failed"}))  # fmt: skip
    add(commands, "contract", lambda c, o: c.contract(o.name), "one of our contracts",
        ("name", {"choices": ["FLToken", "FLCoordinator"]}))  # fmt: skip
    add(commands, "search", lambda c, o: c.transport.get("/ledger/search", {"q": o.text}),
        "find a hash, number, address or name", ("text", {}))  # fmt: skip
    call = ("call", {"type": int, "help": "its number in the outbox"})
    add(commands, "call", lambda c, o: c.call(o.call), "what became of a transaction", call)
    add(commands, "retry", lambda c, o: c.retry(o.call), "send a failed one again", call)
    add(commands, "export", _export, "a whole list as a file",
        ("what", {"help": f"{', '.join(LEDGERS)}, tasks, models; with --task: participants, …"}),
        ("to", {"help": "the file"}), ("--task", {"type": int}),
        ("--format", {"default": "csv", "choices": ["csv", "json"]}))  # fmt: skip
    add(commands, "models", lambda c, o: islice(c.models(), o.limit), "registered models", limit)
    add(commands, "api", _api, "any operation of /api/v1/docs",
        ("method", {}), ("path", {"help": "below /api/v1"}),
        ("--data", {"help": "JSON, or @file"}))  # fmt: skip

    add_commands(commands, add)
    tokens = commands.add_parser("token", help="API tokens").add_subparsers(
        dest="action", required=True
    )
    add(tokens, "list", lambda c, o: c.tokens(), "my tokens")
    add(tokens, "create", lambda c, o: c.create_token(o.name, scope=o.scope, days=o.days),
        "a new one",
        ("name", {}), ("--scope", {"default": "read", "choices": ["read", "write"]}),
        ("--days", {"type": int}))  # fmt: skip
    add(tokens, "revoke", lambda c, o: c.revoke_token(o.id), "end one", ("id", {"type": int}))

    task = commands.add_parser("task", help="one task").add_subparsers(dest="action", required=True)
    for name, run, help in (
        ("show", lambda c, o: c.task(o.task), "where it is"),
        ("start", _task_start, "launch a draft; begin an open one"),
        ("cancel", lambda c, o: c.cancel(o.task), "end it early; a draft is deleted"),
        ("clone", lambda c, o: c.clone(o.task), "a draft with the same settings"),
        ("participants", lambda c, o: c.participants(o.task), "who takes part"),
        ("rounds", lambda c, o: c.rounds(o.task), "its rounds"),
        ("rewards", lambda c, o: c.rewards(o.task), "who earned what, with proofs"),
        ("series", lambda c, o: c.series(o.task), "numbers over rounds"),
        ("quote", lambda c, o: c.quote(o.task), "what it will cost"),
        ("config", _config, "the configuration's bytes, checked"),
        ("wait", lambda c, o: c.wait(o.task), "until it is complete"),
    ):
        add(task, name, run, help, number)
    add_task_commands(task, add)
    add(task, "round", lambda c, o: c.round(o.task, o.number), "updates, scores, rewards",
        number, ("number", {"type": int}))  # fmt: skip
    add(task, "watch", _task_watch, "its events as they happen", number,
        ("--after", {"type": int, "default": 0}),
        ("--once", {"action": "store_true", "help": "stop when it is complete"}))  # fmt: skip
    places = (
        ("--config", {"help": "JSON, or @file; see bcfl choices"}),
        ("--hosted-places", {"type": int}),
        ("--min-participants", {"type": int}),
    )
    add(task, "create", _task_create, "a draft", ("title", {}),
        ("--pool", {"required": True, "help": "FLT"}),
        ("--stake", {"default": "0", "help": "FLT each"}), *places)  # fmt: skip
    add(task, "change", _task_change, "change a draft", number, ("--title", {}),
        ("--pool", {"help": "FLT"}), ("--stake", {"help": "FLT each"}), *places)  # fmt: skip
    return parser


# --- printing ------------------------------------------------------------------------------------


def _print(found: Any, options: argparse.Namespace) -> None:
    if found is None:
        return
    if not is_dataclass(found) and not isinstance(found, (dict, str)):
        found = [_plain(row) for row in found]
    else:
        found = _plain(found)
    if options.json or isinstance(found, str):
        print(found if isinstance(found, str) else json.dumps(found, indent=1))  # noqa: T201
    elif isinstance(found, list):
        _print_rows(found)
    else:
        _print_rows([{"": name, " ": value} for name, value in _told(found).items()], head=False)


def _print_rows(rows: list[dict[str, Any]], *, head: bool = True) -> None:
    if not rows:
        Console(stderr=True).print("Nothing there.")
        return
    shown = [_told(row) for row in rows]
    table = Table(show_header=head, box=None, pad_edge=False)
    for name in shown[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in shown:
        table.add_row(*(str(row.get(name, "")) for name in shown[0]), style=None)
    Console(markup=False, highlight=False).print(table)


def _print_event(found: object, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(_plain(found)), flush=True)  # noqa: T201
    elif isinstance(found, Event):
        print(f"{found.time:%H:%M:%S}  block {found.block:>6}  {found.text}", flush=True)  # noqa: T201
    elif isinstance(found, Retracted):
        print(f"A reorg took back the events above {found.above}.", flush=True)  # noqa: T201


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """For people: FLT instead of wei, no empty or long cells."""
    told = {}
    for name, value in row.items():
        if name in MONEY and isinstance(value, (int, str)):
            told[f"{name}, FLT"] = _flt(int(value))
        elif isinstance(value, (list, dict)):
            told[name] = _cell(value)[:100]
        else:
            told[name] = "–" if value in (None, "") else value
    return told


def _flt(wei: int) -> str:
    whole, rest = divmod(wei, FLT)
    fraction = f"{rest:018d}".rstrip("0")
    return f"{whole:,}{'.' + fraction if fraction else ''}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _cell(value: Any) -> str:
    """No cell that a spreadsheet would run as a formula."""
    text = json.dumps(value) if isinstance(value, (list, dict, bool)) else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_of(text: str) -> Any:
    try:
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise ClientError(f"{text[1:]} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ClientError(f"This is no JSON: {error}.") from error


def _refused(options: argparse.Namespace, text: str, error: ApiProblem | None) -> int:
    if options.json:
        body: dict[str, Any] = {"error": text}
        if error is not None:
            body |= {"type": error.type, "status": error.status}
            body["errors"] = [asdict(field) for field in error.errors]
        print(json.dumps(body), file=sys.stderr)  # noqa: T201
    else:
        print(text, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
