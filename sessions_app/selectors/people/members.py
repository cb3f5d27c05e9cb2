"""Members in the contract's order: what score sheets and relayed updates count by."""

from __future__ import annotations

from chain.models import Log
from sessions_app.models import Task
from sessions_app.rewards import by_index


def member_places(task: Task) -> list[str]:
    """One address for every index that the contract has handed out; the zero address where it was
    given back in the Open phase and nobody has taken it again. Two queries."""
    joined = Log.objects.filter(
        network_id=task.network_id or 0, task_id=task.onchain_id, event="ParticipantJoined"
    )
    handed_out = max(
        (args["index"] + 1 for args in joined.values_list("args", flat=True)), default=0
    )
    return by_index(task.members.values_list("index", "address"), handed_out)
