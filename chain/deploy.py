"""Put our contracts on a chain, once.

Signed with the deployer's key and the chain's own nonce, not through the outbox: a chain that
lost its contracts has also lost what the outbox remembers of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chain.accounts import signing_account
from chain.artifacts import (
    COORDINATOR,
    NAMES,
    TOKEN,
    Artifact,
    DeployedContract,
    Deployment,
    deployment,
    load,
    save_deployment,
)
from chain.calls import encode_arguments, json_value
from chain.client import ChainClient, call_object
from chain.errors import (
    CallFailed,
    ContractReverted,
    InconsistentAnswer,
    InsufficientFunds,
    NotDeployed,
    WrongChain,
)
from chain.models import Account, Network
from chain.network import is_development

INITIAL_SUPPLY = 1_000_000_000 * 10**18  # wei of FLT, minted to the deployer
GAS_MARGIN = 1.1

Say = Callable[[str], Any]


@dataclass(frozen=True)
class DeployReport:
    deployment: Deployment
    deployed: tuple[str, ...]  # names deployed now; empty when everything was there


@dataclass(frozen=True)
class DeployCost:
    """What the deployment is about to spend. `gas_price` in wei per gas, `wei` at most."""

    names: tuple[str, ...]
    gas: int
    gas_price: int
    wei: int
    balance: int  # of the deployer, wei


def contracts_verify(*, network: Network, client: ChainClient) -> dict[str, str]:
    """Contract name -> `none`, `gone`, `other` or `same`: the code on chain against the build.

    Raises WrongChain.
    """
    chain_id, _ = _checked_identity(network, client)
    known = _known(chain_id)
    return {name: _state(client, name, known) for name in NAMES}


def contracts_deploy(
    *,
    network: Network,
    client: ChainClient,
    deployer: Account,
    replace: bool = False,
    say: Say,
    confirm: Callable[[DeployCost], bool] = lambda cost: True,
) -> DeployReport:
    """Deploy FLToken and FLCoordinator unless the same code is on chain already.

    `replace`: deploy anew although older code of ours is there (a development chain does so
    without being asked). `confirm` is shown the cost before anything is spent; when it says no,
    nothing is. Raises NotDeployed when `replace` is needed but not given, WrongChain,
    InsufficientFunds.
    """
    chain_id, genesis = _checked_identity(network, client)
    known = _known(chain_id)
    state = {name: _state(client, name, known) for name in NAMES}
    for name, found in state.items():
        say(f"{name}: {_described(found, known.get(name))}")
    if all(found == "same" for found in state.values()):
        return DeployReport(deployment(chain_id), ())
    if "other" in state.values() and not replace and not is_development(network):
        older = ", ".join(name for name, found in state.items() if found == "other")
        raise NotDeployed(
            f"{older} on chain {chain_id} is not the committed build. Tasks and money live at the "
            "deployed address; `--replace` deploys the new build beside it and uses that from "
            "then on."
        )
    cost = _cost(client, deployer, state)
    say(
        f"cost: {cost.gas:,} gas for {' and '.join(cost.names)} at {cost.gas_price / 10**9:.3f} "
        f"gwei, at most {cost.wei / 10**18:.6f} ETH; {deployer.address} has "
        f"{cost.balance / 10**18:.6f} ETH"
    )
    if cost.balance < cost.wei:
        raise _too_poor(client, deployer, cost.wei)
    if not confirm(cost):
        return DeployReport(Deployment(chain_id, genesis, dict(known)), ())
    contracts: dict[str, DeployedContract] = {}
    done = []
    for name in NAMES:
        # A coordinator is bound to its token for good: a new token needs a new coordinator.
        if state[name] == "same" and not (name == COORDINATOR and TOKEN in done):
            contracts[name] = known[name]
            continue
        arguments: list[Any] = [INITIAL_SUPPLY if name == TOKEN else contracts[TOKEN].address]
        contracts[name] = _deploy(client, chain_id, deployer, load(name), arguments)
        done.append(name)
        say(
            f"{name}: deployed at {contracts[name].address} in block "
            f"{contracts[name].block_number} by {deployer.address}"
        )
    record = Deployment(chain_id=chain_id, genesis_hash=genesis, contracts=contracts)
    say(f"recorded in {save_deployment(record)}")
    return DeployReport(record, tuple(done))


def _checked_identity(network: Network, client: ChainClient) -> tuple[int, str]:
    chain_id, genesis = client.identity()
    if chain_id != network.chain_id:
        raise WrongChain(
            f"{client.url} serves chain id {chain_id}, network {network.name} is chain id "
            f"{network.chain_id}. Correct CHAIN_RPC_URL or CHAIN_ID."
        )
    return chain_id, genesis


def _cost(client: ChainClient, deployer: Account, state: Mapping[str, str]) -> DeployCost:
    """Estimated before anything is sent; the fee is the most that could be paid."""
    token_is_new = state[TOKEN] != "same"
    names = tuple(n for n in NAMES if state[n] != "same" or (n == COORDINATOR and token_is_new))
    # The coordinator only stores its token's address: any that is not zero costs the same.
    placeholder = deployer.address
    gas = 0
    for name in names:
        data = _creation_code(load(name), [INITIAL_SUPPLY if name == TOKEN else placeholder])
        request = call_object(to=None, data=data, sender=deployer.address)
        gas += int(client.estimate_gas(request) * GAS_MARGIN)
    price = client.fees().max_fee
    return DeployCost(names, gas, price, gas * price, client.balance(deployer.address))


def _creation_code(artifact: Artifact, arguments: list[Any]) -> str:
    inputs = artifact.constructor["inputs"]
    return artifact.bytecode + encode_arguments(inputs, arguments, artifact.name).hex()


def _known(chain_id: int) -> Mapping[str, DeployedContract]:
    try:
        return deployment(chain_id).contracts
    except NotDeployed:
        return {}


def _state(client: ChainClient, name: str, known: Mapping[str, DeployedContract]) -> str:
    """`none`: never deployed; `gone`: recorded but no code there; `other`, `same`: code found."""
    if name not in known:
        return "none"
    code = client.code(known[name].address)
    if not code:
        return "gone"
    return "same" if load(name).matches(code) else "other"


def _described(state: str, contract: DeployedContract | None) -> str:
    where = contract.address if contract else ""
    return {
        "none": "not deployed on this chain yet",
        "gone": f"no code at {where} any more: the chain was started anew",
        "other": f"the code at {where} is another build",
        "same": f"deployed at {where}, code matches the build",
    }[state]


def _deploy(
    client: ChainClient, chain_id: int, deployer: Account, artifact: Artifact, arguments: list[Any]
) -> DeployedContract:
    data = _creation_code(artifact, arguments)
    signer = signing_account(deployer)
    request = call_object(to=None, data=data, sender=deployer.address)
    fees = client.fees()
    try:
        gas = int(client.estimate_gas(request) * GAS_MARGIN)
    except InsufficientFunds as error:
        raise _too_poor(client, deployer, fees.max_fee * 5_000_000) from error
    cost = gas * fees.max_fee
    if client.balance(deployer.address) < cost:
        raise _too_poor(client, deployer, cost)
    creation: dict[str, Any] = {
        "type": 2,
        "chainId": chain_id,
        "nonce": client.nonce(deployer.address),
        "value": 0,
        "data": data,
        "gas": gas,
        "maxFeePerGas": fees.max_fee,
        "maxPriorityFeePerGas": fees.priority_fee,
    }
    signed = signer.sign_transaction(creation)
    tx_hash = client.send_raw("0x" + bytes(signed.raw_transaction).hex())
    receipt = client.wait_for_receipt(tx_hash, timeout=300)
    if not receipt.succeeded:
        (header,) = client.headers([receipt.block_number])
        if header is None:
            raise InconsistentAnswer(f"Block {receipt.block_number} vanished: a reorg meanwhile.")
        reason = client.revert_reason(
            request,
            receipt.block_number,
            receipt.gas_used,
            gas,
            parent_hash=header.parent_hash,
        )
        raise ContractReverted(
            reason.name, reason.arguments, f"Deploying {artifact.name} failed: {reason.sentence}"
        )
    if not artifact.matches(client.code(receipt.contract_address)):
        raise CallFailed(
            f"The code at {receipt.contract_address} is not {artifact.name} as built. "
            "Run `manage.py compile_contracts --check`."
        )
    return DeployedContract(
        address=receipt.contract_address,
        block_number=receipt.block_number,
        tx_hash=receipt.tx_hash,
        constructor_args=json_value(arguments),
        source_hash=artifact.source_hash,
        compiler=artifact.compiler,
    )


def _too_poor(client: ChainClient, deployer: Account, wei: int) -> InsufficientFunds:
    return InsufficientFunds(
        f"The deployer {deployer.address} has {client.balance(deployer.address)} wei; this "
        f"deployment may cost {wei} wei ({wei / 10**18:.4f} ETH). Send it ETH and run this again."
    )
