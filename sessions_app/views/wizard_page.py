"""What the pages of the wizard share: the draft, the page of a step and its quote."""

from __future__ import annotations

import secrets
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse

from sessions_app.access import require
from sessions_app.forms.columns import held_out
from sessions_app.forms.fields import PriceForm
from sessions_app.forms.private import FILE
from sessions_app.forms.review import review
from sessions_app.forms.tables import STEPS
from sessions_app.forms.task import TaskForm
from sessions_app.models import TaskDraft
from sessions_app.selectors.balances import token_balance
from sessions_app.selectors.wizard.quote import Quote, current_price, price_rows, quote
from sessions_app.views.base import page, viewer

GOES_ON = "wizard_goes_on"  # in the session, from one step to the next


def find_draft(request: HttpRequest, pk: int) -> TaskDraft:
    draft = TaskDraft.objects.select_related("owner", "task").filter(pk=pk).first()
    if draft is None:
        raise Http404(
            f"There is no draft {pk}. It was deleted, or has become a task; look under Tasks."
        )
    require(viewer(request), "draft.change", draft)
    return draft


def step_page(
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
        **quote_context(request, form),
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
        "held_out": held_out(str(draft.values.get("private__held_out", ""))),
        "file_field": FILE,
    }
    if step == "review":
        context |= _review_context(request, form, price_form)
    return page(request, "pages/wizard.html", context, nav="tasks", status=status)


def _editor(request: HttpRequest, draft: TaskDraft) -> str:
    """Who writes on this page: whoever came from the step before, else somebody new."""
    pk, editor = request.session.pop(GOES_ON, (None, ""))
    return editor if editor and pk == draft.pk else secrets.token_hex(8)


def quote_context(request: HttpRequest, form: TaskForm) -> dict[str, Any]:
    made, user = made_quote(form), viewer(request)
    balance = token_balance(user.account.address) if user.account else None
    short = made is not None and balance is not None and balance < made.terms.pool
    return {"quote": made, "balance": balance, "short": short, "all_problems": form.problems()}


def _review_context(
    request: HttpRequest, form: TaskForm, price_form: PriceForm | None
) -> dict[str, Any]:
    user, made = viewer(request), made_quote(form)
    return {
        "review": review(form),
        "prices": price_rows(made, user) if made else [],
        "price_form": price_form or PriceForm(),
        "has_account": user.account is not None,
    }


def made_quote(form: TaskForm) -> Quote | None:
    terms = form.quote_terms
    return quote(terms, gas_price=current_price()) if terms else None
