"""The console's API as an agent uses it: terms, files, uploads, signatures to relay.

All that leaves this machine for the console goes through here, and the rows of one's data are
not among the arguments of any function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from agent.errors import ConsoleLies, WrongToken
from bcfl_client.errors import ConsoleUnreachable
from bcfl_client.transport import Transport
from training.blobs import BlobStore
from training.canonical import keccak_hex

PIECE = 1 << 20  # bytes of a file in one request
DOWNLOADS = 3  # whole tries of a file whose bytes hash to something else
Moved = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Terms:
    """What the console says of a task. `agent.checks` compares it with the chain."""

    task: int
    title: str
    onchain_id: int
    chain_id: int
    genesis_hash: str
    coordinator: str
    created_block: int
    config: Mapping[str, Any]
    stake: int
    slot: int | None
    rpc_url: str
    relays: bool


class Console:
    """Signed in with a wallet's key, which stays here; or, for an account with a second factor,
    with an API token of the account that the wallet is linked to."""

    def __init__(
        self,
        url: str,
        task: int,
        signer: LocalAccount,
        *,
        token: str = "",
        http: httpx.Client | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.task = task
        self.token = token
        self._signer = signer
        # The account behind a token may have several wallets: say for which one we speak.
        headers = {"Wallet": signer.address} if token else {}
        self._transport = Transport(self.url, token=token, http=http, retries=3, headers=headers)
        if not token:
            self._transport.renew = self.sign_in

    def close(self) -> None:
        self._transport.close()

    def sign_in(self) -> str:
        """A token for a Sign-In with Ethereum message (EIP-4361) of this very console."""
        asked = self._transport.post(
            "/auth/message", {"address": self._signer.address}, signed_in=False
        )
        message = str(asked["message"])
        host = urlsplit(self.url).netloc
        if not message.startswith(f"{host} wants you to sign in with your Ethereum account:\n"):
            raise ConsoleLies(
                f"{self.url} asks for a signature that signs in at another place: "
                f"{message.splitlines()[0][:120]!r}. Nothing was signed."
            )
        signed = self._signer.sign_message(encode_defunct(text=message))
        answer = self._transport.post(
            "/auth/wallet",
            {"message": message, "signature": "0x" + bytes(signed.signature).hex()},
            signed_in=False,
        )
        return str(answer["token"])

    def check_token(self, *, writes: bool) -> None:
        """Before anything is sent: is the token of the key's own account, and may it do enough?

        Raises WrongToken. A wallet's own signature needs no such check.
        """
        if not self.token:
            return
        me = self._transport.get("/me")
        mine = {wallet["address"] for wallet in me["wallets"]} | {me["hosted_address"]}
        if self._signer.address not in mine:
            raise WrongToken(
                f"The API token is of {me['username']}, whose account has no wallet "
                f"{self._signer.address}. Link the wallet to that account under Settings, or leave "
                "out --token (and BCFL_TOKEN) to sign in with the wallet. Nothing was sent."
            )
        if writes and me["scope"] != "write":
            raise WrongToken(
                "The API token may only read, but taking part uploads updates. Make one with the "
                "scope “write” under Settings. Nothing was sent."
            )

    def terms(self) -> Terms:
        said = self._get("/terms")
        return Terms(
            task=self.task,
            title=str(said["title"]),
            onchain_id=int(said["onchain_id"]),
            chain_id=int(said["chain_id"]),
            genesis_hash=str(said["genesis_hash"]),
            coordinator=str(said["coordinator"]),
            created_block=int(said["created_block"]),
            config=said["config"],
            stake=int(said["stake"]),
            slot=said["slot"],
            rpc_url=str(said["rpc_url"]),
            relays=bool(said["relays"]),
        )

    def fetch(self, ref: str, blobs: BlobStore, moved: Moved | None = None) -> None:
        """Bring a file into `blobs`, going on where a broken download ended.

        Raises ConsoleLies when its bytes hash to something else, DOWNLOADS times.
        """
        if blobs.exists(ref):
            return
        part = blobs.root / "parts" / f"{ref[2:]}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        found = ""
        for _ in range(DOWNLOADS):
            self._download(ref, part, moved)
            data = part.read_bytes()
            part.unlink()
            found = keccak_hex(data)
            if found == ref:
                blobs.put(data)
                return
        raise ConsoleLies(
            f"{self.url} serves bytes that hash to {found} where the chain says {ref}: a tampered "
            "model or update. Nothing was trained on it or sent; your stake stays yours. Tell the "
            "task's operator."
        )

    def published(self, number: int) -> dict[str, str]:
        """Participant -> content hash ("" where the bytes were never published); once closed."""
        said = self._get(f"/rounds/{number}/updates")
        return {str(row["participant"]): str(row["content_hash"]) for row in said}

    def upload(self, number: int, data: bytes, moved: Moved | None = None) -> None:
        """Send an update's bytes; what has arrived before is not sent again."""
        path = f"/tasks/{self.task}/rounds/{number}/upload"
        announced = {"content_hash": keccak_hex(data), "size": len(data)}
        state = self._transport.post(path, announced)
        while not state["complete"]:
            at = int(state["received"])
            piece = data[at : at + PIECE]
            state = self._transport.request(
                "PATCH",
                path,
                params={"offset": str(at)},
                content=piece,
                headers={"Content-Type": "application/octet-stream"},
            ).json()
            if state.get("problem"):
                raise ConsoleUnreachable(f"The upload came damaged: {state['problem']}")
            if moved is not None:
                moved(int(state["received"]), len(data))

    def hand_in(self, number: int, update_hash: str, samples: int, signature: str) -> None:
        """A signed update for the console to submit."""
        body = {"update_hash": update_hash, "samples": samples, "signature": signature}
        self._transport.post(f"/tasks/{self.task}/rounds/{number}/signed", body)

    def _get(self, path: str) -> Any:
        return self._transport.get(f"/tasks/{self.task}{path}")

    def _download(self, ref: str, part: Any, moved: Moved | None) -> None:
        path = f"/tasks/{self.task}/blobs/{ref}"
        with part.open("ab") as file:
            while True:
                at = file.tell()
                answer = self._transport.request(
                    "GET", path, headers={"Range": f"bytes={at}-{at + PIECE - 1}"}
                )
                file.write(answer.content)
                file.flush()
                total = re.fullmatch(
                    r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", "")
                )
                if total is None:  # all of it at once
                    return
                if moved is not None:
                    moved(file.tell(), int(total[1]))
                if file.tell() >= int(total[1]) or not answer.content:
                    return
