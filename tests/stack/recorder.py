"""A forwarding HTTP server that keeps everything that a client sent, and may change or lose
answers."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

Change = Callable[[str, bytes], bytes]  # (path, body of the answer) -> body


class Recorder:
    """``with Recorder("http://127.0.0.1:8000") as there:`` and talk to ``there.url``."""

    def __init__(self, target: str, change: Change = lambda path, body: body) -> None:
        self.sent: list[bytes] = []
        self.change = change
        self.away = 0  # so many requests find nobody
        self.lose = b""  # the answer to the next request with these bytes in it is lost,
        self.then_away = 0  # and so many more requests find nobody
        place = urlsplit(target)
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if recorder.away:
                    recorder.away -= 1
                    self._hang_up()
                    return
                heads = "\r\n".join(f"{k}: {v}" for k, v in self.headers.items())
                sent = f"{self.requestline}\r\n{heads}\r\n\r\n".encode() + body
                recorder.sent.append(sent)
                there = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
                try:
                    there.request(self.command, self.path, body, dict(self.headers.items()))
                    answer = there.getresponse()
                    data = recorder.change(self.path, answer.read())
                    heads_back = answer.getheaders()
                    status = answer.status
                except OSError:
                    data, heads_back, status = b"", [], 502
                finally:
                    there.close()
                if recorder.lose and recorder.lose in sent:
                    recorder.lose, recorder.away = b"", recorder.then_away
                    self._hang_up()
                    return
                self.send_response(status)
                for name, value in heads_back:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _hang_up(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            do_GET = do_POST = do_PATCH = do_HEAD = _forward  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._handler = Handler
        self._serving: list[tuple[ThreadingHTTPServer, threading.Thread]] = []
        own = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{own.getsockname()[1]}"
        self._own = own

    def answer_at(self, listening: socket.socket) -> None:
        """At this socket too, which may be of another network namespace; it is ours from now."""
        server = ThreadingHTTPServer(("", 0), self._handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listening
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        self._serving.append((server, thread))
        thread.start()

    def __enter__(self) -> Self:
        self.answer_at(self._own)
        return self

    def __exit__(self, *_: object) -> None:
        for server, thread in self._serving:
            server.shutdown()
            server.server_close()
            thread.join()
