"""Deploying where it costs something: shown first, asked for, and verified afterwards."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from eth_account import Account as Signer
from pytest_django import Settings

from bcfl_site.embedded.anvil import Anvil
from chain import artifacts
from chain.models import Account
from chain.network import client_current

pytestmark = pytest.mark.django_db


@pytest.fixture
def public(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> tuple[Anvil, str]:
    """A chain that is not the development chain, and a deployer's key in the environment."""
    key = Signer.create()
    monkeypatch.setattr(artifacts, "DEPLOYMENTS", tmp_path / "deployments")
    monkeypatch.setenv("BCFL_DEPLOYER_KEY", key.key.hex())
    with Anvil(log_path=tmp_path / "anvil.log", chain_id=777) as anvil:
        settings.NETWORKS = {
            "public": {"rpc_url": anvil.rpc_url, "chain_id": 777},
            "nowhere": {"rpc_url": "", "chain_id": 778},
        }
        settings.CHAIN_NETWORK = "public"
        yield anvil, key.address


def run(*args: str) -> str:
    out = StringIO()
    call_command("deploy_contracts", "--network", "public", *args, stdout=out)
    return out.getvalue()


def test_nothing_is_spent_without_a_yes(public: tuple[Anvil, str]) -> None:
    anvil, address = public
    anvil.rpc("anvil_setBalance", address, hex(10**18))
    with pytest.raises(CommandError, match=r"would spend up to 0\.\d+ ETH on public.*--yes"):
        run()
    assert client_current("public").nonce(address) == 0


def test_a_person_who_types_something_else_keeps_the_money(
    public: tuple[Anvil, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    anvil, address = public
    anvil.rpc("anvil_setBalance", address, hex(10**18))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert "Nothing was sent." in run()
    assert client_current("public").nonce(address) == 0
    monkeypatch.setattr("builtins.input", lambda question: "public")
    assert run().count(": deployed at 0x") == 2


def test_cost_first_then_deployed_and_verified(public: tuple[Anvil, str]) -> None:
    anvil, address = public
    anvil.rpc("anvil_setBalance", address, hex(10**18))
    with pytest.raises(CommandError, match="not the build of this checkout"):
        run("--verify")
    output = run("--yes")
    assert output.index("cost: ") < output.index("FLToken: deployed at 0x")
    assert Account.objects.get(kind="deployer").address == address
    assert (artifacts.DEPLOYMENTS / "777.json").exists()
    assert run("--verify").count("the code on chain is this build") == 2
    nonce = client_current("public").nonce(address)
    assert "cost" not in run("--yes")  # there already: nothing to pay
    assert client_current("public").nonce(address) == nonce


def test_a_poor_deployer_is_told_what_is_missing(public: tuple[Anvil, str]) -> None:
    anvil, address = public
    anvil.rpc("anvil_setBalance", address, hex(10**12))
    with pytest.raises(CommandError, match=rf"deployer {address} has 1000000000000 wei"):
        run("--yes")


def test_a_network_without_a_node_is_named(public: tuple[Anvil, str]) -> None:
    with pytest.raises(CommandError, match="Set NOWHERE_RPC_URL"):
        call_command("deploy_contracts", "--network", "nowhere")


def test_a_key_that_is_no_key_is_refused(
    public: tuple[Anvil, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCFL_DEPLOYER_KEY", "0xnothex")
    with pytest.raises(CommandError, match="BCFL_DEPLOYER_KEY is not hexadecimal"):
        run("--yes")
    monkeypatch.setenv("BCFL_DEPLOYER_KEY", "0x1234")
    with pytest.raises(CommandError, match="2 bytes, needs 32"):
        run("--yes")
