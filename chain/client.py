"""One Ethereum node behind JSON-RPC. The only module that imports web3.

Everything that leaves this module is a frozen dataclass of `chain.wire`, an int, a str or
bytes; everything that goes wrong is a `chain.errors.ChainError`. Safe to share by threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from web3 import HTTPProvider
from web3.types import RPCEndpoint

from chain import node_errors
from chain.endpoints import Endpoints, split_urls
from chain.errors import (
    ChainError,
    ContractReverted,
    InconsistentAnswer,
    NodeTimeout,
    NodeUnavailable,
    PermanentError,
)
from chain.events import RawLog, checksum
from chain.reverts import RevertDecoder
from chain.wire import (
    Fees,
    FullBlock,
    Header,
    Receipt,
    content,
    parse_full_block,
    parse_header,
    parse_log,
    parse_receipt,
    quantity,
)

logger = logging.getLogger(__name__)

Call = tuple[str, Sequence[Any]]
CONNECT_SECONDS = 3.0
PRIORITY_FEE_SECONDS = 12.0  # how long a node's tip advice stays good: one main network slot
BATCH = 100  # calls in one HTTP request; public nodes refuse many more


class _Provider(HTTPProvider):
    """web3's, with a faster JSON decoder: decoding is much of what a backfill does."""

    @staticmethod
    def decode_rpc_response(raw_response: bytes) -> Any:
        """Raises json.JSONDecodeError, as web3's own."""
        return orjson.loads(raw_response)


class ChainClient:
    """`url`: http(s) JSON-RPC; several, separated by commas, are tried in that order, and one
    that failed is left alone for a while. `timeout`: seconds for an answer.

    `reverts` decodes custom errors; without it they come as `Reverted` with their data.
    """

    def __init__(
        self, url: str, *, timeout: float = 15.0, reverts: RevertDecoder | None = None
    ) -> None:
        self.timeout = timeout
        self.reverts = reverts or RevertDecoder([])
        self._endpoints = Endpoints(split_urls(url))
        self.url = self._endpoints.urls[0]  # the one asked last
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=32)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # Reading proxy variables and .netrc for every request costs more than a local call.
        hosts = {urlsplit(one).hostname for one in self._endpoints.urls}
        self._session.trust_env = not hosts <= {"127.0.0.1", "localhost", "::1"}
        self._providers = {
            one: _Provider(
                one,
                request_kwargs={"timeout": (CONNECT_SECONDS, timeout)},
                session=self._session,
                exception_retry_configuration=None,  # who may retry is decided by error type
            )
            for one in self._endpoints.urls
        }
        self._checked = {self.url}  # serve the chain we know
        self._chain_id: int | None = None
        self._priority_fee: tuple[float, int] = (0.0, 0)

    @property
    def websocket_url(self) -> str:
        """Where the same node serves subscriptions: same host and port, ws scheme."""
        return self.url.replace("http", "ws", 1)

    def close(self) -> None:
        self._session.close()

    # Transport

    def rpc(self, method: str, *params: Any) -> Any:
        """One call. Raises a ChainError of the kind that fits the node's answer."""
        answer = self._ask(lambda provider: provider.make_request(method, list(params)))
        return self._result(method, answer)

    def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in order; the first error among them is raised."""
        results = self.try_batch(calls)
        for result in results:
            if isinstance(result, ChainError):
                raise result
        return results

    def try_batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in order, a ChainError in the place of each call the node refused.

        Raises only when the whole request failed.
        """
        results: list[Any] = []
        for start in range(0, len(calls), BATCH):
            part = [(method, list(params)) for method, params in calls[start : start + BATCH]]
            answers = self._ask(lambda provider, part=part: provider.make_batch_request(part))
            if not isinstance(answers, list):
                self._result("batch", answers)
            if not isinstance(answers, list) or len(answers) != len(part):
                raise InconsistentAnswer(
                    f"{self.url} answered a batch of {len(part)} calls with "
                    f"{len(answers) if isinstance(answers, list) else 'no list of'} answers."
                )
            for (method, _), answer in zip(part, answers, strict=True):
                try:
                    results.append(self._result(method, answer))
                except ChainError as error:
                    results.append(error)
        return results

    def _ask(self, request: Any) -> Any:
        """The answer of the first node that gives one. Every call may be made twice: reads change
        nothing, and the same signed bytes are one transaction."""
        for last in [False] * (len(self._endpoints.urls) - 1) + [True]:
            self.url = url = self._endpoints.pick()
            try:
                self._check_chain(url)
                answer = self._guarded(lambda url=url: request(self._providers[url]))
            except (NodeUnavailable, NodeTimeout) as error:
                self._endpoints.failed(url)
                if last:
                    raise
                logger.warning("%s Trying the next of CHAIN_RPC_URL.", error)
            else:
                self._endpoints.answered(url)
                return answer
        raise AssertionError("unreachable")

    def _check_chain(self, url: str) -> None:
        """Before a node takes over: does it serve the chain of the one before?"""
        if url in self._checked or self._chain_id is None:
            return
        provider = self._providers[url]
        answer = self._guarded(lambda: provider.make_request(RPCEndpoint("eth_chainId"), []))
        found = quantity("chain id", self._result("eth_chainId", answer))
        if found != self._chain_id:
            raise NodeUnavailable(
                f"{url} serves chain {found}, not {self._chain_id}. Correct CHAIN_RPC_URL."
            )
        self._checked.add(url)

    def _guarded(self, request: Any) -> Any:
        try:
            return request()
        except requests.Timeout as error:
            raise NodeTimeout(
                f"{self.url} did not answer within {self.timeout:g} s. "
                "Check the node's load, or set CHAIN_RPC_URL to another."
            ) from error
        except (requests.ConnectionError, ConnectionError) as error:
            raise NodeUnavailable(
                f"No Ethereum node answers at {self.url} ({_cause(error)}). "
                "Start it (`make up` starts the embedded one) or correct CHAIN_RPC_URL."
            ) from error
        except requests.HTTPError as error:
            raise NodeUnavailable(f"{self.url} answered HTTP {_status(error)}.") from error
        except (requests.RequestException, ValueError, KeyError) as error:
            raise NodeUnavailable(
                f"{self.url} did not answer in JSON-RPC ({type(error).__name__}). "
                "Is CHAIN_RPC_URL the address of an Ethereum node?"
            ) from error

    def _result(self, method: str, answer: Any) -> Any:
        if isinstance(answer, Mapping):
            if answer.get("error"):
                error = answer["error"]
                error = error if isinstance(error, Mapping) else {"message": str(error)}
                raise node_errors.from_rpc(method, error, self.reverts)
            if "result" in answer:
                return answer["result"]
        raise InconsistentAnswer(f"{method}: {self.url} answered neither result nor error.")

    # The chain

    def chain_id(self) -> int:
        """Asked once: a node never changes it while we hold the connection's address."""
        if self._chain_id is None:
            self._chain_id = quantity("chain id", self.rpc("eth_chainId"))
        return self._chain_id

    def identity(self) -> tuple[int, str]:
        """(chain id, genesis hash), asked afresh."""
        chain_id, genesis = self.batch(
            [("eth_chainId", ()), ("eth_getBlockByNumber", ("0x0", False))]
        )
        if genesis is None:
            raise InconsistentAnswer(f"{self.url} has no block 0; the node may still be syncing.")
        self._chain_id = quantity("chain id", chain_id)
        return self._chain_id, parse_header(genesis).hash

    def head(self) -> Header:
        answer = self.rpc("eth_getBlockByNumber", "latest", False)
        if answer is None:
            raise InconsistentAnswer(f"{self.url} has no latest block; it may still be syncing.")
        return parse_header(answer)

    def headers(self, numbers: Iterable[int]) -> list[Header | None]:
        """Headers by number; None where the node has no such block."""
        answers = self.batch([("eth_getBlockByNumber", (hex(n), False)) for n in numbers])
        return [None if answer is None else parse_header(answer) for answer in answers]

    def full_blocks(self, numbers: Sequence[int]) -> list[FullBlock]:
        """Blocks with every transaction and receipt.

        Raises InconsistentAnswer when a block vanished in between or its receipts are not its.
        """
        calls: list[Call] = []
        for number in numbers:
            calls.append(("eth_getBlockByNumber", (hex(number), True)))
            calls.append(("eth_getBlockReceipts", (hex(number),)))
        answers = self.batch(calls)
        blocks = []
        for number, block, receipts in zip(numbers, answers[::2], answers[1::2], strict=True):
            if block is None or receipts is None:
                raise InconsistentAnswer(
                    f"Block {number} vanished from {self.url} while it was read: a reorg."
                )
            blocks.append(parse_full_block(block, receipts))
        return blocks

    def logs(
        self,
        first: int,
        last: int,
        addresses: Sequence[str],
        *,
        topics: Sequence[str | None] | None = None,
    ) -> list[RawLog]:
        """Logs of these contracts in blocks first..last; `topics` by position, None = any.

        Raises RangeTooLarge.
        """
        query: dict[str, Any] = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": list(addresses),
        }
        if topics:
            query["topics"] = list(topics)
        answer = self.rpc("eth_getLogs", query)
        if not isinstance(answer, list):
            raise InconsistentAnswer(f"eth_getLogs: {self.url} gave no list.")
        return [parse_log(entry) for entry in answer]

    def receipts(self, hashes: Sequence[str]) -> list[Receipt | None]:
        """Receipts by transaction hash; None where not mined."""
        answers = self.batch([("eth_getTransactionReceipt", (h,)) for h in hashes])
        return [None if answer is None else parse_receipt(answer) for answer in answers]

    def knows_transactions(self, hashes: Sequence[str]) -> list[bool]:
        """Whether the node has each, mined or waiting."""
        answers = self.batch([("eth_getTransactionByHash", (h,)) for h in hashes])
        return [answer is not None for answer in answers]

    # Accounts and calls

    def nonce(self, address: str) -> int:
        """Transactions of this address mined so far."""
        return quantity("nonce", self.rpc("eth_getTransactionCount", address, "latest"))

    def balance(self, address: str, block: int | str = "latest") -> int:
        """Wei."""
        return quantity("balance", self.rpc("eth_getBalance", address, block_name(block)))

    def code(self, address: str) -> bytes:
        return content("code", self.rpc("eth_getCode", address, "latest"))

    def call(
        self, to: str, data: bytes, *, sender: str | None = None, block: int | str = "latest"
    ) -> bytes:
        """What the contract returns. Raises ContractReverted."""
        request = call_object(to=to, data="0x" + data.hex(), sender=sender)
        return content("eth_call", self.rpc("eth_call", request, block_name(block)))

    def estimate_gas(self, request: Mapping[str, Any]) -> int:
        """Gas the call would use on top of what waits to be mined. Raises ContractReverted."""
        return quantity("gas", self.rpc("eth_estimateGas", dict(request), "pending"))

    def fees(self, head: Header | None = None) -> Fees:
        """What to offer now; `head` saves a call when the latest block is at hand."""
        return Fees(base_fee=(head or self.head()).base_fee, priority_fee=self.priority_fee())

    def priority_fee(self) -> int:
        """Tip in wei per gas; the node's advice, asked at most every PRIORITY_FEE_SECONDS."""
        asked_at, fee = self._priority_fee
        now = time.monotonic()
        if not asked_at or now - asked_at > PRIORITY_FEE_SECONDS:
            fee = quantity("tip", self.rpc("eth_maxPriorityFeePerGas"))
            self._priority_fee = (now, fee)
        return fee

    def send_raw(self, raw_transaction: str) -> str:
        """Broadcast signed bytes (0x-hex); returns the hash. Raises AlreadyKnown, NonceTaken..."""
        return str(self.rpc("eth_sendRawTransaction", raw_transaction))

    def revert_reason(
        self,
        request: Mapping[str, Any],
        block: int,
        gas_used: int,
        gas_limit: int,
        *,
        parent_hash: str,
    ) -> ContractReverted:
        """Why a mined transaction failed: the call replayed on the state before its block, named
        by `parent_hash` (EIP-1898), because a height may mean another block by now.

        Exact when it was the only one of its block, as on the development chain; otherwise an
        earlier transaction of the block may be the cause, and then the reason says so.
        """
        try:
            content("eth_call", self.rpc("eth_call", dict(request), {"blockHash": parent_hash}))
        except ContractReverted as reverted:
            return reverted
        except PermanentError as error:
            if gas_used < gas_limit:
                return ContractReverted(
                    "Reverted",
                    {},
                    f"The contract refused in block {block}; the node cannot replay the call to "
                    f"say why ({error}).",
                )
        if gas_used >= gas_limit:
            return ContractReverted(
                "OutOfGas",
                {"gasLimit": gas_limit},
                f"The transaction used all of its gas limit of {gas_limit} gas.",
            )
        return ContractReverted(
            "Reverted",
            {},
            f"The contract refused in block {block}, yet the same call passes on the state before "
            "it: another transaction of that block came first.",
        )

    def wait_for_receipt(self, tx_hash: str, *, timeout: float = 60.0) -> Receipt:
        """For commands that a person waits for; never inside a request. Raises NodeTimeout."""
        deadline = time.monotonic() + timeout
        pause = 0.01
        while True:
            (receipt,) = self.receipts([tx_hash])
            if receipt is not None:
                return receipt
            if time.monotonic() > deadline:
                raise NodeTimeout(
                    f"Transaction {tx_hash} is not mined after {timeout:g} s. It stays valid: "
                    "look for it later, or check the fee against the network's."
                )
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def call_object(
    *, to: str | None, data: str, sender: str | None = None, value: int = 0
) -> dict[str, Any]:
    """The object eth_call and eth_estimateGas take."""
    request: dict[str, Any] = {"data": data, "value": hex(value)}
    if to:
        request["to"] = to
    if sender:
        request["from"] = sender
    return request


def block_name(block: int | str) -> str:
    return hex(block) if isinstance(block, int) else block


def _cause(error: BaseException) -> str:
    """The innermost reason, such as "Connection refused", without the library's layers."""
    while error.__context__ is not None and not isinstance(error, OSError | TimeoutError):
        error = error.__context__
    text = str(error)
    return "connection refused" if "refused" in text.lower() else text.split("(Caused by")[0][:120]


def _status(error: requests.HTTPError) -> str:
    return str(error.response.status_code) if error.response is not None else "error"


__all__ = ["Call", "ChainClient", "block_name", "call_object", "checksum"]
