"""The task wizard: from a template over a draft, step by step, to a funded task."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from sessions_app.access import require
from sessions_app.errors import BcflError, InvalidTask, NotAllowed
from sessions_app.forms import drafts
from sessions_app.forms.drafts import DraftMoved, DraftUnfinished
from sessions_app.forms.fields import PriceForm
from sessions_app.forms.review import check_draft, review, start_choices, template_values
from sessions_app.forms.task import STEPS, TaskForm, Values, form_of
from sessions_app.models import Task, TaskDraft, TaskTemplate, User
from sessions_app.selectors.balances import token_balance
from sessions_app.selectors.task.data import task_get
from sessions_app.selectors.wizard.partition import partition_picture
from sessions_app.selectors.wizard.quote import Quote, current_price, price_rows, quote
from sessions_app.views.base import acts, page, viewer
from training.errors import TrainingError

GOES_ON = "wizard_goes_on"  # in the session, from one step to the next
NOT_FIELDS = ("csrfmiddlewaretoken", "action", "editor", "version", "keep", "step")


def _task(pk: int) -> Task:
    try:
        return task_get(pk)
    except Task.DoesNotExist as error:
        raise Http404(f"There is no task {pk}. It may have been deleted.") from error


def _draft(request: HttpRequest, pk: int) -> TaskDraft:
    draft = TaskDraft.objects.select_related("owner", "task").filter(pk=pk).first()
    if draft is None:
        raise Http404(
            f"There is no draft {pk}. It was deleted, or has become a task; look under Tasks."
        )
    require(viewer(request), "draft.change", draft)
    return draft


# --- where a task begins --------------------------------------------------------------------


@login_required
@acts("draft.create")
def task_new(request: HttpRequest) -> HttpResponse:
    """Choose a template; the choice makes a draft. ``then=review`` goes straight to the end."""
    user = viewer(request)
    if request.method == "POST":
        key = request.POST.get("template", "")
        found = template_values(key, user)
        if found is None:
            messages.error(request, f"There is no template “{key}” any more. Choose another.")
            return redirect("task-new")
        try:
            draft = drafts.draft_start(by=user, values=found.values, origin=found.origin)
        except BcflError as error:
            messages.error(request, str(error))
            return redirect("task-new")
        step = "review" if request.POST.get("then") == "review" else "data"
        return redirect("draft", draft.pk, step)
    return page(request, "pages/task_new.html", {"start": start_choices(user)}, nav="tasks")


@login_required
@require_POST
@acts("draft.create")
def task_clone(request: HttpRequest, pk: int) -> HttpResponse:
    """A draft with the settings of a task."""
    try:
        draft = drafts.draft_from_task(task=_task(pk), by=viewer(request))
    except NotAllowed:
        raise
    except BcflError as error:
        messages.error(request, str(error))
        return redirect("task", pk)
    messages.success(request, "A new draft with the same settings. Change what you like.")
    return redirect("draft", draft.pk, "data")


@login_required
@acts("task.change")
def task_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a task that has not been started: in a draft that belongs to it."""
    task, user = _task(pk), viewer(request)
    try:
        draft = drafts.draft_for_change(task=task, by=user)
    except NotAllowed:
        raise
    except BcflError as error:
        messages.error(request, str(error))
        return redirect("task", pk)
    return redirect("draft", draft.pk, draft.step)


# --- a step ---------------------------------------------------------------------------------


def _typed(form: TaskForm, step: str, post: QueryDict) -> Values:
    """The step's fields as they were sent; an unticked box sends nothing and means none."""
    values: Values = {}
    for name in form.names_of(step):
        if name == "evaluators":
            values[name] = post.getlist(name)
        elif name in post:
            values[name] = post.get(name, "")
    return values


@login_required
@acts("draft.change")
def draft_step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    if step not in STEPS:
        raise Http404(f"There is no step “{step}”; they are {', '.join(STEPS)}.")
    draft = _draft(request, pk)
    if request.method == "POST":
        return _step_posted(request, draft, step)
    form = form_of(draft.values)
    shown = form if "check" in request.GET else _unchecked(form)
    return _step_page(request, draft, step, form, shown)


def _unchecked(form: TaskForm) -> TaskForm:
    """The same values, not yet held against anybody."""
    return TaskForm(initial=form.data)


def _step_posted(request: HttpRequest, draft: TaskDraft, step: str) -> HttpResponse:
    action = request.POST.get("action", "next")
    typed = _typed(TaskForm(), step, request.POST)
    try:
        draft = drafts.draft_save(
            draft_id=draft.pk,
            by=viewer(request),
            values=typed,
            step=step,
            editor=request.POST.get("editor", ""),
            version=_version(request),
        )
    except BcflError as error:  # what was typed is shown again, as it was typed
        form = form_of({**draft.values, **typed})
        return _step_page(request, draft, step, form, form, trouble=str(error), status=422)
    # The next step is the same writer: a save of this page that is still on its way is no conflict.
    request.session[GOES_ON] = [draft.pk, request.POST.get("editor", "")]
    if action in ("fund", "keep"):
        return _finish(request, draft, launch=action == "fund")
    if action == "leave":
        messages.success(request, f"“{draft.title}” is kept under Tasks → Drafts.")
        return redirect(f"{reverse('tasks')}?show=drafts")
    if action == "stay":
        return redirect("draft", draft.pk, step)
    steps = list(STEPS)
    if action.startswith("go:") and action[3:] in STEPS:
        return redirect("draft", draft.pk, action[3:])
    at = steps.index(step)
    if action == "back":
        return redirect("draft", draft.pk, steps[max(at - 1, 0)])
    form = form_of(draft.values)
    if any(problem.step == step for problem in form.problems()):
        return _step_page(request, draft, step, form, form, status=422)
    return redirect("draft", draft.pk, steps[min(at + 1, len(steps) - 1)])


def _version(request: HttpRequest) -> int | None:
    text = request.POST.get("version", "")
    return int(text) if text.isdigit() and "keep" not in request.POST else None


def _finish(request: HttpRequest, draft: TaskDraft, *, launch: bool) -> HttpResponse:
    try:
        task, trouble = drafts.draft_finish(draft=draft, by=viewer(request), launch=launch)
    except DraftUnfinished as error:
        messages.error(request, str(error))
        return redirect("draft", draft.pk, "review")
    except NotAllowed:
        raise
    except BcflError as error:
        messages.error(request, str(error))
        return redirect("draft", draft.pk, "review")
    if trouble:
        messages.error(request, f"Saved, but not started. {trouble}")
    elif launch:
        messages.success(request, "On its way: the model is made, then the pool is escrowed.")
    return redirect("task", task.pk)


def _step_page(
    request: HttpRequest,
    draft: TaskDraft,
    step: str,
    form: TaskForm,
    shown: TaskForm,
    *,
    trouble: str = "",
    price_form: PriceForm | None = None,
    status: int = 200,
) -> HttpResponse:
    steps = list(STEPS)
    at = steps.index(step)
    problems = form.problems()
    checked = shown is form
    context = {
        **_quote_context(request, form),
        "draft": draft,
        "step": step,
        "step_number": at + 1,
        "step_title": STEPS[step],
        "step_count": len(steps),
        "steps": [
            {
                "key": key,
                "title": title,
                "number": number,
                "wrong": any(problem.step == key for problem in problems),
            }
            for number, (key, title) in enumerate(STEPS.items(), start=1)
        ],
        "next_title": STEPS[steps[at + 1]] if at + 1 < len(steps) else "",
        "form": shown,
        "sections": shown.sections(step),
        "problems": [p for p in problems if p.step == step] if checked else [],
        "editor": request.POST.get("editor") or _editor(request, draft),
        "trouble": trouble,
    }
    if step == "review":
        context |= _review_context(request, form, price_form)
    return page(request, "pages/wizard.html", context, nav="tasks", status=status)


def _editor(request: HttpRequest, draft: TaskDraft) -> str:
    """Who writes on this page: whoever came from the step before, else somebody new."""
    pk, editor = request.session.pop(GOES_ON, (None, ""))
    return editor if editor and pk == draft.pk else secrets.token_hex(8)


def _quote_context(request: HttpRequest, form: TaskForm) -> dict[str, Any]:
    made, user = _made(form), viewer(request)
    balance = token_balance(user.account.address) if user.account else None
    short = made is not None and balance is not None and balance < made.terms.pool
    return {"quote": made, "balance": balance, "short": short, "all_problems": form.problems()}


def _review_context(
    request: HttpRequest, form: TaskForm, price_form: PriceForm | None
) -> dict[str, Any]:
    user, made = viewer(request), _made(form)
    return {
        "review": review(form),
        "prices": price_rows(made, user) if made else [],
        "price_form": price_form or PriceForm(),
        "has_account": user.account is not None,
    }


# --- beside a step --------------------------------------------------------------------------


@login_required
@require_POST
@acts("draft.change")
def draft_save(request: HttpRequest, pk: int) -> HttpResponse:
    """Autosave: keeps a step's fields and answers with what follows from them, out of band."""
    draft = _draft(request, pk)
    step = request.POST.get("step", "data")
    typed = _typed(TaskForm(), step, request.POST)
    trouble = ""
    try:
        draft = drafts.draft_save(
            draft_id=pk,
            by=viewer(request),
            values=typed,
            step=step,
            editor=request.POST.get("editor", ""),
            version=_version(request),
        )
    except (DraftMoved, InvalidTask) as error:
        trouble = str(error)
    context = {
        **_quote_context(request, form_of({**draft.values, **typed})),
        "draft": draft,
        "step": step,
        "trouble": trouble,
        "saved": True,
    }
    response = render(request, "partials/wizard_saved.html", context)
    response["HX-Trigger"] = "draft-saved"
    return response


@login_required
@require_POST
@acts("draft.change")
def draft_delete(request: HttpRequest, pk: int) -> HttpResponse:
    draft = _draft(request, pk)
    drafts.draft_delete(draft=draft, by=viewer(request))
    messages.success(request, f"“{draft.title}” is deleted.")
    return redirect(f"{reverse('tasks')}?show=drafts")


@login_required
@require_GET
def draft_partition(request: HttpRequest, pk: int, kind: str = "") -> HttpResponse:
    """Who has what, as a picture or for download."""
    config = form_of(_draft(request, pk).values).config
    if config is None:
        reason = "The picture appears when the fields of this step fit together."
        return render(request, "partials/partition.html", {"reason": reason})
    try:
        picture = partition_picture(config)
    except TrainingError as error:
        return render(request, "partials/partition.html", {"reason": str(error), "bad": True})
    if kind == "json":
        return JsonResponse(picture.as_json())
    if kind == "csv":
        return _csv(picture.as_csv(), f"draft-{pk}-shares.csv")
    return render(request, "partials/partition.html", {"picture": picture, "draft_pk": pk})


@login_required
@require_GET
def draft_check(request: HttpRequest, pk: int) -> HttpResponse:
    """What the contract would answer, asked of the node now."""
    user = viewer(request)
    form = form_of(_draft(request, pk).values)
    found = check_draft(form, user) if form.is_valid() and user.account else None
    context = {"check": found, "account": user.account, "draft_pk": pk}
    if "plain" in request.GET:
        return page(request, "pages/wizard_check.html", context, nav="tasks")
    return render(request, "partials/wizard_check.html", context)


@login_required
@require_GET
def draft_quote(request: HttpRequest, pk: int) -> HttpResponse:
    """The quote of a draft as JSON, with the prices of remembered networks."""
    made = _made(form_of(_draft(request, pk).values))
    if made is None:
        return JsonResponse(
            {"detail": "Participants, rounds, pool or stake are missing."}, status=409
        )
    return JsonResponse({**made.as_json(), "networks": _networks(made, viewer(request))})


def _made(form: TaskForm) -> Quote | None:
    terms = form.quote_terms
    return quote(terms, gas_price=current_price()) if terms else None


def _networks(made: Quote, user: User) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "gas_price": str(row.gas_price),
            "fee": str(row.fee),
            "fee_relayed": str(row.fee_relayed),
            "money": row.money,
            "money_relayed": row.money_relayed,
        }
        for row in price_rows(made, user)
    ]


def _csv(text: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


# --- templates and prices -------------------------------------------------------------------


@login_required
@acts("template.create")
def template_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Save the settings of a task as a template."""
    user, task = viewer(request), _task(pk)
    typed: Mapping[str, Any] = request.POST if request.method == "POST" else {"name": task.title}
    error: InvalidTask | None = None
    if request.method == "POST":
        try:
            saved = drafts.template_save(
                task=task,
                by=user,
                name=typed.get("name", ""),
                description=typed.get("description", ""),
                shared="shared" in typed,
            )
        except InvalidTask as refused:
            error = refused
        except BcflError as refused:
            messages.error(request, str(refused))
            return redirect("task", pk)
        else:
            messages.success(request, f"“{saved.name}” stands among the templates now.")
            return redirect("task-new")
    context = {"task": task, "typed": typed, "error": error}
    return page(
        request, "pages/template_new.html", context, nav="tasks", status=422 if error else 200
    )


@login_required
@require_POST
@acts("template.delete")
def template_delete(request: HttpRequest, pk: int) -> HttpResponse:
    template = TaskTemplate.objects.select_related("owner").filter(pk=pk).first()
    if template is not None:
        drafts.template_delete(template=template, by=viewer(request))
        messages.success(request, f"The template “{template.name}” is deleted.")
    return redirect("task-new")


@login_required
@require_POST
@acts("price.remember")
def price_save(request: HttpRequest, pk: int) -> HttpResponse:
    """Remember the gas price of another network, and come back to the review of a draft."""
    draft = _draft(request, pk)
    form = PriceForm(request.POST)
    if form.is_valid():
        data = form.cleaned_data
        coin: Decimal | None = data["coin_price"]
        try:
            drafts.price_remember(
                by=viewer(request),
                name=data["name"],
                gas_price=data["gas_price"],
                coin_price=coin,
            )
            return redirect(f"{reverse('draft', args=(draft.pk, 'review'))}#prices")
        except InvalidTask as error:
            form.add_error("name", str(error))
    full = form_of(draft.values)
    return _step_page(request, draft, "review", full, full, price_form=form, status=422)


@login_required
@require_POST
@acts("price.remember")
def price_forget(request: HttpRequest, pk: int, price: int) -> HttpResponse:
    drafts.price_forget(price_id=price, by=viewer(request))
    return redirect(f"{reverse('draft', args=(pk, 'review'))}#prices")
