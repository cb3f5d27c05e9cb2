"""Programs in network namespaces of their own (network_namespaces(7)), each on a machine, as far
as the network goes, on which nothing is there but what a test's recorders answer.

A new namespace has a loopback device and no route off it. The one thing that answers in it is
sockets opened inside, on ports of the caller's choice, and served outside by recorders. So there
is no veth, no name and no address to clean up: a namespace is gone with its last process and
socket, whatever becomes of the test. Files, and sockets that are files, are shared as before.

Linux, with `unshare` of util-linux; as root, or where users may make namespaces
(user_namespaces(7)). Run as a program it is what happens inside, before the program proper.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.stack.recorder import Recorder

# As root, or as root of a user namespace.
WAYS = (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"])
SIOCSIFFLAGS = 0x8914  # netdevice(7)
IFF_UP = 1


@cache
def _way() -> tuple[list[str], str]:
    """How a namespace is made here, or no words and why it cannot be."""
    why = ""
    for way in WAYS:
        try:
            tried = subprocess.run([*way, *_inside()], capture_output=True, text=True, timeout=30)
        except OSError as error:
            return [], f"no network namespaces here: {error}"
        if tried.returncode == 0:
            return way, ""
        why = why or (tried.stderr.strip().splitlines() or ["unshare failed"])[-1]
    return [], f"no network namespaces here: {why}"


def why_not() -> str:
    """Empty where namespaces can be made."""
    return _way()[1]


def start(
    program: Sequence[str], answering: Mapping[int, Recorder], **options: Any
) -> subprocess.Popen[Any]:
    """`program` in a namespace of its own, in which each recorder answers at its port of
    127.0.0.1; `options` are of Popen. The process is the program itself: a signal reaches it."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(60)
        ports = ",".join(map(str, answering))
        words = [*_way()[0], *_inside(), str(there.fileno()), ports, *program]
        process = subprocess.Popen(words, pass_fds=[there.fileno()], **options)
        there.close()
        _, listening, _, _ = socket.recv_fds(here, 1, len(answering))
    if len(listening) != len(answering):
        raise AssertionError(f"{program[:3]} did not start in a namespace: {process.wait()}")
    for recorder, descriptor in zip(answering.values(), listening, strict=True):
        recorder.answer_at(socket.socket(fileno=descriptor))
    return process


def of(process: subprocess.Popen[Any] | None = None) -> str:
    """Which network namespace a process is in; of this one without."""
    return os.readlink(f"/proc/{process.pid if process else 'self'}/ns/net")


def _inside() -> list[str]:
    return [sys.executable, "-S", __file__]


def _main(arguments: Sequence[str]) -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    if not arguments:
        return
    outside, ports, *program = arguments
    listening = [socket.create_server(("127.0.0.1", int(port))) for port in ports.split(",")]
    with socket.socket(fileno=int(outside)) as there:
        socket.send_fds(there, [b"."], [one.fileno() for one in listening])
    os.execvp(program[0], program)  # closes the sockets here


if __name__ == "__main__":
    _main(sys.argv[1:])
