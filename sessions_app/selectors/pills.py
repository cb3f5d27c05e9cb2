"""The state of a task as a word and a colour."""

from __future__ import annotations

from dataclasses import dataclass

from sessions_app.models import Task


@dataclass(frozen=True)
class Pill:
    label: str
    tone: str


_STAGE_PILLS = {
    Task.Stage.DRAFT: Pill("Draft", "wait"),
    Task.Stage.PREPARING: Pill("Preparing", "run"),
    Task.Stage.FUNDING: Pill("Funding", "run"),
    Task.Stage.FAILED: Pill("Failed", "bad"),
}
_PHASE_PILLS = {
    Task.Phase.OPEN: Pill("Open", "run"),
    Task.Phase.RUNNING: Pill("Running", "run"),
    Task.Phase.COMPLETED: Pill("Completed", "ok"),
    Task.Phase.CANCELLED: Pill("Cancelled", "wait"),
}


def task_pill(task: Task) -> Pill:
    if task.phase == Task.Phase.RUNNING and task.paused_at is not None:
        return Pill("Paused", "wait")
    by_phase = {str(key): pill for key, pill in _PHASE_PILLS.items()}
    by_stage = {str(key): pill for key, pill in _STAGE_PILLS.items()}
    return by_phase.get(task.phase) or by_stage.get(task.stage) or Pill("On chain", "run")
