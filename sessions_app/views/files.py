"""Lists as files: CSV and JSON from the same records."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse

from sessions_app.selectors.ledger.export import FORMATS
from sessions_app.selectors.task.series import csv_text

Records = Iterable[Mapping[str, Any]]


def file_asked(
    request: HttpRequest, records: Callable[[], Records], columns: Sequence[str], name: str
) -> HttpResponse | None:
    """The file that ``?format=`` asks for; None when the page is wanted."""
    style = request.GET.get("format", "")
    return download(records(), columns, name, style) if style else None


def download(records: Records, columns: Sequence[str], name: str, style: str) -> HttpResponse:
    """Raises Http404 for a style that is neither csv nor json."""
    if style not in FORMATS:
        raise Http404(f"There is no format “{style[:20]}”; choose {' or '.join(FORMATS)}.")
    text = io.StringIO()
    if style == "json":
        json.dump(list(records), text, indent=1)
    else:
        writer = csv.writer(text)
        writer.writerow(columns)
        for record in records:
            writer.writerow([_cell(record[column]) for column in columns])
    answer = HttpResponse(text.getvalue(), content_type=FORMATS[style])
    answer["Content-Disposition"] = f'attachment; filename="{name}.{style}"'
    return answer


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return csv_text(value) if isinstance(value, str) else value
