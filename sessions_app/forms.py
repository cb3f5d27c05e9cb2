"""Forms. The task form is built from the tables in ``training.specs``, so it offers exactly what
works, with the bounds that the checks enforce."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from sessions_app.formats import TOKEN_DECIMALS, exact_amount
from sessions_app.models import Task, User
from training.errors import SpecError
from training.specs import (
    ALGORITHMS,
    DATASETS,
    HOLDOUT,
    LOCAL_PARAMETERS,
    MODELS,
    PARTITIONS,
    REWARD_MODES,
    SCORINGS,
    TASK_PARAMETERS,
    Choice,
    DatasetChoice,
    Parameter,
    TaskConfig,
)

_TASK = {parameter.name: parameter for parameter in TASK_PARAMETERS}
DEFAULT_POOL = "1000"
DEFAULT_STAKE = "10"


# An architecture of one's own and a data file of one's own need more than a list to choose from;
# they are given as JSON on the command line.
OFFERED_MODELS = {name: model for name, model in MODELS.items() if name != "layers"}


def offered_datasets() -> dict[str, DatasetChoice]:
    """The data sets whose files are on this machine."""
    return {
        name: dataset
        for name, dataset in DATASETS.items()
        if name != "own" and not dataset.unavailable()
    }


class AmountField(forms.DecimalField):
    """FLT as people write it; cleans to wei."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            min_value=Decimal(0), decimal_places=TOKEN_DECIMALS, max_digits=28, **kwargs
        )
        self.widget.attrs.update({"inputmode": "decimal", "step": "any"})

    def clean(self, value: Any) -> Any:
        amount = super().clean(value)
        return None if amount is None else int(amount.scaleb(TOKEN_DECIMALS))

    def prepare_value(self, value: Any) -> Any:
        return value


class NumbersField(forms.CharField):
    """Whole numbers parted by commas: ``64, 32``."""

    def __init__(self, *, parameter: Parameter, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parameter = parameter

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            numbers = [int(part) for part in str(text).replace("×", ",").split(",")]
        except ValueError:
            raise forms.ValidationError(
                f"“{text}” is not a list of whole numbers. Write them like 64, 32."
            ) from None
        try:
            return self.parameter.check(self.parameter.name, numbers)
        except SpecError as error:
            raise forms.ValidationError(str(error)) from None


class TaskForm(forms.Form):
    """A new task. Five required fields; everything else has a default that works.

    ``shown_for`` maps a parameter's field to the choices it belongs to, as ``model=mlp``; the
    page hides it for others, and its value is then ignored.
    """

    title = forms.CharField(
        max_length=120,
        help_text="Participants choose by it.",
        widget=forms.TextInput(attrs={"placeholder": "Retina screening, five clinics"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shown_for: dict[str, str] = {}
        self._choice("dataset", "Data set", offered_datasets(), "digits")
        self._choice("partition", "Who has what", PARTITIONS, "iid")
        self._choice("model", "Model", OFFERED_MODELS, "mlp")
        self._choice("algorithm", "Algorithm", ALGORITHMS, "fedavg")
        for name in ("participants", "rounds"):
            self.fields[name] = _parameter_field(_TASK[name], required=True)
            self.fields[name].initial = _TASK[name].default
        self.fields["pool"] = AmountField(
            label="Reward pool, FLT",
            initial=DEFAULT_POOL,
            help_text="Escrowed in the contract at start; shared out round by round.",
        )
        self.fields["stake"] = AmountField(
            label="Stake per participant, FLT",
            initial=DEFAULT_STAKE,
            required=False,
            help_text="Each participant locks it; it comes back unless they cheat.",
        )
        self._choice("reward_mode", "Rewards are shared", REWARD_MODES, "score")
        self._parameters("partition", PARTITIONS)
        self._parameters("model", OFFERED_MODELS)
        self._parameters("algorithm", ALGORITHMS)
        for parameter in LOCAL_PARAMETERS:
            self.fields[f"local__{parameter.name}"] = _parameter_field(parameter)
        self.fields["holdout"] = _parameter_field(HOLDOUT)
        self._choice("scoring", "Scoring", SCORINGS, "accuracy")
        self.fields["seed"] = _parameter_field(_TASK["seed"])
        for name, field in self.fields.items():
            if field.required and name not in self.required_names:
                field.required = False

    required_names = ("title", "participants", "rounds", "pool")

    def _choice(self, name: str, label: str, table: Mapping[str, Choice], default: str) -> None:
        field = forms.ChoiceField(
            label=label,
            choices=[(choice.name, choice.label) for choice in table.values()],
            initial=default,
            required=False,
        )
        field.widget.attrs["data-help"] = f"help-{name}"
        field.empty_value = default  # type: ignore[attr-defined]
        self.fields[name] = field

    def _parameters(self, kind: str, table: Mapping[str, Choice]) -> None:
        """One field for each parameter name of a table; choices may share one (norm_bound)."""
        owners: dict[str, list[str]] = {}
        for choice in table.values():
            for parameter in choice.parameters:
                key = f"{kind}__{parameter.name}"
                owners.setdefault(key, []).append(choice.name)
                if key not in self.fields:
                    self.fields[key] = _parameter_field(parameter)
        for key, names in owners.items():
            self.shown_for[key] = f"{kind}={','.join(names)}"

    # --- what the template walks through ---------------------------------------------------

    def _bound(self, names: Iterable[str]) -> list[tuple[BoundField, str]]:
        return [(self[name], self.shown_for.get(name, "")) for name in names]

    @property
    def data_fields(self) -> list[tuple[BoundField, str]]:
        extra = [name for name in self.shown_for if name.startswith("partition__")]
        return self._bound(["dataset", "partition", *extra])

    @property
    def model_fields(self) -> list[tuple[BoundField, str]]:
        extra = [name for name in self.shown_for if name.startswith("model__")]
        return self._bound(["model", *extra])

    @property
    def training_fields(self) -> list[tuple[BoundField, str]]:
        return self._bound(["participants", "rounds", "algorithm"])

    @property
    def money_fields(self) -> list[tuple[BoundField, str]]:
        return self._bound(["pool", "stake", "reward_mode"])

    @property
    def more_fields(self) -> list[tuple[BoundField, str]]:
        local = [name for name in self.fields if name.startswith("local__")]
        algorithm = [name for name in self.shown_for if name.startswith("algorithm__")]
        return self._bound([*local, *algorithm, "holdout", "scoring", "seed"])

    @property
    def more_has_errors(self) -> bool:
        return any(field.errors for field, _ in self.more_fields)

    @property
    def choice_help(self) -> dict[str, dict[str, str]]:
        """Kind → choice → its sentence, for the hint below a list."""
        tables: dict[str, Mapping[str, Choice]] = {
            "dataset": offered_datasets(),
            "partition": PARTITIONS,
            "model": OFFERED_MODELS,
            "algorithm": ALGORITHMS,
            "reward_mode": REWARD_MODES,
            "scoring": SCORINGS,
        }
        return {
            kind: {choice.name: choice.help for choice in table.values()}
            for kind, table in tables.items()
        }

    # --- what comes out ---------------------------------------------------------------------

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.errors:
            try:
                self.config = TaskConfig.from_dict(self._config_dict(data))
            except SpecError as error:
                self.add_spec_error(error)
        return data

    def _config_dict(self, data: Mapping[str, Any]) -> dict[str, Any]:
        dataset = self._chosen(data, "dataset")
        partition = self._chosen(data, "partition")
        model, algorithm = self._chosen(data, "model"), self._chosen(data, "algorithm")
        return {
            "dataset": {
                "name": dataset,
                "partition": partition,
                **self._params(data, "partition", PARTITIONS[partition]),
                **_given(data, {"holdout": "holdout"}),
            },
            "model": {"name": model, "params": self._params(data, "model", MODELS[model])},
            "algorithm": {
                "name": algorithm,
                "params": self._params(data, "algorithm", ALGORITHMS[algorithm]),
            },
            "local": _given(data, {p.name: f"local__{p.name}" for p in LOCAL_PARAMETERS}),
            "scoring": self._chosen(data, "scoring"),
            "reward_mode": self._chosen(data, "reward_mode"),
            **_given(data, {name: name for name in _TASK}),
        }

    def _chosen(self, data: Mapping[str, Any], name: str) -> str:
        return str(data.get(name) or self.fields[name].initial)

    def _params(self, data: Mapping[str, Any], kind: str, choice: Choice) -> dict[str, Any]:
        return _given(data, {p.name: f"{kind}__{p.name}" for p in choice.parameters})

    def add_spec_error(self, error: SpecError) -> None:
        """Next to the field it speaks of (``model.params.hidden`` → ``model__hidden``)."""
        parts = [part for part in error.field.split(".") if part != "params"]
        candidates = ["__".join(parts), f"partition__{parts[-1]}", parts[-1], parts[0]]
        if parts[-1] == "name":
            candidates.insert(0, parts[0])
        name = next((c for c in candidates if c in self.fields), None)
        self.add_error(name, str(error))

    @classmethod
    def initial_of(cls, task: Task) -> dict[str, Any]:
        """What the form shows for a draft."""
        config = TaskConfig.from_dict(task.config or {})
        initial: dict[str, Any] = {
            "title": task.title,
            "dataset": config.dataset.name,
            "partition": config.dataset.partition,
            "partition__alpha": config.dataset.alpha,
            "partition__shards_per_participant": config.dataset.shards_per_participant,
            "holdout": config.dataset.holdout,
            "model": config.model.name,
            "algorithm": config.algorithm.name,
            "scoring": config.scoring,
            "reward_mode": config.reward_mode,
            "participants": config.participants,
            "rounds": config.rounds,
            "seed": config.seed,
            "pool": exact_amount(task.pool),
            "stake": exact_amount(task.stake),
        }
        for kind, params in (
            ("model", config.model.params),
            ("algorithm", config.algorithm.params),
        ):
            initial |= {f"{kind}__{name}": _as_text(value) for name, value in params.items()}
        for parameter in LOCAL_PARAMETERS:
            initial[f"local__{parameter.name}"] = getattr(config.local, parameter.name)
        return initial


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")


def _given(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values that were filled in, under their names in the configuration."""
    return {name: data[field] for name, field in names.items() if data.get(field) not in (None, "")}


def _as_text(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _parameter_field(parameter: Parameter, *, required: bool = False) -> forms.Field:
    label = parameter.label + (f", {parameter.unit}" if parameter.unit else "")
    common: dict[str, Any] = {"label": label, "help_text": parameter.help, "required": required}
    if parameter.kind == "choice":
        options = [(option, option) for option in parameter.options]
        return forms.ChoiceField(choices=options, initial=parameter.default, **common)
    if parameter.kind == "ints":
        return NumbersField(parameter=parameter, initial=_as_text(parameter.default), **common)
    bounds: dict[str, Any] = {"min_value": parameter.minimum, "max_value": parameter.maximum}
    message = f"Needs {parameter.limit}."
    messages = {"min_value": message, "max_value": message, "invalid": message}
    common |= {"initial": parameter.default, "error_messages": messages}
    if parameter.kind == "float":
        field: forms.Field = forms.FloatField(**bounds, **common)
        field.widget.attrs["step"] = "any"
        return field
    return forms.IntegerField(**bounds, **common)
