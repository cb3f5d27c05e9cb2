"""``python leash.py PROGRAM ARGUMENT...``: become PROGRAM, but end when the parent dies.

A supervisor that is killed outright cannot end its children. Linux can: PR_SET_PDEATHSIG
survives exec. Elsewhere this only execs. Standard library only, started without site.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent = os.environ.get("BCFL_SUPERVISOR_PID")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            print(f"prctl: {os.strerror(ctypes.get_errno())}", file=sys.stderr)  # noqa: T201
        if parent and os.getppid() != int(parent):
            sys.exit(f"the supervisor {parent} is already gone")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
