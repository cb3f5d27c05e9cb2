"""The event stream: read for as long as wanted, through restarts and lost connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bcfl_client.errors import ConsoleUnreachable, NotSignedIn, ServerFailed, TooManyRequests
from bcfl_client.reading import read
from bcfl_client.shapes import Event, Retracted, TaskChanged
from bcfl_client.transport import Transport

SILENCE = 20.0  # seconds; the console speaks at least every five
PAUSE = 1.0
PATIENCE = 300.0  # seconds without a connection before the stream gives up


@dataclass(frozen=True)
class Message:
    kind: str
    data: Any
    id: str


def messages(lines: Iterator[str]) -> Iterator[Message]:
    """Server-Sent Events (WHATWG HTML, 9.2.6) from their lines."""
    kind, number = "message", ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield Message(kind, json.loads("\n".join(data)), number)
            kind, data = "message", []
            continue
        if line.startswith(":"):
            yield Message("comment", None, number)
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            number = value


def follow(
    transport: Transport, *, task: int | None, after: int
) -> Iterator[Event | Retracted | TaskChanged | None]:
    """Never ends by itself. After a lost connection it goes on behind the last event it gave.
    None, at least every five seconds, says that the console is still there.

    Raises ApiProblem, and ConsoleUnreachable after PATIENCE without a connection.
    """
    last = str(after)
    heard = time.monotonic()
    while True:
        try:
            with transport.stream(
                "/events",
                params={"task": task},
                headers={"Accept": "text/event-stream", "Last-Event-ID": last},
                timeout=SILENCE,
            ) as answer:
                for message in messages(answer.iter_lines()):
                    heard = time.monotonic()
                    yield _read(message)
                    last = message.id or last
        except (ConsoleUnreachable, ServerFailed, TooManyRequests) as error:
            if time.monotonic() - heard > PATIENCE:
                raise
            time.sleep(getattr(error, "retry_after", None) or PAUSE)
        except NotSignedIn:
            if transport.renew is None:
                raise
            transport.token = transport.renew()


def _read(message: Message) -> Event | Retracted | TaskChanged | None:
    if message.kind == "event":
        return read(Event, message.data)
    if message.kind == "retracted":
        return read(Retracted, message.data)
    if message.kind == "task":
        return read(TaskChanged, message.data)
    return None  # where the chain is, and what later versions add
