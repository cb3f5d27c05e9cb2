"""The model registry from the command line: what the pages and the API do."""

from __future__ import annotations

import json
import shutil
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sessions_app.errors import BcflError
from sessions_app.models import ModelFile, Task, User
from sessions_app.selectors.models.card import model_card
from sessions_app.selectors.models.registry import registered_model
from sessions_app.selectors.task.data import task_get
from sessions_app.services import models as model_services

PATIENCE = 300.0  # seconds for a file to be made


class Command(BaseCommand):
    help = "List a model's versions, promote, roll back or retire one, write its card or file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as", dest="user", default="", help="username; default: an admin")
        kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
        for name, text in (
            ("show", "versions and stages, as JSON"),
            ("promote", "put a version into production"),
            ("rollback", "put the version into production that was there before"),
            ("retire", "take a version out"),
            ("restore", "make a retired version a candidate again"),
            ("card", "print the model card as Markdown"),
            ("export", "write a file of a version"),
            ("predict", "ask a version about rows"),
        ):
            sub = kinds.add_parser(name, help=text, description=text)
            sub.add_argument("model", type=int, help="number of the task")
            if name not in ("show", "rollback"):
                sub.add_argument("--version-number", type=int, required=name != "predict")
            if name in ("promote", "rollback", "retire", "restore"):
                sub.add_argument("--note", default="", help="why; kept")
            if name == "export":
                sub.add_argument("--format", choices=model_services.FORMATS, default="safetensors")
                sub.add_argument("--to", type=Path, default=Path(), help="folder or file")
            if name == "predict":
                sub.add_argument("rows", help="JSON, a list of rows")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            task = task_get(options["model"])
            self.stdout.write(self._do(task, _person(options["user"]), options))
        except Task.DoesNotExist as error:
            raise CommandError(f"There is no model {options['model']}.") from error
        except BcflError as error:
            raise CommandError(str(error)) from error

    def _do(self, task: Task, by: User, options: dict[str, Any]) -> str:
        number = options.get("version_number")
        what = options["what"]
        if what == "show":
            return json.dumps([v.as_json() for v in registered_model(task).versions], indent=2)
        if what == "rollback":
            decision = model_services.model_roll_back(task=task, by=by, note=options["note"])
            return f"{decision.get_action_display()} version {decision.number}."
        if what == "predict":
            try:
                rows = json.loads(options["rows"])
            except ValueError as error:
                raise CommandError(f"The rows are not JSON: {error}") from error
            answer = model_services.predict(task=task, rows=rows, by=by, number=number)
            return json.dumps(answer, indent=2)
        assert number is not None  # required by the parser
        if what == "card":
            model = registered_model(task)
            return model_card(model, model.version(number)).as_markdown()
        if what == "export":
            return self._export(task, number, by, options["format"], options["to"])
        act = {
            "promote": model_services.version_promote,
            "retire": model_services.version_retire,
            "restore": model_services.version_restore,
        }[what]
        decision = act(task=task, number=number, by=by, note=options["note"])
        return f"{decision.get_action_display()} version {decision.number}."

    def _export(self, task: Task, number: int, by: User, format: str, to: Path) -> str:
        if format != "safetensors":
            row = model_services.file_request(task=task, number=number, format=format, by=by)
            deadline = time.monotonic() + PATIENCE
            while row.under_way:
                if time.monotonic() > deadline:
                    raise CommandError(f"Not made within {PATIENCE:g} s. Is a worker running?")
                time.sleep(0.2)
                row.refresh_from_db()
            if row.status == ModelFile.Status.FAILED:
                raise CommandError(row.error)
        found = model_services.file_download(task=task, number=number, format=format, by=by)
        target = to / found.name if to.is_dir() else to
        shutil.copyfile(found.path, target)
        return f"{target}: {found.size:,} bytes, SHA-256 {found.sha256}"


def _person(username: str) -> User:
    people = User.objects.filter(is_active=True)
    chosen = people.filter(username=username) if username else people.filter(role="admin")
    found = chosen.order_by("pk").first()
    if found is None:
        raise CommandError(
            f"There is no account {username!r}." if username else "There is no admin; use --as."
        )
    return found
