"""One key's transactions, one at a time: signed, noted, given to the node until one is mined.

What waits too long is signed again with the same nonce and the same call and a higher fee
(EIP-1559; nodes replace for 10 % more of both fees). Of all that was signed for a nonce the chain
takes one, so a call happens once, whatever is lost in between, a kill of this process included:
the signed bytes are noted before they leave, and go on from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from agent.errors import AgentError, StillPending
from agent.home import write_in_one_step
from chain.client import ChainClient, call_object
from chain.errors import (
    AlreadyKnown,
    ContractReverted,
    InsufficientFunds,
    NonceTaken,
    PermanentError,
    Underpriced,
)
from chain.events import checksum
from chain.wire import Fees, Receipt, parse_header, parse_receipt, quantity

GAS_MARGIN = 1.25  # the state may change between estimate and mining
RECEIPT_SECONDS = 180.0  # then the caller looks at the chain again, and comes back
LOOK_SECONDS = 2.0  # between looks at whether the node still has it, and whether it is stuck
# Stuck: so many blocks came without it, and so long ago. Both, as chains differ in their pace.
STUCK_BLOCKS = 3
STUCK_SECONDS = 30.0
RAISE = 1125  # thousandths of the fees before
DEAREST = 10  # times what the node advises now: more would not help


@dataclass(frozen=True)
class Waiting:
    """Signed and perhaps sent. `hashes`: of every bytes signed for this nonce, the newest last.
    `block`, `at`: the head and the time when the newest were signed. `chain`: genesis hash."""

    chain: str
    what: str
    nonce: int
    to: str
    data: str
    gas: int
    max_fee: int
    priority_fee: int
    raw: str
    hashes: tuple[str, ...]
    block: int
    at: float


class Sender:
    """`file`: where what waits is noted, None for this process alone."""

    def __init__(self, client: ChainClient, signer: LocalAccount) -> None:
        self.client = client
        self.signer = signer
        self.chain = ""
        self.file: Path | None = None
        self.say: Callable[[str], None] = lambda text: None
        self._held: Waiting | None = None

    @property
    def me(self) -> str:
        return str(self.signer.address)

    def send(self, what: str, to: str, data: str) -> Receipt:
        """The receipt, once it is mined. `what`: the function's name, for messages.

        Raises ContractReverted before anything is spent when the contract would refuse,
        InsufficientFunds without ETH for the gas, and StillPending while an earlier transaction of
        this key waits or this one does after RECEIPT_SECONDS: called again it goes on waiting.
        """
        waiting = self._waiting()
        if waiting is not None:
            return self._earlier(waiting, to, data)
        waiting = self._sign_first(what, to, data)
        self._note(waiting)
        try:
            self._give(waiting)
        except PermanentError:
            self._note(None)  # the node refused the bytes
            raise
        receipt = self._watch(waiting)
        if receipt is None:
            raise StillPending(
                f"Nonce {waiting.nonce} of {self.me} went to another transaction than {what}. "
                "Looking at what it did."
            )
        return _accepted(waiting, receipt)

    def _earlier(self, waiting: Waiting, to: str, data: str) -> Receipt:
        """What was sent before comes first: for another call one has to look again after it."""
        receipt = self._watch(waiting)
        if receipt is not None and (waiting.to, waiting.data) == (to, data):
            return _accepted(waiting, receipt)
        if receipt is None:
            raise StillPending(f"{waiting.what}, sent earlier, came to nothing. Looking again.")
        did = "mined" if receipt.succeeded else "mined and refused"
        raise StillPending(
            f"{waiting.what}, sent earlier, was {did} in block {receipt.block_number}. Looking "
            "where that leaves us."
        )

    # --- signing ---------------------------------------------------------------------------

    def _sign_first(self, what: str, to: str, data: str) -> Waiting:
        mined = self.client.nonce(self.me)
        nonce = quantity("nonce", self.client.rpc("eth_getTransactionCount", self.me, "pending"))
        if nonce > mined:
            raise StillPending(
                f"{nonce - mined} transaction(s) of {self.me} wait to be mined, from nonce {mined} "
                "on, and were not signed here. Nothing more is sent before."
            )
        estimate = self.client.estimate_gas(call_object(to=to, data=data, sender=self.me))
        head = self.client.head()
        fees = self.client.fees(head)
        gas = int(estimate * GAS_MARGIN)
        held = self.client.balance(self.me)
        if held < gas * fees.max_fee:
            raise InsufficientFunds(
                f"{what} needs up to {gas * fees.max_fee / 1e18:.6f} ETH for gas, but "
                f"{self.me} holds {held / 1e18:.6f} ETH. Send it some. Nothing was sent."
            )
        unsigned = Waiting(
            chain=self.chain,
            what=what,
            nonce=nonce,
            to=to,
            data=data,
            gas=gas,
            max_fee=fees.max_fee,
            priority_fee=fees.priority_fee,
            raw="",
            hashes=(),
            block=head.number,
            at=time.time(),
        )
        return self._sign(unsigned)

    def _sign(self, unsigned: Waiting) -> Waiting:
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": self.client.chain_id(),
            "nonce": unsigned.nonce,
            "to": checksum(unsigned.to),
            "data": unsigned.data,
            "gas": unsigned.gas,
            "maxFeePerGas": unsigned.max_fee,
            "maxPriorityFeePerGas": unsigned.priority_fee,
            "value": 0,
        }
        signed = self.signer.sign_transaction(transaction)
        tx_hash = "0x" + bytes(signed.hash).hex()
        raw = "0x" + bytes(signed.raw_transaction).hex()
        return replace(unsigned, raw=raw, hashes=(*unsigned.hashes, tx_hash))

    def _give(self, waiting: Waiting) -> None:
        # Mined already, or other bytes for the nonce were: the receipts will tell.
        with suppress(AlreadyKnown, NonceTaken):
            self.client.send_raw(waiting.raw)

    # --- until it is mined -----------------------------------------------------------------

    def _watch(self, waiting: Waiting) -> Receipt | None:
        """The receipt of whichever bytes were mined; None when the nonce went to others or the
        call was taken back. Raises StillPending after RECEIPT_SECONDS."""
        until = time.monotonic() + RECEIPT_SECONDS
        look_at = time.monotonic() + LOOK_SECONDS
        pause = 0.01
        while True:
            receipts = self.client.receipts(waiting.hashes)
            receipt = next((found for found in receipts if found is not None), None)
            if receipt is not None:
                self._note(None)
                return receipt
            over = time.monotonic() > until
            if over or time.monotonic() > look_at:
                look_at = time.monotonic() + LOOK_SECONDS
                kept = self._look_after(waiting)
                if kept is None:
                    return self._taken(waiting)
                waiting = kept
            if over:
                raise StillPending(
                    f"{waiting.what} ({waiting.hashes[-1]}) is not mined after "
                    f"{RECEIPT_SECONDS:g} s. It stays valid, and nothing else is sent before."
                )
            time.sleep(pause)
            pause = min(pause * 2, LOOK_SECONDS)

    def _look_after(self, waiting: Waiting) -> Waiting | None:
        """Give the node again what it has lost, and raise the fee of what is stuck or costs too
        little to be taken. None when there is nothing to wait for any more."""
        count, head, *found = self.client.batch(
            [
                ("eth_getTransactionCount", (self.me, "latest")),
                ("eth_getBlockByNumber", ("latest", False)),
                *(("eth_getTransactionByHash", (one,)) for one in waiting.hashes),
            ]
        )
        if quantity("nonce", count) > waiting.nonce:
            return None
        if not any(found) and self._would_be_refused(waiting):
            return None
        header = parse_header(head)
        stuck = header.number - waiting.block >= STUCK_BLOCKS
        stuck = stuck and time.time() - waiting.at >= STUCK_SECONDS
        if found[-1] is None:
            try:
                self._give(waiting)
            except Underpriced:
                # Blocks cost more than it offers; or the bytes before are there, and wait.
                stuck = stuck or not any(found)
        if stuck:
            return self._raise(waiting, header.number, self.client.fees(header))
        return waiting

    def _would_be_refused(self, waiting: Waiting) -> bool:
        """Of a call that the node does not have: while it was away a deadline may have passed."""
        try:
            request = call_object(to=waiting.to, data=waiting.data, sender=self.me)
            self.client.estimate_gas(request)
        except ContractReverted as error:
            self.say(f"{waiting.what} was lost on its way and is not sent again: {error}")
            return True
        return False

    def _raise(self, waiting: Waiting, block: int, now: Fees) -> Waiting:
        raised = Fees(
            base_fee=now.base_fee,
            priority_fee=max(now.priority_fee, _more(waiting.priority_fee)),
        )
        max_fee = max(raised.max_fee, _more(waiting.max_fee))
        waited = f"{waiting.what} ({waiting.hashes[-1]}) waits since block {waiting.block}"
        if max_fee > max(now.max_fee, 1) * DEAREST:
            raise StillPending(
                f"{waited}, although it offers {waiting.max_fee / 1e9:,.3g} gwei and the node "
                f"advises {now.max_fee / 1e9:,.3g}. The fee is not raised further."
            )
        held = self.client.balance(self.me)
        if held < waiting.gas * max_fee:
            raise StillPending(
                f"{waited}. A higher fee needs up to {waiting.gas * max_fee / 1e18:.6f} ETH, but "
                f"{self.me} holds {held / 1e18:.6f} ETH. Send it some."
            )
        dearer = replace(
            waiting,
            max_fee=max_fee,
            priority_fee=raised.priority_fee,
            block=block,
            at=time.time(),
        )
        dearer = self._sign(dearer)
        self._note(dearer)
        self.say(
            f"{waited}. Sending it again with a higher fee: {max_fee / 1e9:,.3g} gwei instead of "
            f"{waiting.max_fee / 1e9:,.3g}. Only one of the two can be mined."
        )
        with suppress(Underpriced):  # a node that asks for more gets it the next time
            self._give(dearer)
        return dearer

    def _taken(self, waiting: Waiting) -> Receipt | None:
        """The nonce is used, or the call was taken back: by which bytes, if by ours?"""
        answers = self.client.batch([("eth_getTransactionReceipt", (h,)) for h in waiting.hashes])
        self._note(None)
        return next((parse_receipt(one) for one in answers if one is not None), None)

    # --- what is remembered ----------------------------------------------------------------

    def _waiting(self) -> Waiting | None:
        """Read afresh: another command with this key may have sent something."""
        if self.file is None:
            return self._held
        try:
            found = json.loads(self.file.read_text())
            waiting = Waiting(**{**found, "hashes": tuple(found["hashes"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise AgentError(
                f"{self.file} cannot be read ({error}). Look with a block explorer whether a "
                f"transaction of {self.me} waits, then move the file away."
            ) from error
        return waiting if waiting.chain == self.chain else None

    def _note(self, waiting: Waiting | None) -> None:
        self._held = waiting
        if self.file is None:
            return
        if waiting is None:
            self.file.unlink(missing_ok=True)
        else:
            write_in_one_step(self.file, json.dumps(asdict(waiting), indent=1))


def _more(fee: int) -> int:
    return fee * RAISE // 1000 + 1


def _accepted(waiting: Waiting, receipt: Receipt) -> Receipt:
    if not receipt.succeeded:
        raise ContractReverted(
            "RefusedWhenMined",
            {},
            f"{waiting.what} was mined in block {receipt.block_number} and refused "
            f"({receipt.tx_hash}): something changed in between.",
        )
    return receipt
