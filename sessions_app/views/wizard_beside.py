"""What is asked beside a step of the wizard: the partition, the contract's answer, the quote."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from sessions_app.forms.review import check_draft
from sessions_app.forms.values import form_of
from sessions_app.selectors.wizard.partition import partition_picture
from sessions_app.selectors.wizard.quote import quote_record
from sessions_app.views.base import download, page, viewer
from sessions_app.views.wizard_page import find_draft, made_quote
from training.errors import TrainingError


@login_required
@require_GET
def draft_partition(request: HttpRequest, pk: int, kind: str = "") -> HttpResponse:
    """Who has what, as a picture or for download."""
    config = form_of(find_draft(request, pk).values).config
    if config is None:
        reason = "The picture appears when the fields of this step fit together."
        return render(request, "partials/partition.html", {"reason": reason})
    if config.dataset.is_private:
        reason = "Everyone brings their own samples; nobody here knows how many."
        return render(request, "partials/partition.html", {"reason": reason})
    try:
        picture = partition_picture(config)
    except TrainingError as error:
        return render(request, "partials/partition.html", {"reason": str(error), "bad": True})
    if kind == "json":
        return JsonResponse(picture.as_json())
    if kind == "csv":
        return download(picture.as_csv(), f"draft-{pk}-shares.csv")
    return render(request, "partials/partition.html", {"picture": picture, "draft_pk": pk})


@login_required
@require_GET
def draft_check(request: HttpRequest, pk: int) -> HttpResponse:
    """What the contract would answer, asked of the node now."""
    user = viewer(request)
    form = form_of(find_draft(request, pk).values)
    found = check_draft(form, user) if form.is_valid() and user.account else None
    context = {"check": found, "account": user.account, "draft_pk": pk}
    if "plain" in request.GET:
        return page(request, "pages/wizard_check.html", context, nav="tasks")
    return render(request, "partials/wizard_check.html", context)


@login_required
@require_GET
def draft_quote(request: HttpRequest, pk: int) -> HttpResponse:
    """The quote of a draft as JSON, with the prices of remembered networks."""
    made = made_quote(form_of(find_draft(request, pk).values))
    if made is None:
        return JsonResponse(
            {"detail": "Participants, rounds, pool or stake are missing."}, status=409
        )
    return JsonResponse(quote_record(made, viewer(request)))
