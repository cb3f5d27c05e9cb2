"""Python client of BCFL Console.

    from bcfl_client import Client, flt

    console = Client("http://127.0.0.1:8000", token="bcfl_…")
    task = console.create_task("Retina", pool=flt(100), config={"rounds": 3})
    console.launch(task.id)
    print(console.wait(task.id).accuracy)
    console.claim(task.id)

It needs httpx and nothing of the console: no Django, no web3.
"""

from bcfl_client.client import Client, flt
from bcfl_client.errors import (
    ApiProblem,
    ChainAway,
    ClientError,
    Conflict,
    ConsoleUnreachable,
    FieldError,
    HashMismatch,
    Invalid,
    NotAllowed,
    NotFound,
    NothingToClaim,
    NotSignedIn,
    ServerFailed,
    TaskStopped,
    TooManyRequests,
    WalletNeeded,
)
from bcfl_client.shapes import FLT, Event, Retracted, Reward, Task, TaskChanged, TaskDetail
from bcfl_client.wallet import open_keystore

__all__ = [
    "FLT",
    "ApiProblem",
    "ChainAway",
    "Client",
    "ClientError",
    "Conflict",
    "ConsoleUnreachable",
    "Event",
    "FieldError",
    "HashMismatch",
    "Invalid",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "NothingToClaim",
    "Retracted",
    "Reward",
    "ServerFailed",
    "Task",
    "TaskChanged",
    "TaskDetail",
    "TaskStopped",
    "TooManyRequests",
    "WalletNeeded",
    "flt",
    "open_keystore",
]
