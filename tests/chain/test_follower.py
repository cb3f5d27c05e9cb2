"""The follower's loop, running in a thread beside a real Anvil."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.process import wait_until
from bcfl_site.embedded.redis import Redis
from chain.client import ChainClient
from chain.heads import HeadListener
from chain.models import Block, SyncCursor, SyncState
from chain.network import network_current
from chain.sync import Follower
from tests.chain.conftest import Chain, Recorder

SECONDS = 20.0


class Watch:
    """The cursors a follower published; `until` waits for one that fits."""

    def __init__(self) -> None:
        self._seen: list[SyncCursor] = []
        self._news = threading.Condition()

    def __call__(self, cursor: SyncCursor) -> None:
        with self._news:
            self._seen.append(cursor)
            self._news.notify_all()

    def until(self, fits: Callable[[SyncCursor], bool]) -> SyncCursor:
        with self._news:
            found = self._news.wait_for(lambda: any(map(fits, self._seen)), timeout=SECONDS)
            assert found, [(c.state, c.block_number, c.message) for c in self._seen]
            match = next(cursor for cursor in self._seen if fits(cursor))
            self._seen.clear()
            return match


@contextmanager
def running(follower: Follower) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        try:
            follower.run(stop)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=SECONDS)
        assert not thread.is_alive()


def test_it_follows_each_block_and_stops(committed_chain: Chain) -> None:
    watch = Watch()
    follower = Follower(committed_chain.client, committed_chain.network, Recorder(), publish=watch)
    with running(follower):
        top = committed_chain.client.head().number
        watch.until(lambda c: c.block_number == top and c.state == SyncState.LIVE)
        for number in range(top + 1, top + 4):
            committed_chain.mine()
            watch.until(lambda c, n=number: c.block_number == n)
    assert Block.objects.count() == top + 4


def test_new_heads_arrive_by_subscription(committed_chain: Chain) -> None:
    wake = threading.Event()
    listener = HeadListener(committed_chain.client.websocket_url, wake)
    listener.start()
    try:
        assert listener.connected.wait(SECONDS)
        wake.clear()
        committed_chain.mine()
        assert wake.wait(SECONDS)
    finally:
        listener.stop()


def test_a_dead_node_is_named_and_its_return_noticed(
    tmp_path: Path,
    settings: Any,
    transactional_db: None,
    redis_server: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chain.sync.RETRY_SECONDS", 0.1)
    home = tmp_path / "anvil"
    watch = Watch()
    with Anvil(home) as anvil:
        port = anvil.port
        settings.NETWORKS = {"dev": {"rpc_url": anvil.rpc_url, "chain_id": 31337}}
        anvil.rpc("anvil_mine", "0x3")
        follower = Follower(
            ChainClient(anvil.rpc_url), network_current(), Recorder(), publish=watch
        )
        thread = running(follower)
        thread.__enter__()
        watch.until(lambda c: c.block_number == 3)
    try:
        dead = watch.until(lambda c: c.state == SyncState.UNREACHABLE)
        assert "No Ethereum node answers" in dead.message
        assert dead.block_number == 3
        with Anvil(home, port=port) as anvil:  # with the state it had
            back = watch.until(lambda c: c.state == SyncState.LIVE)
            assert (back.block_number, back.message) == (3, "")
            anvil.rpc("anvil_mine", "0x1")
            watch.until(lambda c: c.block_number == 4)
    finally:
        thread.__exit__(None, None, None)


def test_a_bug_in_the_projection_shows_and_does_not_end_it(
    committed_chain: Chain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("chain.sync.RETRY_SECONDS", 0.1)
    watch, recorder = Watch(), Recorder(fail_with=ValueError("broken fold"))
    follower = Follower(committed_chain.client, committed_chain.network, recorder, publish=watch)
    with running(follower):
        halted = watch.until(lambda c: c.state == SyncState.HALTED)
        assert "ValueError: broken fold" in halted.message
        assert halted.block_number == -1
        recorder.fail_with = None
        watch.until(lambda c: c.state == SyncState.LIVE)
    assert recorder.held


def test_one_that_waits_before_trying_again_is_not_silent(
    committed_chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.sync.RETRY_SECONDS", 60.0)
    monkeypatch.setattr("chain.steps.HEARTBEAT_SECONDS", 0.1)
    watch, recorder = Watch(), Recorder(fail_with=ValueError("broken fold"))
    follower = Follower(committed_chain.client, committed_chain.network, recorder, publish=watch)
    with running(follower):
        halted = watch.until(lambda c: c.state == SyncState.HALTED)
        wait_until(
            lambda: SyncCursor.objects.filter(
                state=SyncState.HALTED, updated_at__gt=halted.updated_at
            ).exists(),
            what="a sign of life during the pause",
            seconds=SECONDS,
        )
