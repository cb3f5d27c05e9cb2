"""What an agent in a network namespace of its own can reach."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from errno import ECONNREFUSED, ENETUNREACH
from urllib.parse import urlsplit

import pytest

from tests.stack import namespace
from tests.stack.agents import CONSOLE_PORT, NODE_PORT
from tests.stack.conftest import Place
from tests.stack.recorder import Recorder

# Run in such a network: its devices, what answers where the recorders are, why nothing else does.
LOOK = """
import json, socket, sys, urllib.request
ours, others = json.loads(sys.argv[1])
found = {"devices": [name for _, name in socket.if_nameindex()], "ours": [], "others": []}
for url in ours:
    with urllib.request.urlopen(url, b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
                                if "8545" in url else None) as answer:
        found["ours"].append(answer.status)
for place in others:
    try:
        socket.create_connection(place, timeout=5).close()
        found["others"].append("reached")
    except OSError as error:
        found["others"].append(type(error).__name__ + " " + str(error.errno))
print(json.dumps(found))
"""


def test_nothing_else_is_reachable_there(place: Place) -> None:
    """The console and the node at their own addresses neither: only through the recorders."""
    if reason := namespace.why_not():
        pytest.skip(reason)
    direct = [urlsplit(url) for url in (place.stack.url, place.rpc)]
    local = [(url.hostname, url.port) for url in direct]
    for address in local:
        socket.create_connection(address, timeout=5).close()  # from here they are
    away = [("192.0.2.1", 443), ("2001:db8::1", 443)]  # RFC 5737, RFC 3849
    ours = [f"http://127.0.0.1:{CONSOLE_PORT}/api/v1/openapi.json", f"http://127.0.0.1:{NODE_PORT}"]
    with Recorder(place.stack.url) as console, Recorder(place.rpc) as node:
        program = [sys.executable, "-c", LOOK, json.dumps([ours, [*local, *away]])]
        there = {CONSOLE_PORT: console, NODE_PORT: node}
        looking = namespace.start(program, there, stdout=subprocess.PIPE, text=True)
        output, _ = looking.communicate(timeout=60)
        assert (len(console.sent), len(node.sent)) == (1, 1)
    found = json.loads(output)
    assert found["devices"] == ["lo"]
    assert found["ours"] == [200, 200]
    refused, unreachable = f"ConnectionRefusedError {ECONNREFUSED}", f"OSError {ENETUNREACH}"
    assert found["others"] == [refused, refused, unreachable, unreachable]
