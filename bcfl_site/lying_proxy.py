"""A proxy in front of an Ethereum node that fails and lies, as nodes and their balancers do.

For simulations only. Faults come from a seeded generator, one draw for each request.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

FAULTS = ("error", "http", "hang up", "slow", "stale", "empty", "short")
PATIENCE = 0.4  # seconds a slow answer takes; the simulation's client waits less


class LyingProxy:
    """`with LyingProxy(port, seed) as proxy`: talk to `proxy.url`.

    `rate`: the share of requests that go wrong, 0 to begin with. `seen` counts the faults.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.rate = 0.0
        self.seen: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._lock = threading.Lock()
        self._old: dict[str, bytes] = {}  # request without its ids -> an earlier answer
        self._node = port
        self._server: ThreadingHTTPServer | None = None  # while it is entered

    @property
    def url(self) -> str:
        assert self._server is not None, "only inside its with block"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def _draw(self) -> str:
        with self._lock:
            fault = self._random.choice(FAULTS) if self._random.random() < self.rate else ""
            if fault:
                self.seen[fault] += 1
            return fault

    def answer(self, body: bytes) -> tuple[int, bytes] | None:
        """Status and body; None to hang up."""
        fault = self._draw()
        request = json.loads(body)
        if fault == "hang up":
            return None
        if fault == "http":
            return 502, b"Bad Gateway"
        if fault == "slow":
            time.sleep(PATIENCE)
        if fault == "error":
            return 200, _each(request, lambda call: {"error": {"code": -32603, "message": "busy"}})
        key = json.dumps(_without_ids(request))
        if fault == "stale" and key in self._old:
            return 200, _with_ids(self._old[key], request)
        true = self._ask(body)
        if fault == "empty":
            return 200, _each(request, lambda call: {"result": _empty(call["method"])})
        if fault == "short" and isinstance(request, list):
            return 200, json.dumps(_without_logs(json.loads(true))).encode()
        # The first answer is kept for as long as the run lasts: as stale as can be.
        self._old.setdefault(key, true)
        return 200, true

    def _ask(self, body: bytes) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._node, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                found = proxy.answer(body)
                if found is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, answer = found
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    self.close_connection = True  # the client had no patience

            def log_message(self, *_: Any) -> None:
                """Silent."""

        return Handler


def _calls(request: Any) -> list[dict[str, Any]]:
    return request if isinstance(request, list) else [request]


def _without_ids(request: Any) -> list[Any]:
    return [[call["method"], call["params"]] for call in _calls(request)]


def _with_ids(answer: bytes, request: Any) -> bytes:
    """An old answer under the ids of a new request."""
    old = json.loads(answer)
    for entry, call in zip(_calls(old), _calls(request), strict=True):
        entry["id"] = call["id"]
    return json.dumps(old).encode()


def _each(request: Any, make: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    answers = [{"jsonrpc": "2.0", "id": call["id"], **make(call)} for call in _calls(request)]
    return json.dumps(answers if isinstance(request, list) else answers[0]).encode()


def _empty(method: str) -> Any:
    return [] if method in ("eth_getLogs", "eth_getBlockReceipts") else None


def _without_logs(answers: Any) -> Any:
    """Every receipt without its logs, as from a node whose index lags."""
    for answer in answers if isinstance(answers, list) else ():
        receipts = answer.get("result")
        for receipt in receipts if isinstance(receipts, list) else ():
            if isinstance(receipt, dict) and "logs" in receipt:
                receipt["logs"] = []
    return answers
