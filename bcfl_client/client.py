"""The client: one method for each thing the API offers to people and programs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from eth_hash.auto import keccak

from bcfl_client.desk import Desk
from bcfl_client.errors import ClientError, HashMismatch, TaskStopped
from bcfl_client.reading import read
from bcfl_client.shapes import (
    FLT,
    Call,
    Event,
    Me,
    Network,
    Participant,
    Retracted,
    Reward,
    Round,
    RoundDetail,
    Task,
    TaskChanged,
    TaskDetail,
    Token,
)
from bcfl_client.stream import follow
from bcfl_client.transport import Transport, json_of
from bcfl_client.wallet import account_of, sign_in, signed_message

T = TypeVar("T")
PIECE = 1 << 20


def flt(amount: str | int | Decimal) -> int:
    """FLT as people write it, in wei: ``flt("12.5")``. Raises ClientError below one wei."""
    wei = Decimal(amount) * FLT
    if wei != wei.to_integral_value() or wei < 0:
        raise ClientError(f"{amount} FLT is no whole number of wei (18 decimal places at most).")
    return int(wei)


class Client(Desk):
    """A console at `url`, as the owner of `token` (``bcfl_…``, by default $BCFL_TOKEN).

    Every method raises ApiProblem for a refusal (`detail`, `next_step`, and a subclass for each
    kind) and ConsoleUnreachable when nobody answers. Reads and writes are repeated up to `retries`
    times; a write carries an idempotency key, so that it is done once.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout: float = 30.0,
        retries: int = 5,
        http: httpx.Client | None = None,
    ) -> None:
        self.transport = Transport(
            url,
            token=token or os.environ.get("BCFL_TOKEN", ""),
            timeout=timeout,
            retries=retries,
            http=http,
        )

    @classmethod
    def with_wallet(cls, url: str, key: Any, **options: Any) -> Self:
        """Signed in with an Ethereum key (an eth-account account, bytes or hex), which stays here.

        An address that the console does not know becomes a participant. Signs in again by itself
        when the hour is over.
        """
        client = cls(url, **options)
        account = account_of(key)

        def renew() -> str:
            return str(sign_in(client.transport, account)["token"])

        client.transport.token = renew()
        client.transport.renew = renew
        return client

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def request(
        self, method: str, path: str, body: Any = None, params: Mapping[str, Any] | None = None
    ) -> Any:
        """Any operation of /api/v1/docs: its JSON, its text, or None."""
        answer = self.transport.request(method.upper(), path, body=body, params=params)
        if not answer.content:
            return None
        return json_of(answer) if "json" in answer.headers.get("Content-Type", "") else answer.text

    # --- who and where -------------------------------------------------------------------------

    def me(self) -> Me:
        return read(Me, self.transport.get("/me"))

    def network(self) -> Network:
        return read(Network, self.transport.get("/network"))

    def choices(self) -> dict[str, Any]:
        """Data sets, models, algorithms and their parameters: what `config` may hold."""
        return dict(self.transport.get("/choices"))

    def tokens(self) -> tuple[Token, ...]:
        return tuple(read(Token, row) for row in self.transport.get("/me/tokens"))

    def create_token(self, name: str, *, scope: str = "read", days: int | None = None) -> Token:
        """Its text is in `token`, this once."""
        body = {"name": name, "scope": scope, "days": days}
        return read(Token, self.transport.post("/me/tokens", body))

    def revoke_token(self, token_id: int) -> None:
        self.transport.request("DELETE", f"/me/tokens/{token_id}")

    def change_profile(self, *, first_name: str | None = None, last_name: str | None = None) -> Me:
        """None: as it is."""
        body = {"first_name": first_name, "last_name": last_name}
        return read(Me, json_of(self.transport.request("PATCH", "/me", body=body)))

    def sessions(self) -> list[dict[str, Any]]:
        """Where one is signed in on the pages."""
        return list(self.transport.get("/me/sessions"))

    def end_session(self, session_id: int) -> None:
        self.transport.request("DELETE", f"/me/sessions/{session_id}")

    def end_sessions(self) -> int:
        """Signed out of every page; how many sessions that were."""
        return int(json_of(self.transport.request("DELETE", "/me/sessions"))["ended"])

    def link_wallet(self, key: Any, label: str = "") -> dict[str, Any]:
        """Another wallet of one's own. Only for a client that is signed in `with_wallet`: an API
        token may not link one."""
        body = {**signed_message(self.transport, account_of(key)), "label": label}
        return dict(self.transport.post("/me/wallets", body))

    def unlink_wallet(self, address: str) -> None:
        """Its tokens end with it, this client's too if it is signed in with that wallet."""
        self.transport.request("DELETE", f"/me/wallets/{address}")

    # --- tasks ---------------------------------------------------------------------------------

    def tasks(self, show: str = "all") -> Iterator[Task]:
        """Newest first. `show`: all, running, drafts or ended."""
        return self._pages(Task, "/tasks", {"show": show})

    def task(self, task_id: int) -> TaskDetail:
        return read(TaskDetail, self.transport.get(f"/tasks/{task_id}"))

    def create_task(
        self,
        title: str,
        *,
        pool: int,
        config: Mapping[str, Any] | None = None,
        stake: int = 0,
        **terms: Any,
    ) -> TaskDetail:
        """A draft. `pool` and `stake` (each) in wei; `config` as in `choices()`, and `terms` such
        as hosted_places, min_participants, evaluators, update_seconds."""
        body = {
            "title": title,
            "pool": str(pool),
            "stake": str(stake),
            "config": dict(config or {}),
            **terms,
        }
        return read(TaskDetail, self.transport.post("/tasks", body))

    def change_task(self, task_id: int, **changes: Any) -> TaskDetail:
        """Of a draft: title, config, pool, stake (wei), hosted_places, min_participants."""
        for name in ("pool", "stake"):
            if changes.get(name) is not None:
                changes[name] = str(changes[name])
        answer = self.transport.request("PATCH", f"/tasks/{task_id}", body=changes)
        return read(TaskDetail, json_of(answer))

    def launch(self, task_id: int) -> TaskDetail:
        """Prepare the model, put the pool in escrow, open the task."""
        return read(TaskDetail, self.transport.post(f"/tasks/{task_id}/launch"))

    def begin(self, task_id: int) -> Call:
        """Begin an open task with those who have joined."""
        return read(Call, self.transport.post(f"/tasks/{task_id}/start"))

    def cancel(self, task_id: int) -> Call | None:
        """End a task early; None for a draft, which is deleted."""
        answer = self.transport.post(f"/tasks/{task_id}/cancel")
        return read(Call, answer["call"]) if answer["call"] else None

    def clone(self, task_id: int) -> TaskDetail:
        return read(TaskDetail, self.transport.post(f"/tasks/{task_id}/clone"))

    def claim(self, task_id: int, address: str | None = None) -> tuple[Call, ...]:
        """Pay out what hosted participants have earned: `address`, or all that you may."""
        answer = self.transport.post(f"/tasks/{task_id}/claim", {"address": address})
        return tuple(read(Call, row) for row in answer["calls"])

    def wait(
        self,
        task_id: int,
        states: tuple[str, ...] = ("completed",),
        *,
        timeout: float | None = None,
    ) -> TaskDetail:
        """Until the task is in one of `states`, woken by its events. Raises TimeoutError, and
        TaskStopped, which says why, when it has ended in another."""
        ends = None if timeout is None else time.monotonic() + timeout
        task = self._waited_for(task_id, states)
        if task.state in states:
            return task
        for _ in self.events(task=task_id, changes=True):
            task = self._waited_for(task_id, states)
            if task.state in states:
                return task
            if ends is not None and time.monotonic() > ends:
                raise TimeoutError(
                    f"Task {task_id} is {task.state} after {timeout:g} s: {task.now}"
                )
        raise AssertionError("a stream has no end")

    def _waited_for(self, task_id: int, states: tuple[str, ...]) -> TaskDetail:
        task = self.task(task_id)
        if task.ended and task.state not in states:
            why = " ".join(f"{fault.cause} {fault.next_step}" for fault in task.faults) or task.now
            wanted = " or ".join(states)
            raise TaskStopped(f"Task {task_id} is {task.state}, not {wanted}: {why}", task.state)
        return task

    # --- one task's parts ----------------------------------------------------------------------

    def participants(self, task_id: int) -> Iterator[Participant]:
        return self._pages(Participant, f"/tasks/{task_id}/participants")

    def rounds(self, task_id: int) -> Iterator[Round]:
        """Newest first."""
        return self._pages(Round, f"/tasks/{task_id}/rounds")

    def round(self, task_id: int, number: int) -> RoundDetail:
        """With its updates, scores and rewards."""
        return read(RoundDetail, self.transport.get(f"/tasks/{task_id}/rounds/{number}"))

    def rewards(self, task_id: int) -> Iterator[Reward]:
        return self._pages(Reward, f"/tasks/{task_id}/rewards")

    def reward(self, task_id: int, address: str) -> Reward:
        return read(Reward, self.transport.get(f"/tasks/{task_id}/rewards/{address}"))

    def series(self, task_id: int) -> dict[str, Any]:
        """Numbers over rounds, as the charts draw them."""
        return dict(self.transport.get(f"/tasks/{task_id}/series"))

    def quote(self, task_id: int) -> dict[str, Any]:
        """Gas by call, and what it costs at today's fee."""
        return dict(self.transport.get(f"/tasks/{task_id}/quote"))

    def config(self, task_id: int, config_hash: str) -> bytes:
        """The configuration's bytes. `config_hash` is what the chain says: read it there, not
        from this console. Raises HashMismatch."""
        data = self.transport.request("GET", f"/tasks/{task_id}/config").content
        return _checked(data, config_hash)

    # --- events ----------------------------------------------------------------------------------

    def events(
        self, *, task: int | None = None, after: int = 0, changes: bool = False
    ) -> Iterator[Event | Retracted | TaskChanged]:
        """Every event after number `after`, then each as it happens, without an end.

        A lost connection is made anew and nothing is missed. `Retracted` says that a reorg has
        taken events back. `changes`: also what changes without an event (TaskChanged).
        """
        for found in follow(self.transport, task=task, after=after):
            if found is not None and (changes or not isinstance(found, TaskChanged)):
                yield found

    def past_events(self, *, task: int | None = None, after: int = 0) -> Iterator[Event]:
        """Those that stand now."""
        cursor = str(after)
        while True:
            page = self.transport.get("/events", {"task": task, "after": cursor})
            if not page["items"]:
                return
            for row in page["items"]:
                yield read(Event, row)
            cursor = page["next"]

    def _newest(self, task: int) -> int:
        last = 0
        for event in self.past_events(task=task):
            last = event.seq
        return last

    # --- ledger and models -----------------------------------------------------------------------

    def ledger(self, kind: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Rows of blocks, transactions, events, transfers, holders or outbox, newest first.

        Filters: contract, function, event, status, state, task, address, from_block, to_block.
        """
        return self.rows(f"/ledger/{kind}", **filters)

    def contract(self, name: str) -> dict[str, Any]:
        """FLToken or FLCoordinator: address, ABI, source hash."""
        return dict(self.transport.get(f"/ledger/contracts/{name}"))

    def call(self, call_id: int) -> Call:
        """What has become of a launch, a claim, a cancellation."""
        return read(Call, self.transport.get(f"/ledger/outbox/{call_id}"))

    def retry(self, call_id: int) -> Call:
        """Send a failed one again."""
        return read(Call, self.transport.post(f"/ledger/outbox/{call_id}/retry"))

    def models(self) -> Iterator[dict[str, Any]]:
        return self.rows("/models")

    def predict(self, model_id: int, body: Mapping[str, Any]) -> Any:
        """`body` as POST /models/{id}/predict takes it."""
        return self.request("POST", f"/models/{model_id}/predict", dict(body))

    def download_model(
        self, model_id: int, version: int, to: str | Path, *, model_hash: str
    ) -> Path:
        """The weights as safetensors, checked against `model_hash` (read it from the chain) before
        the file appears under its name. Raises HashMismatch."""
        path = f"/models/{model_id}/versions/{version}/files/safetensors"
        return self.download(path, to, model_hash)

    def download(self, path: str, to: str | Path, content_hash: str) -> Path:
        """A file of the API whose keccak256 is `content_hash`, written only when it is."""
        target = Path(to)
        partial = target.with_name(f".{target.name}.part")
        digest = keccak.new(b"")
        try:
            with (
                self.transport.stream(path, headers={"Accept": "*/*"}, timeout=60.0) as answer,
                partial.open("wb") as file,
            ):
                for piece in answer.iter_bytes(PIECE):
                    digest.update(piece)
                    file.write(piece)
            found = "0x" + digest.digest().hex()
            if found != content_hash.lower():
                raise HashMismatch(
                    f"{path} has the hash {found}, not {content_hash}: it was changed on the way "
                    "or at the console. Nothing was kept."
                )
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def _pages(
        self, kind: type[T], path: str, params: Mapping[str, Any] | None = None
    ) -> Iterator[T]:
        for row in self.rows(path, **(params or {})):
            yield read(kind, row)


def _checked(data: bytes, content_hash: str) -> bytes:
    found = "0x" + keccak(data).hex()
    if found != content_hash.lower():
        raise HashMismatch(f"The bytes have the hash {found}, not {content_hash}.")
    return data
