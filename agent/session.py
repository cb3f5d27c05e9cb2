"""One task, one key: what every command opens first, and how it rides out what passes by itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from eth_account.signers.local import LocalAccount

from agent.checks import check_terms
from agent.console import Console, Terms
from agent.contract import Contract, connect
from agent.errors import StillPending, WrongNetwork
from agent.home import Home, default_home
from agent.ledger import Ledger
from agent.progress import Screen
from agent.rounds import Recomputer
from bcfl_client.errors import (
    ChainAway,
    Conflict,
    ConsoleUnreachable,
    NotAllowed,
    NotFound,
    ServerFailed,
    TooManyRequests,
)
from chain.errors import ContractReverted, RetryableError
from training.specs import TaskConfig

# Pass by themselves: a restart of the console, a lost connection, a node that is busy.
PASSING = (
    RetryableError,
    StillPending,
    ConsoleUnreachable,
    ChainAway,
    ServerFailed,
    TooManyRequests,
)
# Pass when the console has read the block that we know already; otherwise they stay.
SETTLING = (Conflict, NotAllowed, NotFound)
SETTLING_SECONDS = 90.0
# The round moved on while we worked: look where it is now.
MOVED_ON = {
    "AlreadyScored",
    "AlreadySubmitted",
    "AlreadyVoted",
    "DeadlinePassed",
    "RefusedWhenMined",  # the quorum, or a deadline, was faster
    "ScoresClosed",
    "UpdatesStillOpen",
    "WrongRound",
    "WrongRoundPhase",
    "WrongTaskPhase",
}
LONGEST_PAUSE = 15.0
T = TypeVar("T")


@dataclass
class Session:
    console: Console
    contract: Contract
    terms: Terms
    config: TaskConfig
    home: Home
    screen: Screen
    poll: float

    @property
    def task_id(self) -> int:
        """On chain."""
        return self.terms.onchain_id

    @property
    def me(self) -> str:
        return self.contract.me

    def ledger(self) -> Ledger:
        return Ledger(self.task_id, self.contract.events(self.task_id, self.terms.created_block))

    def recomputer(self) -> Recomputer:
        return Recomputer(self.console, self.home, self.config, self.task_id)

    def close(self) -> None:
        self.console.close()
        self.contract.client.close()


def open_session(
    *,
    url: str,
    task: int,
    signer: LocalAccount,
    screen: Screen,
    rpc: str = "",
    coordinator: str = "",
    home: Path | None = None,
    poll: float = 2.0,
    token: str = "",
    writes: bool = False,
    http: httpx.Client | None = None,
) -> Session:
    """Sign in, and prove the console's word by the chain. Waits while nobody answers.

    `token`: an API token, where the wallet's signature is not enough. `writes`: whether the
    console is to take something of us, so that a token which may only read is refused now.
    """
    console = Console(url, task, signer, token=token, http=http)
    contract: Contract | None = None
    try:
        patiently(lambda: console.check_token(writes=writes), screen)
        terms = patiently(console.terms, screen)
        node = rpc or terms.rpc_url
        if not node:
            raise WrongNetwork(
                f"Give an Ethereum node of chain {terms.chain_id} with --rpc: the agent believes "
                "the chain, not the console."
            )
        if not rpc:
            screen.say(f"Using the node that the console names, {node}; give your own with --rpc.")
        contract = Contract(connect(node), terms.coordinator, signer)
        config = _checked(terms, contract, coordinator, screen)
    except BaseException:
        console.close()
        if contract is not None:
            contract.client.close()
        raise
    screen.say(
        f"Task {task} “{terms.title}”: chain {terms.chain_id}, contract and configuration are "
        "those on chain."
    )
    folder = re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).netloc)
    place = (home or default_home()) / f"{folder}-task-{task}-{signer.address[2:10].lower()}"
    kept = Home(place)
    contract.remember(kept.folder / "sending.json", terms.genesis_hash, screen.say)
    return Session(console, contract, terms, config, kept, screen, poll)


def _checked(terms: Terms, contract: Contract, pinned: str, screen: Screen) -> TaskConfig:
    return patiently(lambda: check_terms(terms, contract, pinned), screen)


def patiently(do: Callable[[], T], screen: Screen) -> T:
    """Try until nothing passing is in the way."""
    pause = 0.5
    while True:
        try:
            return do()
        except PASSING as error:
            screen.say_once(f"{error} Trying again.")
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def repeat(step: Callable[[], bool], screen: Screen, poll: float) -> None:
    """Call `step` until it says that all is done. What it finds anew each time is the chain's
    state, so a reorg, a restart or being late need no care of their own."""
    pause, settling_since = poll, 0.0
    while True:
        try:
            if step():
                return
            pause, settling_since = poll, 0.0
        except PASSING as error:
            screen.say_once(f"{error} Trying again.")
            pause = min(max(pause, 0.5) * 2, LONGEST_PAUSE)
        except SETTLING as error:
            settling_since = settling_since or time.monotonic()
            if time.monotonic() - settling_since > SETTLING_SECONDS:
                raise
            screen.say_once(f"{error.detail} Looking again.")
        except ContractReverted as error:
            if error.name not in MOVED_ON:
                raise
            screen.say_once(f"{error.sentence} Looking where the round is.")
        time.sleep(pause)
