"""Deploying for real, and not deploying what is there."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bcfl_site.embedded.anvil import Anvil
from chain.accounts import account_derive
from chain.artifacts import deployment, deployment_path, load, save_deployment
from chain.calls import decode_result, encode_call
from chain.deploy import INITIAL_SUPPLY, contracts_deploy
from chain.errors import NotDeployed
from chain.models import Account
from chain.network import client_current, network_current
from chain.selectors import contract_address, eth_balance, gas_price, token_balance
from tests.chain.conftest import Chain


def run(*args: str) -> str:
    out = StringIO()
    call_command("deploy_contracts", *args, stdout=out)
    return out.getvalue()


def test_deploy_records_and_a_second_time_does_nothing(anvil: Anvil, db: None) -> None:
    first = run("--network", "dev")
    assert "FLToken: deployed at 0x" in first
    client = client_current()
    record = json.loads(deployment_path(31337).read_text())
    token, coordinator = record["contracts"]["FLToken"], record["contracts"]["FLCoordinator"]
    assert record["genesis_hash"] == client.identity()[1]
    assert coordinator["constructor_args"] == [token["address"]]
    assert token["source_hash"] == load("FLToken").source_hash
    assert token["compiler"].startswith("0.8.")
    (receipt,) = client.receipts([token["tx_hash"]])
    assert receipt is not None
    assert (receipt.contract_address, receipt.block_number) == (
        token["address"],
        token["block_number"],
    )
    asked = encode_call(load("FLCoordinator").abi, "token", [])
    answer = client.call(contract_address("FLCoordinator"), asked)
    bound = decode_result(load("FLCoordinator").abi, "token", 0, answer)
    assert list(bound.values()) == [token["address"]]
    deployer = Account.objects.get(kind="deployer")
    assert token_balance(deployer.address) == INITIAL_SUPPLY

    height = client.head().number
    second = run("--network", "dev")
    assert second.count("code matches the build") == 2
    assert client.head().number == height


def test_a_chain_without_our_code_gets_it_again(chain: Chain) -> None:
    known = deployment(31337)
    gone = replace(known.contracts["FLToken"], address="0x" + "22" * 20)
    save_deployment(replace(known, contracts={**known.contracts, "FLToken": gone}))
    output = run()
    assert "the chain was started anew" in output
    assert output.count(": deployed at 0x") == 3  # the coordinator twice: as found, and anew
    assert contract_address("FLToken") != gone.address


def test_an_older_build_is_replaced_only_when_asked_outside_development(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = deployment(31337)
    swapped = {
        "FLToken": known.contracts["FLToken"],
        "FLCoordinator": replace(
            known.contracts["FLCoordinator"], address=known.contracts["FLToken"].address
        ),
    }
    save_deployment(replace(known, contracts=swapped))
    monkeypatch.setattr("chain.deploy.is_development", lambda network: False)
    options: dict[str, Any] = {
        "network": chain.network,
        "client": chain.client,
        "deployer": chain.deployer,
        "say": lambda line: None,
    }
    with pytest.raises(NotDeployed, match="FLCoordinator on chain 31337 is not the committed"):
        contracts_deploy(**options)
    report = contracts_deploy(**options, replace=True)
    assert report.deployed == ("FLCoordinator",)


def test_an_unknown_network_is_named(db: None) -> None:
    with pytest.raises(CommandError, match="No network is called moon; configured: dev"):
        run("--network", "moon")


def test_selectors_ask_the_node(chain: Chain) -> None:
    rich = account_derive(label="R", kind="participant", index=9)
    assert eth_balance(rich.address) == 10_000 * 10**18
    assert gas_price() >= chain.client.head().base_fee
    assert network_current() == chain.network
    with pytest.raises(NotDeployed, match="has no FLOther; deployed are FLCoordinator, FLToken"):
        contract_address("FLOther")
