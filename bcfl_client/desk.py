"""What stands around tasks: steering, drafts, templates, prices, people, news, the admin's desk.

Rows are the API's own JSON (see /api/v1/docs); what a task becomes is typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bcfl_client.reading import read
from bcfl_client.shapes import Call, TaskDetail
from bcfl_client.transport import Transport, json_of

Row = dict[str, Any]


class Desk:
    """The part of a Client that needs nothing but the transport."""

    transport: Transport

    def rows(self, path: str, **params: Any) -> Iterator[Row]:
        """Every row of any list of the API, page by page."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.transport.get(path, {**params, "cursor": cursor})
            yield from page["items"]
            cursor = page["next"]

    # --- steering a task that runs -------------------------------------------------------------

    def pause(self, task_id: int) -> TaskDetail:
        """No more training is handed out by the console; the contract's deadlines run on."""
        return read(TaskDetail, self.transport.post(f"/tasks/{task_id}/pause"))

    def resume(self, task_id: int) -> TaskDetail:
        return read(TaskDetail, self.transport.post(f"/tasks/{task_id}/resume"))

    def launch_from_wallet(self, task_id: int) -> TaskDetail:
        """The model is prepared; your wallet then signs the approval and createTask."""
        return read(TaskDetail, self.transport.post(f"/tasks/{task_id}/wallet-launch"))

    def undo_launch(self, task_id: int) -> TaskDetail:
        """Of a launch that waits for a wallet: a draft again."""
        return read(TaskDetail, self.transport.post(f"/tasks/{task_id}/wallet-undo"))

    def remove(self, task_id: int, address: str) -> Call:
        """A hosted participant leaves; it keeps what it has earned."""
        return read(Call, self.transport.post(f"/tasks/{task_id}/remove", {"address": address}))

    def top_up(self, task_id: int, amount: int) -> TaskDetail:
        """`amount` in wei; the rounds to come share it."""
        body = {"amount": str(amount)}
        return read(TaskDetail, self.transport.post(f"/tasks/{task_id}/top-up", body))

    def compare(self, task_ids: Sequence[int]) -> Row:
        """`config` (what differs), `figures` (a record a task), `curves` (a record a round)."""
        return dict(self.transport.get("/compare", {"tasks": ",".join(map(str, task_ids))}))

    # --- before a task -------------------------------------------------------------------------

    def drafts(self) -> Iterator[Row]:
        return self.rows("/drafts")

    def draft(self, draft_id: int) -> Row:
        """With `values` as typed, and `problems` that must be settled."""
        return dict(self.transport.get(f"/drafts/{draft_id}"))

    def create_draft(self, template: str = "blank", values: Mapping[str, Any] | None = None) -> Row:
        """`template`: a key of templates(), or ``task:7``."""
        body = {"template": template, "values": dict(values or {})}
        return dict(self.transport.post("/drafts", body))

    def change_draft(
        self, draft_id: int, values: Mapping[str, Any], *, version: int | None = None
    ) -> Row:
        """`version`: refuse when another writer has changed the draft since that one."""
        body = {"values": dict(values), "version": version}
        return dict(json_of(self.transport.request("PATCH", f"/drafts/{draft_id}", body=body)))

    def delete_draft(self, draft_id: int) -> None:
        self._delete(f"/drafts/{draft_id}")

    def finish_draft(self, draft_id: int, *, launch: bool = False) -> TaskDetail:
        """Its task; still a draft task when `launch` was refused."""
        answer = self.transport.post(f"/drafts/{draft_id}/finish", {"launch": launch})
        return read(TaskDetail, answer["task"])

    def draft_quote(self, draft_id: int) -> Row:
        """Gas by call, and under `networks` the fees at remembered prices."""
        return dict(self.transport.get(f"/drafts/{draft_id}/quote"))

    def draft_partition(self, draft_id: int) -> Row:
        return dict(self.transport.get(f"/drafts/{draft_id}/partition"))

    def draft_check(self, draft_id: int) -> Row:
        """What the contract would answer now."""
        return dict(self.transport.get(f"/drafts/{draft_id}/check"))

    def templates(self) -> list[Row]:
        return list(self.transport.get("/templates"))

    def save_template(
        self, task_id: int, name: str, *, description: str = "", shared: bool = False
    ) -> Row:
        body = {"task": task_id, "name": name, "description": description, "shared": shared}
        return dict(self.transport.post("/templates", body))

    def delete_template(self, template_id: int) -> None:
        self._delete(f"/templates/{template_id}")

    def prices(self) -> list[Row]:
        return list(self.transport.get("/prices"))

    def remember_price(self, name: str, gas_price: int, coin_price: str | None = None) -> Row:
        """`gas_price` in wei per gas; `coin_price` of one coin, as text, in your currency."""
        body = {"name": name, "gas_price": str(gas_price), "coin_price": coin_price}
        return dict(self.transport.post("/prices", body))

    def forget_price(self, price_id: int) -> None:
        self._delete(f"/prices/{price_id}")

    # --- models --------------------------------------------------------------------------------

    def promote(self, model_id: int, version: int, note: str = "") -> Row:
        path = f"/models/{model_id}/versions/{version}/promote"
        return dict(self.transport.post(path, {"note": note}))

    def retire(self, model_id: int, version: int, note: str = "") -> Row:
        path = f"/models/{model_id}/versions/{version}/retire"
        return dict(self.transport.post(path, {"note": note}))

    def restore(self, model_id: int, version: int, note: str = "") -> Row:
        path = f"/models/{model_id}/versions/{version}/restore"
        return dict(self.transport.post(path, {"note": note}))

    def roll_back(self, model_id: int, note: str = "") -> Row:
        """The version that was in production before is so again."""
        return dict(self.transport.post(f"/models/{model_id}/rollback", {"note": note}))

    # --- news ----------------------------------------------------------------------------------

    def webhooks(self) -> list[Row]:
        return list(self.transport.get("/webhooks"))

    def webhook(self, webhook_id: int) -> Row:
        """With its deliveries, and its secret for a token that may write."""
        return dict(self.transport.get(f"/webhooks/{webhook_id}"))

    def create_webhook(self, url: str, events: Sequence[str]) -> Row:
        return dict(self.transport.post("/webhooks", {"url": url, "events": list(events)}))

    def test_webhook(self, webhook_id: int) -> Row:
        return dict(self.transport.post(f"/webhooks/{webhook_id}/test"))

    def delete_webhook(self, webhook_id: int) -> None:
        self._delete(f"/webhooks/{webhook_id}")

    def notifications(self, *, unread: bool = False) -> Iterator[Row]:
        return self.rows("/notifications", unread="true" if unread else None)

    def read_notifications(self) -> int:
        """Mark all as read; how many were not."""
        return int(self.transport.post("/notifications/read")["read"])

    def notification_choices(self) -> list[Row]:
        return list(self.transport.get("/notifications/choices"))

    def choose_notifications(self, ways: Mapping[str, Sequence[str]]) -> list[Row]:
        """Event → ``app``, ``mail``, both or none; what is left out stays."""
        body = {"ways": {event: list(chosen) for event, chosen in ways.items()}}
        answer = self.transport.request("PUT", "/notifications/choices", body=body)
        return list(json_of(answer))

    # --- people --------------------------------------------------------------------------------

    def invitations(self) -> list[Row]:
        return list(self.transport.get("/invitations"))

    def invite(
        self,
        email: str = "",
        *,
        role: str = "participant",
        task: int | None = None,
        days: int = 7,
        message: str = "",
    ) -> Row:
        """By e-mail, or without one with a `link` to hand over."""
        body = {"email": email, "role": role, "task": task, "days": days, "message": message}
        return dict(self.transport.post("/invitations", body))

    def revoke_invitation(self, invitation_id: int) -> Row:
        return dict(self.transport.post(f"/invitations/{invitation_id}/revoke"))

    def users(self, q: str = "", role: str = "") -> Iterator[Row]:
        """For admins."""
        return self.rows("/users", q=q, role=role)

    def change_role(self, user_id: int, role: str) -> Row:
        return dict(self.transport.post(f"/users/{user_id}/role", {"role": role}))

    def set_active(self, user_id: int, active: bool) -> Row:
        """Open or close an account."""
        return dict(self.transport.post(f"/users/{user_id}/active", {"active": active}))

    # --- the house -----------------------------------------------------------------------------

    def audit(self, *, action: str = "", actor: str = "", target: str = "") -> Iterator[Row]:
        """What people did, newest first; for admins."""
        return self.rows("/audit", action=action, actor=actor, target=target)

    def maintenance(self) -> list[Row]:
        return list(self.transport.get("/maintenance"))

    def start_maintenance(self, kind: str, *, from_block: int | None = None) -> Row:
        """`kind`: reconcile, resync or rebuild."""
        return dict(self.transport.post("/maintenance", {"kind": kind, "from_block": from_block}))

    def _delete(self, path: str) -> None:
        self.transport.request("DELETE", path)
