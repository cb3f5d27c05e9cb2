"""The form behind the task wizard, built from the tables of ``training.choices``: it offers what
works, with the bounds that the checks enforce. One form for all steps; a step shows its part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from django import forms

from chain.models import Account
from sessions_app.forms import parts
from sessions_app.forms.columns import fits, held_out
from sessions_app.forms.fields import parameter_field
from sessions_app.forms.layout import FieldRow, Problem, Section, layout
from sessions_app.forms.tables import REQUIRED, SECONDS, STEPS, TABLES, TASK, WITH_PARAMETERS
from sessions_app.forms.terms import TaskTerms, chosen, config_dict, field_of
from sessions_app.selectors.wizard.own_files import own_file_source
from sessions_app.selectors.wizard.quote import QuoteTerms
from training.blobs import BlobStore
from training.errors import SpecError, TrainingError
from training.specs import DATASETS, HOLDOUT, LOCAL_PARAMETERS, TaskConfig

# The data sets that are dealt out here; of private data nobody else has any.
HERE = "dataset=" + ",".join(name for name in DATASETS if name != "private")


class TaskForm(forms.Form):
    """``shown_for`` maps a field to the choices it belongs to, as ``model=mlp`` (several, parted
    by ``;``, must all be made); the page hides it for others, and its value is then ignored."""

    title = forms.CharField(
        max_length=120,
        help_text="Participants choose by it.",
        widget=forms.TextInput(attrs={"placeholder": "Retina screening, five clinics"}),
        error_messages={"required": "Title is empty. Participants choose by it; say what for."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shown_for = {"own_file": "dataset=own", "model__layers": "model=layers"}
        self.shown_for |= dict.fromkeys(("partition", "holdout", "hosted_places"), HERE)
        self.accounts = {
            account.address: account
            for account in Account.objects.filter(kind="evaluator").order_by("pk")
        }
        self.fields |= {kind: parts.choice_field(kind) for kind in TABLES}
        for name, parameter in TASK.items():
            self.fields[name] = parameter_field(parameter, required=name in REQUIRED)
        self.fields["own_file"] = parts.own_file_field()
        for name, found in parts.private_fields().items():
            self.fields[name] = found
            self.shown_for[name] = "dataset=private"
        self.fields["holdout"] = parameter_field(HOLDOUT)
        for kind in WITH_PARAMETERS:
            fields, shown_for = parts.parameter_fields(kind)
            self.fields |= fields
            for key, choices in shown_for.items():
                self.shown_for[key] = f"{HERE};{choices}" if kind == "partition" else choices
        self.fields["model__layers"] = parts.layers_field()
        for parameter in LOCAL_PARAMETERS:
            self.fields[f"local__{parameter.name}"] = parameter_field(parameter)
        self.fields |= parts.money_fields() | parts.people_fields(self.accounts)
        self.fields |= parts.invitation_fields()

    # --- on the page ------------------------------------------------------------------------

    @property
    def absent_labels(self) -> list[tuple[str, str]]:
        return [(DATASETS[name].label, why) for name, why in parts.absent_datasets().items()]

    def sections(self, step: str) -> list[Section]:
        found = layout(self.fields).get(step, [])
        return [replace(section, rows=self._rows(section.names)) for section in found]

    def names_of(self, step: str) -> list[str]:
        return [name for section in layout(self.fields).get(step, []) for name in section.names]

    def _rows(self, names: Iterable[str]) -> list[FieldRow]:
        rows = []
        for name in names:
            shown_for, hint = self.shown_for.get(name, ""), ""
            if name in TABLES:
                found = TABLES[name][1].get(str(self[name].value()))
                hint = found.help if found else ""
            rows.append(FieldRow(self[name], shown_for, self._hidden(name), hint))
        return rows

    def _hidden(self, name: str) -> bool:
        for condition in filter(None, self.shown_for.get(name, "").split(";")):
            kind, _, choices = condition.partition("=")
            if (self[kind].value() or TABLES[kind][2]) not in choices.split(","):
                return True
        return False

    def problems(self) -> list[Problem]:
        """Step by step, in the order of the fields."""
        found = []
        for step in STEPS:
            for name in self.names_of(step):
                label = str(self.fields[name].label or name.replace("_", " ").capitalize())
                for message in self.errors.get(name, []):
                    found.append(Problem(step, name, label, str(message)))
        for message in self.non_field_errors():
            found.append(Problem("data", "title", "Configuration", str(message)))
        return found

    @property
    def choice_help(self) -> dict[str, dict[str, str]]:
        """Kind → choice → its sentence, for the hint below a list."""
        return {
            kind: {choice.name: choice.help for choice in choices.values()}
            for kind, (_, choices, _) in TABLES.items()
        }

    # --- the checks -------------------------------------------------------------------------

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        self.config: TaskConfig | None = None
        self.source: dict[str, Any] | None = None
        self.schema: dict[str, Any] | None = None
        for name in [name for name in self.errors if self._hidden(name)]:
            del self.errors[name]  # what is not shown is not used, and nobody could mend it
            data[name] = None
        self._check_data(data)
        self._check_people(data)
        config_names = set(self.names_of("data") + self.names_of("training")) - {"title"}
        if not config_names & set(self.errors):
            try:
                made = config_dict(data, source=self.source, schema=self.schema)
                self.config = TaskConfig.from_dict(made)
            except SpecError as error:
                self.add_error(field_of(error, self.fields), str(error))
        return data

    def _check_data(self, data: Mapping[str, Any]) -> None:
        dataset = chosen(data, "dataset")
        reason = DATASETS[dataset].unavailable()
        if reason:
            self.add_error("dataset", reason[:1].upper() + reason[1:])
        elif dataset == "private":
            self._check_private(data)
        elif dataset == "own" and "own_file" not in self.errors:
            try:
                if not data.get("own_file"):
                    raise SpecError("own_file", "empty", "one of the files listed", "Choose one.")
                self.source = own_file_source(data["own_file"])
            except TrainingError as error:
                self.add_error("own_file", str(error))

    def _check_private(self, data: Mapping[str, Any]) -> None:
        """Of everyone's own data: each part is there, and the held-out samples fit the others."""
        names = ("private__columns", "private__label", "private__classes")
        for name in names:
            if not data.get(name) and name not in self.errors:
                self.add_error(name, parts.PRIVATE_MISSING[name])
        told = held_out(data.get("private__held_out") or "")
        if told is None:
            self.add_error("private__held_out", parts.PRIVATE_MISSING["private__held_out"])
        if told is None or self.errors.keys() & set(names):
            return
        columns, label, classes = (data[name] for name in names)
        if told["fits"] != fits(columns, label, classes):
            self.add_error(
                "private__held_out",
                "The columns, the label or the classes have changed since the held-out samples "
                "were read. Read the file again.",
            )
        elif not BlobStore.default().exists(told["hash"]):
            self.add_error(
                "private__held_out",
                f"The held-out samples {told['hash']} are not stored here. Read the file again.",
            )
        self.schema = {
            "features": [asdict(column) for column in columns],
            "label": label,
            "classes": classes,
            "evaluation": told["hash"],
            "evaluation_samples": told["samples"],
        }

    def _check_people(self, data: Mapping[str, Any]) -> None:
        most = data.get("participants")
        for name in ("hosted_places", "min_participants"):
            value = data.get(name)
            if value is not None and most is not None and value > most:
                self.add_error(
                    name,
                    f"{value} is more than the {most} participants. Use at most {most}, or leave "
                    "it empty for all.",
                )
        if self.errors.keys() & {"evaluators", "outside_evaluators"}:
            return
        judges = len(data.get("evaluators", [])) + len(data.get("outside_evaluators", []))
        if not judges:
            self.add_error(
                "evaluators",
                "Nobody would score the updates. Choose an evaluator, or name one elsewhere."
                if self.accounts
                else "This console has no evaluator. Name one elsewhere, or ask an admin to add "
                "one (manage.py seed_demo on a development chain).",
            )
        quorum = data.get("quorum")
        if quorum is not None and judges and not judges // 2 < quorum <= judges:
            self.add_error(
                "quorum",
                f"{quorum} of {judges} is not accepted. Needs more than half and at most all: from "
                f"{judges // 2 + 1} to {judges}.",
            )

    # --- what comes out ---------------------------------------------------------------------

    @property
    def terms(self) -> TaskTerms:
        """Of a valid form."""
        data = self.cleaned_data
        if self.config is None:
            raise ValueError("The form has errors; look at problems() first.")
        return TaskTerms(
            title=data["title"],
            config=self.config,
            pool=data["pool"],
            stake=data["stake"] or 0,
            hosted_places=0 if self.config.dataset.is_private else data["hosted_places"],
            min_participants=data["min_participants"],
            evaluators=[self.accounts[address] for address in data["evaluators"]],
            outside_evaluators=data["outside_evaluators"],
            quorum=data["quorum"],
            invite_emails=data["invite__emails"],
            invite_links=data["invite__links"] or 0,
            invite_message=data["invite__message"],
            seconds={n: data[n] or default for n, (_, _, default) in SECONDS.items()},
        )

    @property
    def quote_terms(self) -> QuoteTerms | None:
        """As soon as the numbers that the cost depends on can be read."""
        data = self.cleaned_data
        if not {"participants", "rounds", "pool", "stake"} <= data.keys():
            return None
        judges = len(data.get("evaluators", [])) + len(data.get("outside_evaluators", []))
        return QuoteTerms(
            participants=data["participants"],
            rounds=data["rounds"],
            pool=data["pool"],
            stake=data["stake"] or 0,
            evaluators=judges or 1,
            quorum=data.get("quorum") or judges // 2 + 1,
        )
