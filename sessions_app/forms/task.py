"""The form behind the task wizard, built from the tables of ``training.choices``: it offers what
works, with the bounds that the checks enforce. One form for all steps; a step shows its part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from chain.models import Account
from sessions_app.formats import exact_amount
from sessions_app.forms.fields import (
    AddressesField,
    AmountField,
    AvailableSelect,
    DurationField,
    LayersField,
    as_text,
    duration_text,
    parameter_field,
)
from sessions_app.models import Task
from sessions_app.selectors.wizard.own_files import own_file_choices, own_file_source
from sessions_app.selectors.wizard.quote import QuoteTerms
from training.errors import SpecError, TrainingError
from training.specs import (
    ALGORITHMS,
    DATASETS,
    HOLDOUT,
    LOCAL_PARAMETERS,
    MODELS,
    PARTITIONS,
    PRIVACY,
    REWARD_MODES,
    SCORINGS,
    TASK_PARAMETERS,
    Choice,
    Parameter,
    TaskConfig,
)

STEPS = {
    "data": "Data and model",
    "training": "Training",
    "terms": "People and money",
    "review": "Review and fund",
}
REQUIRED = ("title", "participants", "rounds", "pool")
DEFAULT_POOL = "1000"
DEFAULT_STAKE = "10"
SECONDS = {
    "join_seconds": ("Time to join", "Then it starts with who is there, or ends.", 3600),
    "update_seconds": ("Time to submit", "Who is later misses the round.", 600),
    "score_seconds": ("Time to score", "For the evaluators, in each round.", 600),
    "aggregate_seconds": ("Time to aggregate", "For the evaluators, in each round.", 600),
}
_TASK = {parameter.name: parameter for parameter in TASK_PARAMETERS}
# Kind of choice → its table and default; the parameters of each stand as kind__name.
_TABLES: dict[str, tuple[str, Mapping[str, Choice], str]] = {
    "dataset": ("Data set", DATASETS, "digits"),
    "partition": ("Who has what", PARTITIONS, "iid"),
    "model": ("Model", MODELS, "mlp"),
    "algorithm": ("Algorithm", ALGORITHMS, "fedavg"),
    "scoring": ("Scoring", SCORINGS, "accuracy"),
    "privacy": ("Privacy", PRIVACY, "none"),
    "reward_mode": ("Rewards are shared", REWARD_MODES, "score"),
}
_WITH_PARAMETERS = ("partition", "model", "algorithm", "scoring", "privacy")
_DEFAULT_LAYERS = [{"layer": "Flatten"}, {"layer": "Dense", "units": 64, "activation": "relu"}]


@dataclass(frozen=True)
class TaskTerms:
    """All that a task is made of; amounts in wei, times in seconds. None: all, or a majority."""

    title: str
    config: TaskConfig
    pool: int
    stake: int
    hosted_places: int | None
    min_participants: int | None
    evaluators: Sequence[Account]
    outside_evaluators: Sequence[str]
    quorum: int | None
    seconds: Mapping[str, int]


@dataclass(frozen=True)
class FieldRow:
    """``shown_for``: the choices it belongs to, as ``model=mlp``; ``hidden`` while another is
    made. ``hint``: the sentence of the choice that is made."""

    field: BoundField
    shown_for: str
    hidden: bool
    hint: str


@dataclass(frozen=True)
class Section:
    """A card of a step. ``more``: folded away until it is asked for, or wrong."""

    title: str
    names: Sequence[str]
    more: bool = False
    rows: Sequence[FieldRow] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.title.split(":")[0].lower().replace(" ", "-")

    @property
    def has_errors(self) -> bool:
        return any(row.field.errors for row in self.rows)


@dataclass(frozen=True)
class Problem:
    """What must be settled before the task can be made: where, and what to write."""

    step: str
    name: str
    label: str
    message: str


class TaskForm(forms.Form):
    """``shown_for`` maps a parameter's field to the choices it belongs to, as ``model=mlp``; the
    page hides it for others, and its value is then ignored."""

    title = forms.CharField(
        max_length=120,
        help_text="Participants choose by it.",
        widget=forms.TextInput(attrs={"placeholder": "Retina screening, five clinics"}),
        error_messages={"required": "Title is empty. Participants choose by it; say what for."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shown_for: dict[str, str] = {}
        for kind in _TABLES:
            self._choice(kind)
        for name in _TASK:
            self.fields[name] = parameter_field(_TASK[name], required=name in REQUIRED)
        self._own_file()
        self.fields["holdout"] = parameter_field(HOLDOUT)
        for kind in _WITH_PARAMETERS:
            self._parameters(kind)
        self.fields["model__layers"] = LayersField(
            label="Layers",
            initial=as_text(_DEFAULT_LAYERS),
            help_text="JSON; the last layer, one output a class, is added.",
        )
        self.shown_for["model__layers"] = "model=layers"
        for parameter in LOCAL_PARAMETERS:
            self.fields[f"local__{parameter.name}"] = parameter_field(parameter)
        self._money()
        self._people()

    # --- the fields -------------------------------------------------------------------------

    def _choice(self, kind: str) -> None:
        label, choices, default = _TABLES[kind]
        found = forms.ChoiceField(
            label=label,
            choices=[(choice.name, choice.label) for choice in choices.values()],
            initial=default,
            required=False,
            widget=AvailableSelect,
        )
        found.error_messages["invalid_choice"] = (
            f"“%(value)s” is not among the choices here: {', '.join(choices)}."
        )
        if kind == "dataset":
            found.widget.unavailable = self.absent_datasets
        self.fields[kind] = found

    @property
    def absent_datasets(self) -> dict[str, str]:
        """Data sets that cannot be used on this machine → what is needed."""
        reasons = {dataset.name: dataset.unavailable() for dataset in DATASETS.values()}
        return {name: reason for name, reason in reasons.items() if reason}

    @property
    def absent_labels(self) -> list[tuple[str, str]]:
        return [(DATASETS[name].label, reason) for name, reason in self.absent_datasets.items()]

    def _own_file(self) -> None:
        choices = own_file_choices()
        self.fields["own_file"] = forms.ChoiceField(
            label="File",
            choices=[("", "Choose a file" if choices else "No .csv or .npz file here"), *choices],
            required=False,
            help_text="CSV or NPZ in BCFL_DATA_DIR. Its hash goes into the configuration.",
            error_messages={
                "invalid_choice": "There is no file “%(value)s” in BCFL_DATA_DIR any more. Choose "
                "another, or put it back."
            },
        )
        self.shown_for["own_file"] = "dataset=own"

    def _parameters(self, kind: str) -> None:
        """One field for each parameter name of a table; choices may share one (norm_bound)."""
        owners: dict[str, list[str]] = {}
        for choice in _TABLES[kind][1].values():
            for parameter in choice.parameters:
                key = f"{kind}__{parameter.name}"
                owners.setdefault(key, []).append(choice.name)
                if key not in self.fields:
                    self.fields[key] = parameter_field(parameter)
        for key, names in owners.items():
            self.shown_for[key] = f"{kind}={','.join(names)}"

    def _money(self) -> None:
        self.fields["pool"] = AmountField(
            label="Reward pool, FLT",
            example=DEFAULT_POOL,
            initial=DEFAULT_POOL,
            help_text="Escrowed in the contract at the start; shared out round by round.",
        )
        self.fields["stake"] = AmountField(
            label="Stake per participant, FLT",
            example=DEFAULT_STAKE,
            initial=DEFAULT_STAKE,
            required=False,
            help_text="Each participant locks it; it comes back unless they cheat.",
        )
        for name, (label, help_text, seconds) in SECONDS.items():
            self.fields[name] = DurationField(label=label, help_text=help_text, seconds=seconds)

    def _people(self) -> None:
        places = Parameter("hosted_places", "Places trained for here", "", "int", 5, 0, 1000)
        self.fields["hosted_places"] = parameter_field(places)
        self.fields["hosted_places"].initial = ""
        self.fields[
            "hosted_places"
        ].help_text = (
            "Empty: all. The others are open to wallets and agents with data of their own."
        )
        fewest = Parameter("min_participants", "Fewest to start", "", "int", 5, 1, 1000)
        self.fields["min_participants"] = parameter_field(fewest)
        self.fields["min_participants"].initial = ""
        self.fields["min_participants"].help_text = "Empty: all places must be taken."
        self.accounts = {
            account.address: account
            for account in Account.objects.filter(kind="evaluator").order_by("pk")
        }
        self.fields["evaluators"] = forms.MultipleChoiceField(
            label="Evaluators here",
            choices=[(address, account.label) for address, account in self.accounts.items()],
            initial=list(self.accounts)[:1],
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text="They score each update and vote on the result.",
            error_messages={
                "invalid_choice": "%(value)s is no evaluator of this console. Choose another."
            },
        )
        self.fields["outside_evaluators"] = AddressesField(
            label="Evaluators elsewhere",
            help_text="Addresses, one a line; they score from machines of their own.",
        )
        quorum = Parameter("quorum", "Quorum", "", "int", 2, 1, 255)
        self.fields["quorum"] = parameter_field(quorum)
        self.fields["quorum"].initial = ""
        self.fields["quorum"].help_text = "Evaluators that must agree. Empty: just over half."

    # --- steps ------------------------------------------------------------------------------

    def sections(self, step: str) -> list[Section]:
        def of(kind: str) -> list[str]:
            return [name for name in self.fields if name.startswith(f"{kind}__")]

        sections = {
            "data": [
                Section("Task", ["title"]),
                Section(
                    "Data",
                    ["dataset", "own_file", "participants", "partition", *of("partition")],
                ),
                Section("Model", ["model", *of("model")]),
                Section("More: held-out share, seed", ["holdout", "seed"], more=True),
            ],
            "training": [
                Section("Rounds", ["rounds", "algorithm", *of("algorithm")]),
                Section("Local training", of("local")),
                Section("Scoring", ["scoring", *of("scoring")]),
                Section("Privacy", ["privacy", *of("privacy")]),
            ],
            "terms": [
                Section("Money", ["pool", "stake", "reward_mode"]),
                Section("Who takes part", ["hosted_places", "min_participants"]),
                Section("Who scores", ["evaluators", "outside_evaluators", "quorum"]),
                Section("Deadlines: how long to wait for whom", list(SECONDS), more=True),
            ],
        }
        return [
            Section(s.title, s.names, s.more, self._bound(s.names)) for s in sections.get(step, [])
        ]

    def names_of(self, step: str) -> list[str]:
        return [name for section in self.sections(step) for name in section.names]

    def _bound(self, names: Iterable[str]) -> list[FieldRow]:
        rows = []
        for name in names:
            shown_for, hint = self.shown_for.get(name, ""), ""
            kind, _, choices = shown_for.partition("=")
            hidden = bool(kind) and self[kind].value() not in choices.split(",")
            if name in _TABLES:
                chosen = _TABLES[name][1].get(str(self[name].value()))
                hint = chosen.help if chosen else ""
            rows.append(FieldRow(self[name], shown_for, hidden, hint))
        return rows

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
            for kind, (_, choices, _) in _TABLES.items()
        }

    # --- what comes out ---------------------------------------------------------------------

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        self.config: TaskConfig | None = None
        self._check_data(data)
        self._check_people(data)
        config_names = set(self.names_of("data") + self.names_of("training")) - {"title"}
        if not config_names & set(self.errors):
            try:
                self.config = TaskConfig.from_dict(self._config_dict(data))
            except SpecError as error:
                self.add_spec_error(error)
        return data

    def _check_data(self, data: Mapping[str, Any]) -> None:
        chosen = self._chosen(data, "dataset")
        reason = "" if self._schema() else DATASETS[chosen].unavailable()
        if reason:
            self.add_error("dataset", reason[:1].upper() + reason[1:])
        elif chosen == "own" and "own_file" not in self.errors:
            try:
                if not data.get("own_file"):
                    raise SpecError("own_file", "empty", "one of the files listed", "Choose one.")
                self.source = own_file_source(data["own_file"])
            except TrainingError as error:
                self.add_error("own_file", str(error))

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
                f"{quorum} of {judges} does not do. Needs more than half and at most all: from "
                f"{judges // 2 + 1} to {judges}.",
            )

    def _config_dict(self, data: Mapping[str, Any]) -> dict[str, Any]:
        dataset = self._chosen(data, "dataset")
        partition, scoring = self._chosen(data, "partition"), self._chosen(data, "scoring")
        model = self._chosen(data, "model")
        model_params = self._params(data, "model")
        if model == "layers":
            model_params = {"layers": data.get("model__layers") or _DEFAULT_LAYERS}
        config: dict[str, Any] = {
            "dataset": {
                "name": dataset,
                "partition": partition,
                **self._params(data, "partition"),
                **_given(data, {"holdout": "holdout"}),
            },
            "model": {"name": model, "params": model_params},
            "algorithm": {
                "name": self._chosen(data, "algorithm"),
                "params": self._params(data, "algorithm"),
            },
            "local": _given(data, {p.name: f"local__{p.name}" for p in LOCAL_PARAMETERS}),
            "scoring": scoring,
            "scoring_params": self._params(data, "scoring"),
            "privacy": {
                "name": self._chosen(data, "privacy"),
                "params": self._params(data, "privacy"),
            },
            "reward_mode": self._chosen(data, "reward_mode"),
            **_given(data, {name: name for name in _TASK}),
        }
        if dataset == "own":
            config["dataset"]["source"] = self.source
        if dataset == "private":
            config["dataset"]["schema"] = json.loads(self._schema())
        return config

    def _schema(self) -> str:
        """Of private data, as a clone brings it along; no field of the wizard writes one."""
        return str(self.data.get("schema") or "") if self.data.get("dataset") == "private" else ""

    def _chosen(self, data: Mapping[str, Any], kind: str) -> str:
        return str(data.get(kind) or _TABLES[kind][2])

    def _params(self, data: Mapping[str, Any], kind: str) -> dict[str, Any]:
        choice = _TABLES[kind][1][self._chosen(data, kind)]
        return _given(data, {p.name: f"{kind}__{p.name}" for p in choice.parameters})

    def add_spec_error(self, error: SpecError) -> None:
        """Next to the field it speaks of (``model.params.hidden`` → ``model__hidden``)."""
        parts = [part.split("[")[0] for part in error.field.split(".") if part != "params"]
        if parts[0] == "scoring_params":
            parts[0] = "scoring"
        candidates = ["__".join(parts[:2]), f"partition__{parts[-1]}", parts[-1], parts[0]]
        if parts[-1] == "name":
            candidates.insert(0, parts[0])
        if parts[:2] == ["dataset", "source"]:
            candidates.insert(0, "own_file")
        name = next((c for c in candidates if c in self.fields), None)
        self.add_error(name, str(error))

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
            hosted_places=data["hosted_places"],
            min_participants=data["min_participants"],
            evaluators=[self.accounts[address] for address in data["evaluators"]],
            outside_evaluators=data["outside_evaluators"],
            quorum=data["quorum"],
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


Values = dict[str, Any]  # field → text as typed (a list for evaluators)


def form_of(values: Mapping[str, Any]) -> TaskForm:
    """The form of a draft, bound and checked; what is not in ``values`` has its default. One
    query, for the evaluators."""
    form = TaskForm()
    defaults = {name: found.initial or "" for name, found in form.fields.items()}
    form.data = {**defaults, **values}
    form.is_bound = True
    form.full_clean()
    return form


def config_values(config: TaskConfig) -> Values:
    """A configuration as the fields show it."""
    data = config.dataset
    values: Values = {
        "dataset": data.name,
        "partition": data.partition,
        "partition__alpha": as_text(data.alpha),
        "partition__shards_per_participant": as_text(data.shards_per_participant),
        "holdout": as_text(data.holdout),
        "model": config.model.name,
        "algorithm": config.algorithm.name,
        "scoring": config.scoring,
        "privacy": config.privacy.name,
        "reward_mode": config.reward_mode,
        **{name: as_text(getattr(config, name)) for name in _TASK},
    }
    if data.source is not None:
        values["own_file"] = data.source.file
    if data.schema is not None:
        values["schema"] = json.dumps(config.to_dict()["dataset"]["schema"])
    for kind, params in (
        ("model", config.model.params),
        ("algorithm", config.algorithm.params),
        ("scoring", config.scoring_params),
        ("privacy", config.privacy.params),
    ):
        values |= {f"{kind}__{name}": as_text(value) for name, value in params.items()}
    for parameter in LOCAL_PARAMETERS:
        values[f"local__{parameter.name}"] = as_text(getattr(config.local, parameter.name))
    return values


def task_values(task: Task) -> Values:
    """A task as the fields show it. One query."""
    config = TaskConfig.from_dict(task.config or {})
    most = task.max_participants
    judges = task.evaluator_accounts.count() + len(task.outside_evaluators)
    values: Values = {
        **config_values(config),
        "title": task.title,
        "pool": exact_amount(task.pool),
        "stake": exact_amount(task.stake),
        "hosted_places": "" if task.hosted_places == most else str(task.hosted_places),
        "min_participants": "" if task.min_participants == most else str(task.min_participants),
        "evaluators": [a.address for a in task.evaluator_accounts.order_by("pk")],
        "outside_evaluators": "\n".join(task.outside_evaluators),
        "quorum": "" if task.quorum == judges // 2 + 1 else str(task.quorum),
    }
    return values | {name: duration_text(getattr(task, name)) for name in SECONDS}


def _given(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values that were filled in, under their names in the configuration."""
    return {name: data[found] for name, found in names.items() if data.get(found) not in (None, "")}
