"""Several nodes behind one client: the next takes over, and never one of another chain."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.process import free_port
from chain.client import ChainClient
from chain.endpoints import Endpoints, split_urls
from chain.errors import NodeUnavailable


def test_a_failed_node_is_left_alone_longer_each_time() -> None:
    now = 0.0
    nodes = Endpoints(split_urls("http://a, http://b"), clock=lambda: now)
    assert nodes.pick() == "http://a"
    nodes.failed("http://a")
    assert nodes.pick() == "http://b"
    now = 1.0
    assert nodes.pick() == "http://a"
    nodes.failed("http://a")
    now = 2.9
    assert nodes.pick() == "http://b"
    nodes.failed("http://b")
    assert nodes.pick() == "http://a"  # none is free: the one whose wait ends first
    now = 3.0
    nodes.answered("http://a")
    assert nodes.pick() == "http://a"


def test_the_next_node_answers_when_the_first_is_gone(anvil: Anvil) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    client = ChainClient(f"{dead},{anvil.rpc_url}")
    assert client.chain_id() == 31337
    assert client.url == anvil.rpc_url
    assert client.head().number == int(anvil.rpc("eth_blockNumber"), 16)
    with pytest.raises(NodeUnavailable, match="No Ethereum node answers"):
        ChainClient(f"{dead},{dead[:-1]}").chain_id()


def test_a_node_of_another_chain_never_takes_over(tmp_path: Path) -> None:
    with (
        Anvil(chain_id=777, log_path=tmp_path / "b.log") as other,
        Anvil(log_path=tmp_path / "a.log") as first,
    ):
        client = ChainClient(f"{first.rpc_url},{other.rpc_url}")
        assert client.chain_id() == 31337
        first.stop()
        with pytest.raises(NodeUnavailable, match="serves chain 777, not 31337"):
            client.head()
