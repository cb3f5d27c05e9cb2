"""The launchers of the embedded services, on the real programs."""

import stat
from pathlib import Path

import pytest

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.errors import BinaryMissing, NotReady
from bcfl_site.embedded.redis import Redis


def test_chain_survives_a_restart(tmp_path: Path) -> None:
    with Anvil(tmp_path / "anvil") as chain:
        for _ in range(3):
            chain.rpc("evm_mine")
        before = chain.rpc("eth_getBlockByNumber", "0x2", False)["hash"]
    with Anvil(tmp_path / "anvil") as chain:
        assert chain.rpc("eth_blockNumber") == "0x3"
        assert chain.rpc("eth_getBlockByNumber", "0x2", False)["hash"] == before


def test_fixture_reverts_what_a_test_did(anvil: Anvil) -> None:
    assert anvil.rpc("eth_blockNumber") == "0x0"
    anvil.rpc("evm_mine")
    assert anvil.rpc("eth_blockNumber") == "0x1"


def test_fixture_gives_the_next_test_a_clean_chain(anvil: Anvil) -> None:
    assert anvil.rpc("eth_blockNumber") == "0x0"


def test_unreadable_state_is_set_aside_for_the_last_good_one(tmp_path: Path) -> None:
    home = tmp_path / "anvil"
    with Anvil(home) as chain:
        chain.rpc("evm_mine")
    with Anvil(home) as chain:  # keeps a copy of the state at block 1
        chain.rpc("evm_mine")
    (home / "state.json").write_text('{"block": {"num')  # cut off by a kill
    with Anvil(home) as chain:
        assert chain.rpc("eth_blockNumber") == "0x1"
    assert (home / "state.broken.json").exists()


def test_redis_answers_on_a_private_socket_only(tmp_path: Path) -> None:
    socket_path = tmp_path / "r.sock"
    with Redis(socket_path=socket_path, log_path=tmp_path / "redis.log") as redis:
        assert redis.running
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o700
        assert redis.url == f"unix://{socket_path}"
    assert not socket_path.exists()
    assert not redis.running


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCFL_ANVIL", str(tmp_path / "nothing"))
    with pytest.raises(BinaryMissing, match="BCFL_ANVIL"):
        Anvil(tmp_path).start()


def test_a_program_that_dies_leaves_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="unexpected argument"):
        Anvil(tmp_path, extra=["--no-such-flag"]).start()
