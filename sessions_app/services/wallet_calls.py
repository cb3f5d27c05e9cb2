"""What a browser wallet signs: calldata built here, tried on the node first, shown in words.

The key never comes here. A call is described before it is signed: the function, each argument
with its unit, the fee, and, where the contract would refuse, the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from chain.artifacts import COORDINATOR, TOKEN, load
from chain.calls import decode_arguments, decode_call, decode_result, encode_call
from chain.client import call_object
from chain.errors import ChainError, ContractReverted, InsufficientFunds
from chain.models import Transaction
from chain.network import client_current
from chain.selectors import contract_address
from sessions_app.errors import BcflError, ChainTrouble, NothingToClaim, WrongStage
from sessions_app.formats import amount
from sessions_app.models import Participant, Task
from sessions_app.rewards import reward_proof
from sessions_app.selectors.ledger.rows import chain_id, network_id
from sessions_app.selectors.ledger.values import (
    Known,
    Shown,
    TaskLink,
    find_item,
    shown_arguments,
)
from sessions_app.selectors.people.people import names_of

PERMIT_SECONDS = 1_800
MEMBER_STATUS = ("none", "active", "left", "slashed", "returned")


class UnknownCall(BcflError):
    """No such call, or its arguments are missing."""


@dataclass(frozen=True)
class Options:
    """What the person chose. ``permit``: deadline, v, r, s of a signed EIP-2612 permit;
    ``amount`` in wei, of a top-up."""

    samples_cap: int | None = None
    member: str = ""  # whom a claim or a stake is for; empty: the sender
    permit: Mapping[str, Any] | None = None
    amount: int = 0


@dataclass(frozen=True)
class Prepared:
    """A call to sign. ``refused``: why the contract would refuse it now; empty when it passes."""

    action: str
    title: str
    contract: str
    function: str
    to: str
    data: str
    sender: str
    chain_id: int
    arguments: Sequence[Shown]
    gas: int | None = None
    fee: int | None = None  # wei
    refused: str = ""
    error: Sequence[Shown] = ()

    @property
    def transaction(self) -> Mapping[str, str]:
        """As eth_sendTransaction takes it; the wallet sets fee and nonce."""
        sent = {"from": self.sender, "to": self.to, "data": self.data, "value": "0x0"}
        return sent | ({"gas": hex(self.gas * 5 // 4)} if self.gas else {})


@dataclass(frozen=True)
class Standing:
    """An address in a task, as the contract and the token have it now; amounts in wei."""

    address: str
    status: str  # of MEMBER_STATUS
    stake_held: int
    claimed: int
    earned: int
    balance: int
    allowance: int
    ether: int

    @property
    def joined(self) -> bool:
        return self.status in ("active", "left", "slashed", "returned")

    @property
    def claimable(self) -> int:
        return max(self.earned - self.claimed, 0)


Built = tuple[str, str, Sequence[Any], str]  # contract, function, arguments, title


def prepare(*, action: str, task: Task, address: str, options: Options = Options()) -> Prepared:
    """Build the call, try it, and put it in words. Raises UnknownCall, WrongStage,
    NothingToClaim, and ChainTrouble when no node answers."""
    builder = _BUILDERS.get(action)
    if builder is None:
        raise UnknownCall(f"There is no call “{action[:30]}”; there are {', '.join(_BUILDERS)}.")
    if task.onchain_id is None:
        raise WrongStage(f"Task {task.pk} is not on chain yet; there is nothing to sign for it.")
    return prepared(
        action=action, task=task, address=address, build=lambda: builder(task, address, options)
    )


def prepared(*, action: str, task: Task, address: str, build: Callable[[], Built]) -> Prepared:
    """What ``build`` gives, tried and put in words. Raises ChainTrouble when no node answers."""
    try:
        contract, function, args, title = build()
        to = contract_address(contract)
        data = encode_call(load(contract).abi, function, args)
        return _tried(
            Prepared(
                action=action,
                title=title,
                contract=contract,
                function=function,
                to=to,
                data="0x" + data.hex(),
                sender=address,
                chain_id=chain_id(),
                arguments=_in_words(contract, data, task),
            )
        )
    except ChainError as error:
        raise ChainTrouble(str(error)) from error


def permit_request(*, task: Task, address: str) -> Mapping[str, Any]:
    """The EIP-2612 permit for the stake, as eth_signTypedData_v4 takes it. Costs no gas."""
    try:
        token = contract_address(TOKEN)
        domain = read_contract(TOKEN, "eip712Domain", [])
        deadline = client_current().head().timestamp + PERMIT_SECONDS
        nonce = one(read_contract(TOKEN, "nonces", [address]))
        spender = contract_address(COORDINATOR)
    except ChainError as error:
        raise ChainTrouble(str(error)) from error
    fields = ("owner address", "spender address", "value uint256", "nonce uint256")
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Permit": [
                dict(zip(("name", "type"), field.split(), strict=True))
                for field in (*fields, "deadline uint256")
            ],
        },
        "primaryType": "Permit",
        "domain": {
            "name": domain["name"],
            "version": domain["version"],
            "chainId": chain_id(),
            "verifyingContract": token,
        },
        "message": {
            "owner": address,
            "spender": spender,
            "value": str(task.stake),
            "nonce": str(nonce),
            "deadline": str(deadline),
        },
    }


def standing(*, task: Task, address: str) -> Standing:
    """Asked of the node now; what was earned comes from the database. Raises ChainTrouble."""
    member = task.members.filter(address=address).first()
    try:
        on_chain = one(read_contract(COORDINATOR, "member", [task.onchain_id, address]))
        coordinator = contract_address(COORDINATOR)
        return Standing(
            address=address,
            status=MEMBER_STATUS[on_chain["status"]],
            stake_held=on_chain["stake"],
            claimed=on_chain["claimed"],
            earned=member.earned if member else 0,
            balance=one(read_contract(TOKEN, "balanceOf", [address])),
            allowance=one(read_contract(TOKEN, "allowance", [address, coordinator])),
            ether=client_current().balance(address),
        )
    except ChainError as error:
        raise ChainTrouble(str(error)) from error


def transaction_state(tx_hash: str) -> Mapping[str, Any]:
    """How far a sent transaction is: unknown, pending, mined, or projected (written here, with
    everything that follows from it). Raises ChainTrouble."""
    row = Transaction.objects.filter(network_id=network_id(), hash=tx_hash).first()
    if row is not None:
        return {
            "state": "projected",
            "block": row.block_number,
            "succeeded": row.succeeded,
            "error": row.error,
        }
    client = client_current()
    try:
        (receipt,) = client.receipts([tx_hash])
        if receipt is not None:
            return {"state": "mined", "block": receipt.block_number, "succeeded": None}
        (known,) = client.knows_transactions([tx_hash])
    except ChainError as error:
        raise ChainTrouble(str(error)) from error
    return {"state": "pending" if known else "unknown", "block": None, "succeeded": None}


def wallet_chain() -> Mapping[str, Any]:
    """What a wallet needs to switch to this console's chain, or to add it."""
    name = settings.CHAIN_NETWORK
    return {
        "id": chain_id(),
        "name": "BCFL dev chain" if name == "dev" else name.capitalize(),
        "rpc": settings.PUBLIC_RPC_URL,
    }


# --- the calls ------------------------------------------------------------------------------


def _approve(task: Task, address: str, options: Options) -> Built:
    title = f"Allow the coordinator to take the stake of {amount(task.stake)} FLT"
    return TOKEN, "approve", [contract_address(COORDINATOR), task.stake], title


def _join(task: Task, address: str, options: Options) -> Built:
    title = f"Join “{task.title}” with a stake of {amount(task.stake)} FLT"
    return COORDINATOR, "join", [task.onchain_id, _cap(options)], title


def _join_with_permit(task: Task, address: str, options: Options) -> Built:
    permit = options.permit
    if permit is None or not {"deadline", "signature"} <= permit.keys():
        raise UnknownCall("joinWithPermit needs the signed permit: its deadline and signature.")
    try:
        raw = bytes.fromhex(str(permit["signature"]).removeprefix("0x"))
        deadline = int(permit["deadline"])
    except ValueError as error:
        raise UnknownCall("The permit's signature or deadline cannot be read.") from error
    if len(raw) != 65:
        raise UnknownCall(
            f"The permit's signature has {len(raw)} bytes instead of 65. Contract wallets cannot "
            "sign permits; approve the stake with a transaction instead."
        )
    v = raw[64] if raw[64] >= 27 else raw[64] + 27
    title = f"Join “{task.title}” with a stake of {amount(task.stake)} FLT"
    args = [task.onchain_id, _cap(options), deadline, v, raw[:32], raw[32:64]]
    return COORDINATOR, "joinWithPermit", args, title


def _leave(task: Task, address: str, options: Options) -> Built:
    return COORDINATOR, "leave", [task.onchain_id], f"Leave “{task.title}”"


def _claim(task: Task, address: str, options: Options) -> Built:
    member = _member(task, options.member or address)
    if member.earned <= member.claimed:
        raise NothingToClaim(
            f"{member.address} has claimed all of the {amount(member.earned)} FLT earned in "
            f"“{task.title}”."
        )
    cumulative = dict(task.members.values_list("address", "earned"))
    assert task.onchain_id is not None
    proof = reward_proof(task.onchain_id, cumulative, member.address)
    title = f"Claim {amount(member.earned - member.claimed)} FLT of “{task.title}”"
    args = [task.onchain_id, member.address, member.earned, proof]
    return COORDINATOR, "claim", args, title


def _return_stake(task: Task, address: str, options: Options) -> Built:
    member = _member(task, options.member or address)
    title = f"Take the stake of {amount(member.stake)} FLT back from “{task.title}”"
    return COORDINATOR, "returnStake", [task.onchain_id, member.address], title


_BUILDERS: Mapping[str, Callable[[Task, str, Options], Built]] = {
    "approve": _approve,
    "join": _join,
    "joinWithPermit": _join_with_permit,
    "leave": _leave,
    "claim": _claim,
    "returnStake": _return_stake,
}


def _member(task: Task, address: str) -> Participant:
    member = task.members.filter(address=address).first()
    if member is None:
        raise WrongStage(f"{address} is not a participant of “{task.title}”.")
    return member


def _cap(options: Options) -> int:
    cap = options.samples_cap
    if cap is None or not 1 <= cap < 2**32:
        raise UnknownCall(
            "Give the most samples you will ever train on in a round, from 1 to 4,294,967,295; "
            "the contract refuses an update that claims more."
        )
    return cap


# --- trying and telling ---------------------------------------------------------------------


def _tried(call: Prepared) -> Prepared:
    """With its gas and fee, or with the reason why it would fail."""
    client = client_current()
    request = call_object(to=call.to, data=call.data, sender=call.sender)
    values = dict(call.__dict__)
    try:
        gas = client.estimate_gas(request)
        price = client.fees()
    except ContractReverted as refusal:
        item = _error_item(refusal.name)
        known = Known(names_of([], chain_id()), {})
        rows = shown_arguments(item["inputs"], refusal.arguments, known) if item else []
        return Prepared(**values | {"refused": refusal.sentence, "error": rows})
    except InsufficientFunds as refusal:
        return Prepared(**values | {"refused": f"{refusal} Gas is paid in ETH."})
    fee = gas * (price.base_fee + price.priority_fee)
    return Prepared(**values | {"gas": gas, "fee": fee})


def _in_words(contract: str, data: bytes, task: Task) -> Sequence[Shown]:
    """Decoded from the very bytes that will be signed."""
    abi = load(contract).abi
    decoded = decode_call(abi, data)
    assert decoded is not None  # it was encoded by this ABI a moment ago
    name, args = decoded
    item = next(i for i in abi if i["type"] == "function" and i["name"] == name)
    addresses = {value for value in args.values() if isinstance(value, str) and len(value) == 42}
    links = {task.onchain_id: TaskLink(task.pk, task.title)} if task.onchain_id else {}
    return shown_arguments(
        item["inputs"], decode_arguments(item["inputs"], data[4:]),
        Known(names_of(addresses, chain_id()), links),
    )  # fmt: skip


def _error_item(name: str) -> Mapping[str, Any] | None:
    return next(
        (item for contract in (COORDINATOR, TOKEN) if (item := find_item(contract, "error", name))),
        None,
    )


def read_contract(contract: str, function: str, args: Sequence[Any]) -> Mapping[str, Any]:
    abi = load(contract).abi
    answer = client_current().call(contract_address(contract), encode_call(abi, function, args))
    return decode_result(abi, function, len(args), answer)


def one(result: Mapping[str, Any]) -> Any:
    return next(iter(result.values()))
