"""Compare: 2 to 20 tasks side by side."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from sessions_app.selectors.compare import (
    CURVE_COLUMNS,
    FEWEST,
    FIGURE_COLUMNS,
    MOST,
    compare,
    compare_offered,
)
from sessions_app.views.base import page
from sessions_app.views.files import FORMATS, download


def _chosen(request: HttpRequest) -> tuple[list[int], str]:
    """The tasks asked for, ``tasks=1,2,5`` or ``tasks=1&tasks=2``, and what is wrong with them."""
    pks: list[int] = []
    for part in ",".join(request.GET.getlist("tasks")).split(","):
        if not part.strip():
            continue
        if not part.strip().isdigit() or len(part) > 18:
            return pks, f"“{part[:20]}” is no number of a task. Write them like 1,2,5."
        if int(part) not in pks:
            pks.append(int(part))
    if len(pks) > MOST:
        return pks[:MOST], f"{len(pks)} tasks were chosen; the first {MOST} are shown, the most."
    return pks, ""


@login_required
@require_GET
def compare_page(request: HttpRequest) -> HttpResponse:
    pks, trouble = _chosen(request)
    found = compare(pks)
    known = [one.task.pk for one in found.tasks]
    missing = [str(pk) for pk in pks if pk not in known]
    if missing and not trouble:
        trouble = f"There is no task {', '.join(missing)}; it may have been a deleted draft."
    context = {
        "comparison": found,
        "chosen": known,
        "enough": len(known) >= FEWEST,
        "offered": compare_offered(),
        "trouble": trouble,
        "all_rows": "all" in request.GET,
        "most": MOST,
    }
    return page(request, "pages/compare.html", context, nav="compare")


@login_required
@require_GET
def compare_export(request: HttpRequest, what: str, style: str) -> HttpResponse:
    """``figures`` (a row a task), ``curves`` (a row a round) or ``settings`` (a row a setting)."""
    if style not in FORMATS:
        raise Http404(f"There is no format “{style}”; choose {' or '.join(FORMATS)}.")
    found = compare(_chosen(request)[0])
    if what == "figures":
        return download(found.figures(), FIGURE_COLUMNS, "compared-tasks", style)
    if what == "curves":
        return download(found.curve_records(), CURVE_COLUMNS, "compared-curves", style)
    if what == "settings":
        columns, rows = found.setting_records()
        return download(rows, columns, "compared-settings", style)
    raise Http404(f"There is no export “{what}”; choose figures, curves or settings.")
