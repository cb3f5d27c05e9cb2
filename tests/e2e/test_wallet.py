"""A person with a wallet of their own: a real key, a real chain, a real browser.

The wallet is injected into the page (EIP-6963 and EIP-1193); what it is asked for goes to this
process, which signs with eth-account and sends to Anvil. No key and no signature is made up.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from eth_account import Account as Signer
from eth_account.messages import encode_defunct, encode_typed_data
from eth_account.signers.local import LocalAccount
from playwright.sync_api import Locator, Page, Route, expect
from pytest_django import Settings

from bcfl_site.embedded.anvil import Anvil
from bcfl_site.embedded.redis import Redis
from chain.accounts import account_derive, derived
from chain.artifacts import COORDINATOR, TOKEN, load
from chain.calls import decode_result, encode_call
from chain.network import client_current, network_current
from chain.selectors import contract_address
from chain.sync import Follower
from sessions_app.models import Participant, Task, User, Wallet
from sessions_app.projection.tables import TaskProjection
from sessions_app.rewards import reward_root
from tests import factories
from tests.chain.conftest import on_chain
from tests.e2e.conftest import Console, OpenPage, aside, sign_in
from tests.e2e.test_accessibility import in_every_look

FLT = factories.FLT
TREASURY = derived(0)
STAKE, POOL = 10 * FLT, 90 * FLT
SOON = 20_000  # ms, for what several processes must do
INJECTED = Path(__file__).with_name("wallet_in_page.js")


class TestWallet:
    """Answers as a wallet does. ``chain_id`` is what it is switched to; it knows only chain 1
    until another is added; ``refuse`` makes its owner say no."""

    __test__ = False

    def __init__(self, key: LocalAccount, anvil: Anvil) -> None:
        self.key, self.anvil = key, anvil
        self.chain_id = 1
        self.chains = {1}
        self.allowed = False
        self.refuse = False
        self.asked: list[str] = []
        self.lie: Callable[[str, Any], Any] | None = None

    def install(self, page: Page) -> None:
        page.expose_function("testWallet", self.answer)
        page.add_init_script(INJECTED.read_text())

    def answer(self, method: str, params: list[Any]) -> dict[str, Any]:
        self.asked.append(method)
        handler = getattr(self, f"on_{method}", None)
        try:
            result = handler(*params) if handler else self.anvil.rpc(method, *params)
        except Refused as error:
            return {"error": {"code": error.code, "message": error.message}}
        return {"result": self.lie(method, result) if self.lie else result}

    def _consent(self) -> None:
        if self.refuse:
            raise Refused(4001, "User rejected the request.")

    def on_eth_requestAccounts(self) -> list[str]:
        self._consent()
        self.allowed = True
        return [self.key.address]

    def on_eth_accounts(self) -> list[str]:
        return [self.key.address] if self.allowed else []

    def on_eth_chainId(self) -> str:
        return hex(self.chain_id)

    def on_wallet_switchEthereumChain(self, chain: dict[str, str]) -> None:
        wanted = int(chain["chainId"], 16)
        if wanted not in self.chains:
            raise Refused(4902, "Unrecognized chain ID.")
        self._consent()
        self.chain_id = wanted

    def on_wallet_addEthereumChain(self, chain: dict[str, Any]) -> None:
        self._consent()
        assert chain["rpcUrls"] == [self.anvil.rpc_url]
        self.chains.add(int(chain["chainId"], 16))
        self.chain_id = int(chain["chainId"], 16)

    def on_personal_sign(self, data: str, address: str) -> str:
        self._consent()
        assert address == self.key.address
        return "0x" + self.key.sign_message(encode_defunct(hexstr=data)).signature.hex()

    def on_eth_signTypedData_v4(self, address: str, typed: str) -> str:
        self._consent()
        signed = self.key.sign_message(encode_typed_data(full_message=json.loads(typed)))
        return "0x" + signed.signature.hex()

    def on_eth_sendTransaction(self, sent: Mapping[str, str]) -> str:
        self._consent()
        assert sent["from"] == self.key.address
        return send(self.key, sent["to"], bytes.fromhex(sent["data"][2:]), self.chain_id)


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def send(key: LocalAccount, to: str, data: bytes, chain_id: int = 31337) -> str:
    client = client_current()
    transaction = {
        "to": to,
        "data": "0x" + data.hex(),
        "value": 0,
        "gas": 500_000,
        "nonce": client.nonce(key.address),
        "chainId": chain_id,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 10**9,
    }
    return client.send_raw("0x" + key.sign_transaction(transaction).raw_transaction.hex())


def call(key: LocalAccount, contract: str, function: str, *args: Any) -> None:
    """One call, mined at once; fails the test when the contract refuses it."""
    tx = send(key, contract_address(contract), encode_call(load(contract).abi, function, args))
    assert client_current().wait_for_receipt(tx).succeeded, function


def read(contract: str, function: str, *args: Any) -> Any:
    abi = load(contract).abi
    data = client_current().call(contract_address(contract), encode_call(abi, function, args))
    return next(iter(decode_result(abi, function, len(args), data).values()))


class World:
    """Anvil with our contracts, the follower writing what happens there, and an open task with
    one place, of which the test plays operator and evaluator."""

    def __init__(self, anvil: Anvil) -> None:
        on_chain(anvil)
        account_derive(label="Treasury", kind="deployer", index=0)
        self.anvil = anvil
        self.task = factories.draft(
            factories.user("operator"), participants=1, rounds=1, pool=POOL, stake=STAKE
        )
        self.task.hosted_places = 0
        self.task.save()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._following = self._pool.submit(self._follow)
        call(TREASURY, TOKEN, "approve", contract_address(COORDINATOR), POOL)
        call(TREASURY, COORDINATOR, "createTask", self._params())
        self.wait(lambda: Task.objects.get(pk=self.task.pk).onchain_id is not None)
        self.task.refresh_from_db()

    def _params(self) -> dict[str, Any]:
        return {
            "configHash": self.task.config_hash,
            "modelHash": factories.hash_of("model"),
            "pool": POOL,
            "stake": STAKE,
            "rounds": 1,
            "minParticipants": 1,
            "maxParticipants": 1,
            "quorum": 1,
            "rewardMode": 2,
            "joinSeconds": 3600,
            "updateSeconds": 600,
            "scoreSeconds": 600,
            "aggregateSeconds": 600,
            "evaluators": [TREASURY.address],
        }

    def _follow(self) -> None:
        try:
            Follower(client_current(), network_current(), TaskProjection()).run(self._stop)
        finally:
            connections.close_all()

    def wait(self, until: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(400):
            if aside(until):
                return
            pause.wait(0.05)
        raise AssertionError(f"not within 20 s: {self._following}")

    def wallet(self, *, flt: int = 100 * FLT) -> TestWallet:
        key: LocalAccount = Signer.create()
        self.anvil.rpc("anvil_setBalance", key.address, hex(10**18))
        if flt:
            call(TREASURY, TOKEN, "transfer", key.address, flt)
        return TestWallet(key, self.anvil)

    def play_the_round(self, key: LocalAccount) -> None:
        """Start, one update, its score, and the result that pays it: the whole pool."""
        number = self.task.onchain_id
        assert number is not None
        call(TREASURY, COORDINATOR, "start", number)
        call(key, COORDINATOR, "submitUpdate", number, 1, factories.hash_of("update"), 40)
        call(TREASURY, COORDINATOR, "submitScores", number, 1, (912_340).to_bytes(4, "big"))
        root = reward_root(number, {key.address: POOL})
        model = factories.hash_of("model", 1)
        call(TREASURY, COORDINATOR, "submitAggregate", number, 1, model, root, 912_340)
        self.wait(lambda: Task.objects.get(pk=self.task.pk).phase == Task.Phase.COMPLETED)

    def stop(self) -> None:
        self._stop.set()
        self._following.result(30)
        self._pool.shutdown()


@pytest.fixture
def chain_of_the_console(
    fresh_anvil: Anvil, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Anvil:
    """What a console asks that is started after this."""
    monkeypatch.setenv("CHAIN_RPC_URL", fresh_anvil.rpc_url)
    settings.CHAIN_POLL_SECONDS = 0.1
    return fresh_anvil


@pytest.fixture
def world(chain_of_the_console: Anvil, console: Console, redis_server: Redis) -> Iterator[World]:
    made = aside(lambda: World(chain_of_the_console))
    yield made
    made.stop()


def wallet_page(world: World, console: Console, open_page: OpenPage, wallet: TestWallet) -> Page:
    page = open_page(console.url)
    wallet.install(page)
    return page


def enter(button: Locator) -> None:
    """Pressed without a mouse."""
    button.focus()
    button.page.keyboard.press("Enter")


def switched(wallet: TestWallet) -> TestWallet:
    wallet.chains.add(31337)
    wallet.chain_id = 31337
    return wallet


def test_the_whole_way_with_ones_own_key(
    world: World, console: Console, open_page: OpenPage
) -> None:
    """Signing in, joining, claiming and taking the stake back are pressed by keyboard."""
    wallet = world.wallet()
    page = wallet_page(world, console, open_page, wallet)
    pk = world.task.pk

    # Signing in: the wallet does not know the chain, is offered it, and signs one message.
    page.goto(f"/sign-in/?next=/tasks/{pk}/join/")
    enter(page.get_by_role("button", name="Sign in with Test Wallet"))
    page.wait_for_url(f"{console.url}/tasks/{pk}/join/")
    assert wallet.asked.count("personal_sign") == 1
    assert wallet.asked.index("wallet_switchEthereumChain") < wallet.asked.index(
        "wallet_addEthereumChain"
    )
    user = aside(lambda: Wallet.objects.get(address=wallet.key.address).user)
    assert user.role == User.Role.PARTICIPANT

    # Wrong network: nothing is offered until it is switched.
    flow = page.locator("#wallet-flow")
    wallet.chain_id = 1
    page.reload()
    expect(flow).to_contain_text("Wrong network")
    expect(flow.get_by_role("button", name="join")).to_have_count(0)
    wrong = in_every_look(page, "wrong network")
    enter(flow.get_by_role("button", name="Switch to BCFL dev chain"))
    expect(flow).to_contain_text("linked to you")
    expect(page.locator("main")).to_contain_text("You put 10 FLT at stake")
    expect(page.locator("main")).to_contain_text("matches chain")
    expect(page.locator("main")).to_contain_text(f"bcfl-agent join {console.url} --task {pk}")

    # Joining: a number first, then a permit, then one transaction, read before it is signed.
    enter(flow.get_by_role("button", name="Sign a permit and join"))
    expect(flow).to_contain_text("a whole number from 1")
    flow.get_by_label("Most samples in a round").fill("40")
    enter(flow.get_by_role("button", name="Sign a permit and join"))
    expect(flow).to_contain_text("joinWithPermit")
    expect(flow).to_contain_text("40 samples")
    expect(flow).to_contain_text("ETH")
    expect(flow.locator(":focus")).to_have_count(1)  # who uses no mouse is taken along
    wrong |= in_every_look(page, "join review")
    wallet.refuse = True
    enter(flow.get_by_role("button", name="Sign in Test Wallet"))
    expect(flow).to_contain_text("You refused it in Test Wallet. Nothing was sent.")
    wallet.refuse = False
    world.anvil.rpc("evm_setAutomine", False)
    enter(flow.get_by_role("button", name="Sign in Test Wallet"))
    expect(flow).to_contain_text("Waiting to be mined")
    wrong |= in_every_look(page, "join sent")

    # Nothing is lost on a reload.
    page.reload()
    expect(flow).to_contain_text("Waiting to be mined")
    world.anvil.rpc("evm_setAutomine", True)
    world.anvil.rpc("anvil_mine", "0x1")
    expect(flow).to_contain_text("Written into the console", timeout=SOON)
    assert read(COORDINATOR, "member", world.task.onchain_id, wallet.key.address)["stake"] == STAKE
    enter(flow.get_by_role("button", name="Continue"))
    expect(flow).to_contain_text("Start the agent")
    assert page.evaluate("sessionStorage.getItem('bcfl.pending')") == "[]"

    # The round pays; the reward is claimed and the stake taken back from the rewards page.
    aside(lambda: world.play_the_round(wallet.key))
    page.goto("/rewards/")
    expect(page.locator("main")).to_contain_text("You can claim 90 FLT from 1 task")
    enter(page.get_by_role("button", name="Claim 90 FLT"))
    expect(flow).to_contain_text("cumulativeAmount")
    expect(flow).to_contain_text("90 FLT")
    enter(flow.get_by_role("button", name="Sign in Test Wallet"))
    expect(flow).to_contain_text("Written into the console", timeout=SOON)
    assert read(TOKEN, "balanceOf", wallet.key.address) == 180 * FLT
    enter(page.get_by_role("button", name="Take the stake of"))
    enter(flow.get_by_role("button", name="Sign in Test Wallet"))
    expect(flow).to_contain_text("Written into the console", timeout=SOON)
    assert read(TOKEN, "balanceOf", wallet.key.address) == 190 * FLT
    member = aside(lambda: Participant.objects.get(task=world.task))
    assert (member.claimed, member.stake_returned) == (POOL, STAKE)

    # Why: every step holds, by the server's node and by the wallet's own.
    page.goto(f"/rewards/{pk}/1/{wallet.key.address}/")
    check = page.locator("#check")
    expect(check.locator("[data-verdict]")).to_have_text("Holds")
    states = check.locator("[data-steps] > li")
    assert {s.get_attribute("data-state") for s in states.all()} == {"ok"}
    expect(check).to_contain_text("by Test Wallet")
    wrong |= in_every_look(page, "why")

    # A wallet whose node tells another root is not believed in silence.
    def another_root(method: str, result: Any) -> Any:
        if method != "eth_call":
            return result
        at = 2 + 64 * 5  # the sixth word is the root
        return f"{result[:at]}deadbeef{result[at + 8 :]}"

    wallet.lie = another_root
    page.reload()
    expect(check.locator("[data-verdict]")).to_have_text("Does not hold")
    bad = check.locator('[data-steps] > [data-state="bad"]')
    expect(bad).to_have_count(1)
    expect(bad).to_contain_text("asked through your wallet")
    expect(bad).to_contain_text("The root on chain is 0xdeadbeef")
    wallet.lie = None

    def refused_steps() -> list[str]:
        expect(check.locator("[data-verdict]")).to_have_text("Does not hold")
        return [item.split("\n")[0] for item in bad.all_inner_texts()]

    # A server that tells another root, a changed amount, a changed score: each is seen.
    lie = json.dumps({"root": factories.hash_of("a lie"), "how": "task(1)", "block": None})
    page.route("**/root.json", lambda route: route.fulfill(body=lie))
    page.reload()
    assert refused_steps() == ["The root on chain, asked through this server"]
    expect(bad).to_contain_text(factories.hash_of("a lie"))
    page.unroute("**/root.json")
    page.reload()
    expect(check.locator("[data-verdict]")).to_have_text("Holds")
    check.get_by_text("Try to cheat").click()
    check.get_by_label("Earned so far, in wei").fill(str(POOL + 1))
    check.get_by_role("button", name="Check this amount").click()
    assert refused_steps()[0] == "Earned before + this round = amount in the leaf"
    assert len(refused_steps()) == 5
    check.get_by_role("button", name="Restore").click()
    expect(check.locator("[data-verdict]")).to_have_text("Holds")

    def another_score(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer, body=answer.text().replace('"score": 912340', '"score": 912341')
        )

    page.route(f"**/1/{wallet.key.address}/", another_score)
    page.reload()
    assert refused_steps() == ["The scores' medians are those shown"]
    expect(bad).to_contain_text("is 912341, but the numbers give 912340")
    assert {look: found for look, found in wrong.items() if found} == {}


def test_a_tampered_or_replayed_message_signs_nobody_in(
    world: World, console: Console, open_page: OpenPage
) -> None:
    wallet = switched(world.wallet(flt=0))
    page = wallet_page(world, console, open_page, wallet)
    seen: list[str] = []

    def tampered(route: Route) -> None:
        sent = route.request.post_data_json
        seen.append(route.request.post_data or "")
        sent["message"] = sent["message"].replace("This sends no", "This sends a")
        route.continue_(post_data=json.dumps(sent))

    page.route("**/wallet/sign-in/", tampered)
    page.goto("/sign-in/")
    button = page.get_by_role("button", name="Sign in with Test Wallet")
    button.click()
    note = page.locator("[data-wallet-note]")
    expect(note).to_contain_text("The signature is not one of")
    page.unroute("**/wallet/sign-in/")

    wallet.refuse = True
    button.click()
    expect(note).to_contain_text("You refused it in Test Wallet.")
    wallet.refuse = False

    # The untouched message counts once; sent again by somebody who has seen it, it is refused.
    with page.expect_request("**/wallet/sign-in/") as asked:
        button.click()
    page.wait_for_url(f"{console.url}/", timeout=SOON)
    page.locator("summary[aria-label*='account menu']").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in/**")
    replay = """async (body) => {
        const token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
        const headers = {"Content-Type": "application/json", "X-CSRFToken": token};
        const answer = await fetch("/wallet/sign-in/", {method: "POST", headers, body});
        return {status: answer.status, ...(await answer.json())};
    }"""
    said = page.evaluate(replay, asked.value.post_data)
    assert said["status"] == 400
    assert said["reason"] == "nonce"
    assert "used already" in said["error"]
    page.goto("/rewards/")
    assert "/sign-in/" in page.url


def test_a_call_that_would_fail_is_told_before_it_is_signed(
    world: World, console: Console, open_page: OpenPage
) -> None:
    """A poor wallet, not linked to the person: the decoded reason, and no way to sign."""
    wallet = switched(world.wallet(flt=3 * FLT))
    page = wallet_page(world, console, open_page, wallet)
    aside(lambda: factories.user("participant"))
    sign_in(page, "eastfield")
    page.goto(f"/tasks/{world.task.pk}/join/")
    flow = page.locator("#wallet-flow")
    flow.get_by_role("button", name="Connect Test Wallet").click()
    expect(flow).to_contain_text("Too little FLT for the stake")
    expect(flow).to_contain_text("not linked")
    flow.get_by_label("Most samples in a round").fill("40")
    flow.get_by_role("button", name="Sign a permit and join").click()
    expect(flow).to_contain_text("The contract would refuse this now")
    expect(flow).to_contain_text("3 FLT")
    expect(flow.get_by_role("button", name="Sign in Test Wallet")).to_have_count(0)
    assert "eth_sendTransaction" not in wallet.asked

    # Linked in Settings by a signature; another person cannot take the same wallet.
    page.goto("/settings/")
    page.get_by_role("button", name="Link Test Wallet").click()
    expect(page.locator("#wallets")).to_contain_text(wallet.key.address[:6])
    owner = aside(lambda: Wallet.objects.get(address=wallet.key.address).user.username)
    assert owner == "eastfield"
