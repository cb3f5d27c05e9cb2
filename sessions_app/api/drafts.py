"""What stands before a task: drafts of the wizard, templates, prices of other networks."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Field, Schema, Status

from sessions_app.access import can, require
from sessions_app.api.base import (
    Key,
    Page,
    PageIn,
    area,
    not_found,
    page_by_key,
    read_key,
    user_of,
)
from sessions_app.api.problems import ApiError
from sessions_app.api.steering import InvitationOut, invitation_out
from sessions_app.api.task_shapes import TaskOut
from sessions_app.api.tasks import find_task, shown
from sessions_app.errors import WrongStage
from sessions_app.forms import drafts
from sessions_app.forms.review import check_draft, template_values, visible_templates
from sessions_app.forms.tables import STEPS
from sessions_app.forms.templates import BUILT_IN
from sessions_app.forms.values import form_of
from sessions_app.models import NetworkPrice, TaskDraft, TaskTemplate, User
from sessions_app.selectors.wizard.partition import partition_picture
from sessions_app.selectors.wizard.quote import current_price, quote, quote_record

router = area("Drafts")
templates = area("Templates")
prices = area("Prices")

FieldName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")]
Typed = Annotated[str, Field(max_length=100_000)]
Values = dict[FieldName, Typed | list[Typed]]
GasPrice = Annotated[str, Field(pattern=r"^[0-9]{1,24}$", examples=["20000000000"])]


class DraftIn(Schema):
    template: str = Field(
        "blank", max_length=60, description="A key of GET /templates, or `task:7` for its settings."
    )
    values: Values = Field({}, description="Fields as text, as one types them on the pages.")


class DraftChangeIn(Schema):
    """`version`: the one you read; a draft that another writer has changed since is refused."""

    values: Values
    version: int | None = Field(None, ge=0, le=2**31)


class FinishIn(Schema):
    launch: bool = Field(False, description="Also put the pool in escrow and open the task.")


class ProblemOut(Schema):
    step: str
    field: str
    label: str
    message: str


class DraftOut(Schema):
    id: int
    title: str
    origin: str
    step: Literal["data", "training", "terms", "review"]
    task: int | None = Field(description="The unstarted task that it changes.")
    version: int
    values: dict[str, str | list[str]]
    problems: list[ProblemOut] = Field(description="What must be settled before it can be a task.")
    updated_at: datetime


class FinishedOut(Schema):
    task: TaskOut
    invitations: list[InvitationOut] = Field(description="That the draft asked for.")
    trouble: str = Field(description="Why it could not be launched; the task is kept as a draft.")


class CheckOut(Schema):
    """What the contract would answer now. Sums in wei."""

    outcome: Literal["passes", "refused", "unknown"]
    sentence: str
    error: str
    balance: str | None
    coins: str | None
    coins_needed: str | None


class TemplateOut(Schema):
    key: str = Field(description="For POST /drafts.")
    id: int | None = Field(description="Of those that people saved.")
    name: str
    description: str
    owner: str = Field(description="Empty for the built-in ones.")
    shared: bool
    may_delete: bool
    values: dict[str, Any]


class TemplateIn(Schema):
    task: int = Field(ge=1, le=2**53, description="Whose settings to save.")
    name: str = Field(min_length=1, max_length=80)
    description: str = Field("", max_length=240)
    shared: bool = False


class PriceIn(Schema):
    name: str = Field(pattern=r"^\S(.{0,38}\S)?$", max_length=40, examples=["Ethereum"])
    gas_price: GasPrice = Field(description="Wei per gas.")
    coin_price: str | None = Field(
        None, pattern=r"^[0-9]{1,14}(\.[0-9]{1,2})?$", description="Of one coin, in your currency."
    )


class PriceOut(Schema):
    id: int
    name: str
    gas_price: str
    coin_price: str | None
    updated_at: datetime


# --- drafts -------------------------------------------------------------------------------------


def find_draft(draft_id: int, user: User) -> TaskDraft:
    """Raises Http404 and NotAllowed."""
    draft = TaskDraft.objects.select_related("owner", "task").filter(pk=draft_id).first()
    if draft is None:
        raise not_found(f"There is no draft {draft_id}. It was deleted, or has become a task.")
    require(user, "draft.change", draft)
    return draft


@router.get("", response=Page[DraftOut], summary="My drafts")
def drafts_list(request: HttpRequest, page: PageIn) -> dict[str, Any]:
    """Wizards in progress, newest first."""
    user = user_of(request)
    require(user, "draft.create")
    rows = TaskDraft.objects.filter(owner=user).order_by("-pk")
    before = read_key(page.cursor)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = page_by_key(rows[: page.limit + 1], page.limit, lambda draft: draft.pk)
    return {**found, "items": [_draft(draft) for draft in found["items"]]}


@router.post("", response={201: DraftOut}, summary="Begin a draft")
def drafts_create(request: HttpRequest, response: HttpResponse, body: DraftIn) -> Any:
    """From a template, from a task's settings, or blank. Values need not be valid yet: `problems`
    says what is missing."""
    user = user_of(request)
    require(user, "draft.create")
    kind, _, number = body.template.partition(":")
    if kind == "task":
        task = find_task(int(number) if number.isascii() and number.isdigit() else 0)
        draft = drafts.draft_from_task(task=task, by=user)
    else:
        found = template_values(body.template, user)
        if found is None:
            raise not_found(f"There is no template “{body.template}”. See GET /templates.")
        draft = drafts.draft_start(by=user, values=found.values, origin=found.origin)
    if body.values:
        draft = drafts.draft_save(
            draft_id=draft.pk, by=user, values=body.values, editor=_editor(user)
        )
    response["Location"] = f"/api/v1/drafts/{draft.pk}"
    return Status(201, _draft(draft))


@router.get("/{draft_id}", response=DraftOut, summary="One draft")
def drafts_read(request: HttpRequest, draft_id: Key) -> dict[str, Any]:
    """With everything typed, and what must be settled."""
    return _draft(find_draft(draft_id, user_of(request)))


@router.patch("/{draft_id}", response=DraftOut, summary="Change a draft")
def drafts_change(request: HttpRequest, draft_id: Key, body: DraftChangeIn) -> dict[str, Any]:
    """Fields that are left out stay; values are kept valid or not."""
    user = user_of(request)
    draft = find_draft(draft_id, user)
    saved = drafts.draft_save(
        draft_id=draft.pk,
        by=user,
        values=body.values,
        editor=_editor(user),
        version=body.version,
    )
    return _draft(saved)


@router.delete("/{draft_id}", response={204: None}, summary="Delete a draft")
def drafts_delete(request: HttpRequest, draft_id: Key) -> Status[None]:
    """A task that it was to change stays as it is."""
    user = user_of(request)
    drafts.draft_delete(draft=find_draft(draft_id, user), by=user)
    return Status(204, None)


@router.post("/{draft_id}/finish", response=FinishedOut, summary="Make the task of a draft")
def drafts_finish(request: HttpRequest, draft_id: Key, body: FinishIn) -> dict[str, Any]:
    """The draft is no more; the task is one that can be launched, or is being launched."""
    user = user_of(request)
    draft = find_draft(draft_id, user)
    problems = form_of(draft.values).problems()
    if problems:
        raise ApiError(
            422,
            "invalid",
            f"Draft {draft.pk} is not finished: {problems[0].label}: {problems[0].message}",
            next_step="Change the draft's fields in `errors`, then finish it.",
            errors=[{"field": f"draft.{p.name}", "detail": p.message} for p in problems],
        )
    launch: drafts.Launch = "fund" if body.launch else "keep"
    done = drafts.draft_finish(draft=draft, by=user, launch=launch)
    return {
        "task": shown(find_task(done.task.pk), user),
        "invitations": [invitation_out(row) for row in done.invited],
        "trouble": done.trouble,
    }


@router.get("/{draft_id}/quote", response=dict[str, Any], summary="What a draft would cost")
def drafts_quote(request: HttpRequest, draft_id: Key) -> dict[str, Any]:
    """Gas by call at today's fee, and under `networks` at the prices you remember."""
    user = user_of(request)
    terms = form_of(find_draft(draft_id, user).values).quote_terms
    if terms is None:
        raise WrongStage("Participants, rounds, pool or stake are missing or do not fit.")
    return quote_record(quote(terms, gas_price=current_price()), user)


@router.get("/{draft_id}/partition", response=dict[str, Any], summary="Who would have what data")
def drafts_partition(request: HttpRequest, draft_id: Key) -> dict[str, Any]:
    """Samples of each class in each share."""
    config = form_of(find_draft(draft_id, user_of(request)).values).config
    if config is None:
        raise WrongStage("The fields of the draft's data and training do not fit together yet.")
    return partition_picture(config).as_json()


@router.get("/{draft_id}/check", response=CheckOut, summary="What the contract would answer")
def drafts_check(request: HttpRequest, draft_id: Key) -> dict[str, Any]:
    """Asks the node, with the console's account of yours; nothing is sent."""
    user = user_of(request)
    form = form_of(find_draft(draft_id, user).values)
    if not form.is_valid():
        raise WrongStage("The draft is not finished; GET it to see its problems.")
    if user.account is None:
        raise WrongStage("You have no account here that could create the task.")
    found = asdict(check_draft(form, user))
    for name in ("balance", "coins", "coins_needed"):
        found[name] = None if found[name] is None else str(found[name])
    return found


# --- templates ----------------------------------------------------------------------------------


@templates.get("", response=list[TemplateOut], summary="Templates")
def templates_list(request: HttpRequest) -> list[dict[str, Any]]:
    """The built-in ones, then those that you or others saved."""
    user = user_of(request)
    require(user, "draft.create")
    built_in = [
        {
            "key": f"built-in:{template.key}",
            "id": None,
            "name": template.name,
            "description": template.description,
            "owner": "",
            "shared": True,
            "may_delete": False,
            "values": dict(template.values),
        }
        for template in BUILT_IN.values()
    ]
    return [*built_in, *(_template(saved, user) for saved in visible_templates(user))]


@templates.post("", response={201: TemplateOut}, summary="Save a task's settings as a template")
def templates_create(request: HttpRequest, body: TemplateIn) -> Any:
    """Under a name you have used before it replaces that one."""
    user = user_of(request)
    saved = drafts.template_save(
        task=find_task(body.task),
        by=user,
        name=body.name,
        description=body.description,
        shared=body.shared,
    )
    return Status(201, _template(saved, user))


@templates.delete("/{template_id}", response={204: None}, summary="Delete a template")
def templates_delete(request: HttpRequest, template_id: Key) -> Status[None]:
    """Tasks made from it stay."""
    user = user_of(request)
    found = {template.pk: template for template in visible_templates(user)}
    if user.is_admin:
        found |= {t.pk: t for t in TaskTemplate.objects.filter(pk=template_id)}
    if template_id not in found:
        raise not_found(f"There is no template {template_id} that you can see.")
    drafts.template_delete(template=found[template_id], by=user)
    return Status(204, None)


# --- prices of other networks ---------------------------------------------------------------------


@prices.get("", response=list[PriceOut], summary="Prices of other networks that I remember")
def prices_list(request: HttpRequest) -> list[dict[str, Any]]:
    """At most 20; quotes are compared at them."""
    user = user_of(request)
    require(user, "price.remember")
    return [_price(row) for row in NetworkPrice.objects.filter(user=user)]


@prices.post("", response=PriceOut, summary="Remember a network's price")
def prices_remember(request: HttpRequest, body: PriceIn) -> dict[str, Any]:
    """Under a name you have used before it replaces that one. Nothing is asked of the network."""
    saved = drafts.price_remember(
        by=user_of(request),
        name=body.name,
        gas_price=int(body.gas_price),
        coin_price=None if body.coin_price is None else Decimal(body.coin_price),
    )
    return _price(saved)


@prices.delete("/{price_id}", response={204: None}, summary="Forget a network's price")
def prices_forget(request: HttpRequest, price_id: Key) -> Status[None]:
    user = user_of(request)
    require(user, "price.remember")
    if not NetworkPrice.objects.filter(pk=price_id, user=user).exists():
        raise not_found(f"You remember no price {price_id}.")
    drafts.price_forget(price_id=price_id, by=user)
    return Status(204, None)


# --- inside ---------------------------------------------------------------------------------------


def _editor(user: User) -> str:
    return f"api:{user.pk}"


def _draft(draft: TaskDraft) -> dict[str, Any]:
    problems = form_of(draft.values).problems()
    return {
        "id": draft.pk,
        "title": draft.title,
        "origin": draft.origin,
        "step": draft.step if draft.step in STEPS else "data",
        "task": draft.task_id,
        "version": draft.version,
        "values": draft.values,
        "problems": [
            {"step": p.step, "field": p.name, "label": p.label, "message": p.message}
            for p in problems
        ],
        "updated_at": draft.updated_at,
    }


def _template(template: TaskTemplate, user: User) -> dict[str, Any]:
    return {
        "key": f"saved:{template.pk}",
        "id": template.pk,
        "name": template.name,
        "description": template.description,
        "owner": template.owner.get_username(),
        "shared": template.shared,
        "may_delete": can(user, "template.delete", template),
        "values": template.values,
    }


def _price(row: NetworkPrice) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "gas_price": str(row.gas_price),
        "coin_price": None if row.coin_price is None else str(row.coin_price),
        "updated_at": row.updated_at,
    }
