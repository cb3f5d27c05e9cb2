"""Hear of new blocks by WebSocket. Only a wake-up: what it says is never believed, and
following works without it, by polling."""

from __future__ import annotations

import json
import logging
import threading

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

logger = logging.getLogger(__name__)

RECONNECT_SECONDS_MAX = 30.0


class HeadListener:
    """Sets `wake` at every new head of the node at `url` (ws or wss) until stopped."""

    def __init__(self, url: str, wake: threading.Event) -> None:
        self.url = url
        self.connected = threading.Event()
        self._wake = wake
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chain-heads", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; it notices within a second."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        pause = 0.5
        while not self._stop.is_set():
            try:
                self._listen()
                pause = 0.5
            except (OSError, WebSocketException, ValueError) as error:
                level = logging.DEBUG if self._stop.is_set() else logging.INFO
                logger.log(level, "no head subscription at %s (%s): polling", self.url, error)
            self.connected.clear()
            self._stop.wait(pause)
            pause = min(pause * 2, RECONNECT_SECONDS_MAX)

    def _listen(self) -> None:
        with connect(self.url, open_timeout=5, max_size=2**20, proxy=None) as socket:
            request = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
            socket.send(json.dumps(request))
            answer = json.loads(socket.recv(timeout=5))
            if "error" in answer:
                raise ValueError(f"eth_subscribe: {answer['error']}")
            self.connected.set()
            self._wake.set()  # blocks may have come while we were not listening
            while not self._stop.is_set():
                try:
                    socket.recv(timeout=1)
                except TimeoutError:
                    continue
                self._wake.set()
