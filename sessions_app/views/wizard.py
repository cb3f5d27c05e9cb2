"""The task wizard: from a template over a draft, step by step, to a funded task."""

from __future__ import annotations

from typing import TypedDict

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from sessions_app.errors import BcflError, InvalidTask, NotAllowed
from sessions_app.formats import count
from sessions_app.forms import drafts
from sessions_app.forms.drafts import DraftMoved, DraftUnfinished
from sessions_app.forms.private import FILE, columns_from, held_out_from
from sessions_app.forms.review import start_choices, template_values
from sessions_app.forms.tables import STEPS
from sessions_app.forms.task import TaskForm
from sessions_app.forms.values import Values, form_of
from sessions_app.models import TaskDraft
from sessions_app.views.base import acts, find_task, page, viewer
from sessions_app.views.wizard_page import GOES_ON, find_draft, quote_context, step_page

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
        draft = drafts.draft_from_task(task=find_task(pk), by=viewer(request))
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
    task, user = find_task(pk), viewer(request)
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
        elif name in post and name != "private__held_out":  # only a file that was read sets it
            values[name] = post.get(name, "")
    return values


@login_required
@acts("draft.change")
def draft_step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    if step not in STEPS:
        raise Http404(f"There is no step “{step}”; they are {', '.join(STEPS)}.")
    draft = find_draft(request, pk)
    if request.method == "POST":
        return _step_posted(request, draft, step)
    form = form_of(draft.values)
    shown = form if "check" in request.GET else _unchecked(form)
    return step_page(request, draft, step, form, shown)


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
            **_sender(request),
        )
    except BcflError as error:  # what was typed is shown again, as it was typed
        form = form_of({**draft.values, **typed})
        return step_page(request, draft, step, form, form, trouble=str(error), status=422)
    # The next step is the same writer: a save of this page that is still on its way is no conflict.
    request.session[GOES_ON] = [draft.pk, request.POST.get("editor", "")]
    if action in _READS:
        return _file_read(request, draft, step, action)
    if action in _LAUNCHES:
        return _finish(request, draft, launch=_LAUNCHES[action])
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
        return step_page(request, draft, step, form, form, status=422)
    return redirect("draft", draft.pk, steps[min(at + 1, len(steps) - 1)])


_LAUNCHES: dict[str, drafts.Launch] = {"fund": "fund", "wallet": "wallet", "keep": "keep"}
_READS = {"columns": columns_from, "held-out": held_out_from}


def _file_read(request: HttpRequest, draft: TaskDraft, step: str, action: str) -> HttpResponse:
    """Fill fields in from a file; what is wrong with it stands at the field, line by line."""
    try:
        found = _READS[action](draft=draft, by=viewer(request), upload=request.FILES.get(FILE))
        by = viewer(request)
        drafts.draft_save(draft_id=draft.pk, by=by, values=found, **_sender(request, keep=True))
    except InvalidTask as error:
        form = form_of(draft.values)
        form.errors.clear()
        form.add_error(error.field or None, str(error).splitlines())
        return step_page(request, draft, step, form, form, status=422)
    messages.success(
        request,
        "The columns, the label and its classes are as in the file. Its rows were dropped."
        if action == "columns"
        else "The held-out samples are stored.",
    )
    return redirect(f"{reverse('draft', args=(draft.pk, step))}#section-everyones-own-data")


class _Sender(TypedDict):
    """Which page saves, knowing which version, in which of its turns: see draft_save."""

    editor: str
    version: int | None
    turn: int | None


def _sender(request: HttpRequest, *, keep: bool = False) -> _Sender:
    """``keep``: whatever version is there, it is overwritten."""
    keep = keep or "keep" in request.POST
    return {
        "editor": request.POST.get("editor", ""),
        "version": None if keep else _number(request, "version"),
        "turn": _number(request, "turn"),
    }


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.POST.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _finish(request: HttpRequest, draft: TaskDraft, *, launch: drafts.Launch) -> HttpResponse:
    """``launch``: fund, from the hosted account; wallet; or keep, as an unstarted task."""
    try:
        done = drafts.draft_finish(draft=draft, by=viewer(request), launch=launch)
    except DraftUnfinished as error:
        messages.error(request, str(error))
        return redirect("draft", draft.pk, "review")
    except NotAllowed:
        raise
    except BcflError as error:
        messages.error(request, str(error))
        return redirect("draft", draft.pk, "review")
    if done.trouble:
        messages.error(request, f"Saved, but not started. {done.trouble}")
    elif launch == "fund":
        messages.success(request, "On its way: the model is made, then the pool is escrowed.")
    if done.invited:
        messages.success(
            request,
            f"{count(len(done.invited), 'invitation')} made; their links are under Invitations.",
        )
    wallet = launch == "wallet" and not done.trouble
    return redirect("task-wallet" if wallet else "task", done.task.pk)


@login_required
@require_POST
@acts("draft.change")
def draft_save(request: HttpRequest, pk: int) -> HttpResponse:
    """Autosave: keeps a step's fields and answers with what follows from them, out of band."""
    draft = find_draft(request, pk)
    step = request.POST.get("step", "data")
    typed = _typed(TaskForm(), step, request.POST)
    trouble = ""
    try:
        draft = drafts.draft_save(
            draft_id=pk,
            by=viewer(request),
            values=typed,
            step=step,
            **_sender(request),
        )
    except (DraftMoved, InvalidTask) as error:
        trouble = str(error)
    context = {
        **quote_context(request, form_of({**draft.values, **typed})),
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
    draft = find_draft(request, pk)
    drafts.draft_delete(draft=draft, by=viewer(request))
    messages.success(request, f"“{draft.title}” is deleted.")
    return redirect(f"{reverse('tasks')}?show=drafts")
