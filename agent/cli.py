"""`bcfl-agent`: what a participant or an evaluator types."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from agent import participant
from agent.checks import FLT, OwnData, check_data
from agent.contract import MEMBER_STATUS, ROUND_PHASES, TASK_PHASES
from agent.errors import AgentError
from agent.evaluator import Evaluator
from agent.keys import make_keystore, open_keystore, read_password
from agent.progress import Screen
from agent.session import Session, open_session, patiently
from bcfl_client.errors import ClientError
from chain.errors import ChainError
from training.errors import TrainingError

RPC_VARIABLE = "BCFL_AGENT_RPC"
TOKEN_VARIABLE = "BCFL_TOKEN"  # noqa: S105 (a name, not a secret)
UPLOADING = ("join", "run")
STOPPED = 130  # as shells say for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all is well, 1 with one clear message when not, 2 for a wrong command line."""
    options = _parser().parse_args(arguments)
    screen = Screen()
    try:
        if options.command == "keygen":
            return _keygen(options, screen)
        return _with_session(options, screen)
    except (AgentError, ChainError, ClientError, TrainingError) as error:
        for line in str(error).splitlines():
            screen.say(line, style="red")
        return 1
    except KeyboardInterrupt:
        screen.say("Stopped. `bcfl-agent run` goes on from here.")
        return STOPPED


def _with_session(options: argparse.Namespace, screen: Screen) -> int:
    password = read_password(options.password_file)
    session = open_session(
        url=options.url,
        task=options.task,
        signer=open_keystore(options.keystore, password),
        screen=screen,
        rpc=options.rpc or os.environ.get(RPC_VARIABLE, ""),
        coordinator=options.coordinator,
        home=options.home,
        poll=options.poll,
        token=options.token or os.environ.get(TOKEN_VARIABLE, ""),
        writes=options.command in UPLOADING and not getattr(options, "only_join", False),
    )
    try:
        # Each looks first at what the chain says, so that one may begin it again.
        return patiently(lambda: _COMMANDS[options.command](session, options), screen)
    finally:
        session.close()


def _join(session: Session, options: argparse.Namespace) -> int:
    own = _own(session, options)
    participant.join(session, own)
    return 0 if options.only_join else _work(session, own, options)


def _run(session: Session, options: argparse.Namespace) -> int:
    return _work(session, _own(session, options), options)


def _work(session: Session, own: OwnData, options: argparse.Namespace) -> int:
    participant.Participant(session, own, relay=options.relay).run()
    return 0


def _own(session: Session, options: argparse.Namespace) -> OwnData:
    """The file of the command line, or the one that was named the last time."""
    known = session.home.facts
    file = options.data or (Path(known["data"]) if known.get("data") else None)
    label = options.label or known.get("label", "")
    own = check_data(session.config, file, label)
    if file is not None and own.table is not None:
        session.home.note(data=str(file.resolve()), label=label)
        ignored = f", not using {', '.join(own.table.ignored)}" if own.table.ignored else ""
        session.screen.say(f"{file.name} fits the task's schema: {own.samples} samples{ignored}.")
    return own


def _evaluate(session: Session, options: argparse.Namespace) -> int:
    Evaluator(session).run()
    return 0


def _claim(session: Session, options: argparse.Namespace) -> int:
    participant.claim(session)
    return 0


def _leave(session: Session, options: argparse.Namespace) -> int:
    participant.leave(session)
    return 0


def _verify(session: Session, options: argparse.Namespace) -> int:
    verdicts = participant.verify(session)
    for verdict in verdicts:
        model = "holds" if verdict.model else f"is {verdict.on_chain}, computed {verdict.computed}"
        rewards = "hold" if verdict.rewards else "do not follow from the scores"
        session.screen.say(f"Round {verdict.number}: the model {model}; the rewards {rewards}.")
        for who, why in verdict.rejected:
            session.screen.say(f"Round {verdict.number}: rejected {who}: {why}")
    if not verdicts:
        session.screen.say("No round is finalised yet.")
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def _status(session: Session, options: argparse.Namespace) -> int:
    contract, task_id = session.contract, session.task_id
    view = contract.read("task", task_id)
    member = contract.read("member", task_id, session.me)
    earned = session.ledger().earned.get(session.me, 0)
    say = session.screen.say
    say(f"Task {session.terms.task} on chain as {task_id}: {TASK_PHASES[view['phase']]}.")
    if TASK_PHASES[view["phase"]] == "running":
        state = contract.read("roundState", task_id)
        phase = ROUND_PHASES[state["phase"]]
        say(f"Round {view['round']} of {view['rounds']}: {phase}, {state['updates']} updates in.")
    say(f"{session.me}: {MEMBER_STATUS[member['status']]}.")
    say(
        f"Earned {earned / FLT:,.4f} FLT, claimed {member['claimed'] / FLT:,.4f} FLT, stake "
        f"{member['stake'] / FLT:g} FLT."
    )
    return 0


def _keygen(options: argparse.Namespace, screen: Screen) -> int:
    password = read_password(options.password_file, again=True)
    address = make_keystore(options.keystore, password)
    screen.say(f"{options.keystore} holds the key of {address}. Without its password it is lost.")
    print(address)  # noqa: T201 (for scripts)
    return 0


_COMMANDS: dict[str, Callable[[Session, argparse.Namespace], int]] = {
    "join": _join,
    "run": _run,
    "status": _status,
    "claim": _claim,
    "leave": _leave,
    "verify": _verify,
    "evaluate": _evaluate,
}
_HELP = {
    "join": "check the task and your data, stake, join, and take part until the end",
    "run": "go on taking part, after a stop",
    "status": "where the task is and what you have earned",
    "claim": "take what you have earned and, after the end, your stake",
    "leave": "leave the task",
    "verify": "compute every finalised round again",
    "evaluate": "score updates and vote, as one of the task's evaluators",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bcfl-agent",
        description="Take part in a federated task from this machine: your rows and your key stay "
        "here.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("url", metavar="URL", help="the console, e.g. https://fl.example.org")
        command.add_argument("--task", type=int, required=True, metavar="N")
        command.add_argument("--rpc", default="", metavar="URL", help=f"node (or {RPC_VARIABLE})")
        command.add_argument(
            "--coordinator", default="", metavar="ADDRESS", help="refuse any other contract"
        )
        command.add_argument("--home", type=Path, help="where to remember (BCFL_AGENT_HOME)")
        command.add_argument("--poll", type=float, default=2.0, metavar="SECONDS")
        _add_key(command)
        command.add_argument(
            "--token",
            default="",
            metavar="bcfl_…",
            help=f"an API token, for an account with a second factor (or {TOKEN_VARIABLE})",
        )
        if name in UPLOADING:
            command.add_argument("--data", type=Path, metavar="FILE", help="your CSV or NPZ")
            command.add_argument("--label", default="", help="the label's column in your file")
            command.add_argument(
                "--relay", action="store_true", help="sign updates; the console submits them"
            )
        if name == "join":
            command.add_argument("--only-join", action="store_true", help="`run` does the rest")
    keygen = commands.add_parser("keygen", help="make a key in an encrypted keystore")
    _add_key(keygen)
    return parser


def _add_key(command: argparse.ArgumentParser) -> None:
    command.add_argument("--keystore", type=Path, required=True, metavar="FILE")
    command.add_argument(
        "--password-file", type=Path, metavar="FILE", help="else BCFL_KEY_PASSWORD, else asked for"
    )


if __name__ == "__main__":
    sys.exit(main())
