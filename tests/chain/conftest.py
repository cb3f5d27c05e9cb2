"""A chain with our contracts on it, and a projection that writes down what it was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.redis import Redis
from chain.accounts import account_derive
from chain.artifacts import Deployment
from chain.client import ChainClient
from chain.deploy import contracts_deploy
from chain.events import DecodedEvent
from chain.models import Account, Network
from chain.network import client_current, network_current
from chain.sync import Follower, Replay


@dataclass
class Recorder:
    """A projection: the events it holds as true now, and what it heard after commits."""

    held: list[DecodedEvent] = field(default_factory=list)
    replayed: list[DecodedEvent] = field(default_factory=list)
    committed_calls: list[tuple[int, int, list[int]]] = field(default_factory=list)
    fail_with: Exception | None = None

    def apply(self, network: Network, events: Sequence[DecodedEvent]) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.held.extend(events)

    def revert(self, network: Network, orphaned: Sequence[DecodedEvent], replay: Replay) -> None:
        gone = {(event.block_hash, event.log_index) for event in orphaned}
        self.held = [e for e in self.held if (e.block_hash, e.log_index) not in gone]
        self.replayed = list(replay(()))

    def committed(
        self,
        network: Network,
        events: Sequence[DecodedEvent],
        orphaned: Sequence[DecodedEvent],
        outgoing: Sequence[int],
    ) -> None:
        self.committed_calls.append((len(events), len(orphaned), list(outgoing)))


@dataclass
class Chain:
    """Everything a test of this room works with."""

    anvil: Anvil
    client: ChainClient
    network: Network
    deployer: Account
    deployment: Deployment

    def mine(self, blocks: int = 1) -> None:
        self.anvil.rpc("anvil_mine", hex(blocks))

    def automine(self, on: bool) -> None:
        self.anvil.rpc("evm_setAutomine", on)

    def follower(self, recorder: Recorder | None = None, **options: int) -> Follower:
        return Follower(self.client, self.network, recorder or Recorder(), **options)


def on_chain(anvil: Anvil) -> Chain:
    """Contracts deployed on this Anvil by the first development account."""
    network, client = network_current(), client_current()
    deployer = account_derive(label="Treasury", kind="deployer", index=0)
    report = contracts_deploy(
        network=network, client=client, deployer=deployer, say=lambda line: None
    )
    return Chain(anvil, client, network, deployer, report.deployment)


@pytest.fixture
def chain(anvil: Anvil, redis_server: Redis, db: None) -> Chain:
    return on_chain(anvil)


@pytest.fixture
def committed_chain(anvil: Anvil, redis_server: Redis, transactional_db: None) -> Iterator[Chain]:
    """With real commits, for tests with threads; wake-ups go to Redis, where nobody takes them."""
    made = on_chain(anvil)
    yield made
    made.automine(True)


@pytest.fixture
def participant(chain: Chain) -> Account:
    return account_derive(label="Eastfield", kind="participant", index=5)
