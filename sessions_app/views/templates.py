"""What people keep for their next tasks: templates, and the gas prices of other networks."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from sessions_app.errors import BcflError, InvalidTask
from sessions_app.forms import drafts
from sessions_app.forms.fields import PriceForm
from sessions_app.forms.values import form_of
from sessions_app.models import TaskTemplate
from sessions_app.views.base import acts, find_task, page, viewer
from sessions_app.views.wizard_page import find_draft, step_page


@login_required
@acts("template.create")
def template_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Save the settings of a task as a template."""
    user, task = viewer(request), find_task(pk)
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
    draft = find_draft(request, pk)
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
    return step_page(request, draft, "review", full, full, price_form=form, status=422)


@login_required
@require_POST
@acts("price.remember")
def price_forget(request: HttpRequest, pk: int, price: int) -> HttpResponse:
    drafts.price_forget(price_id=price, by=viewer(request))
    return redirect(f"{reverse('draft', args=(pk, 'review'))}#prices")
