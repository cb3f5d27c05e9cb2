"""The fields of the wizard, group by group, from the tables and bounds that the checks enforce."""

from __future__ import annotations

from collections.abc import Mapping

from django import forms

from chain.models import Account
from sessions_app.forms.columns import EXAMPLE
from sessions_app.forms.fields import (
    AddressesField,
    AmountField,
    AvailableSelect,
    ColumnsField,
    DurationField,
    EmailsField,
    LayersField,
    NamesField,
    as_text,
    parameter_field,
)
from sessions_app.forms.tables import (
    DEFAULT_LAYERS,
    DEFAULT_POOL,
    DEFAULT_STAKE,
    SECONDS,
    TABLES,
)
from sessions_app.selectors.wizard.own_files import own_file_choices
from training.architecture import LAYERS
from training.specs import DATASETS, Parameter

Fields = dict[str, forms.Field]
PRIVATE_MISSING = {
    "private__columns": "No column is named. Write them one a line, or read them from a file.",
    "private__label": "The label is empty. Name the column to be predicted, such as diagnosis.",
    "private__classes": "No class is named. Write the label's values, such as benign, malignant.",
    "private__held_out": "There are no held-out samples, and evaluators measure on them. Choose a "
    "CSV file and store its rows.",
}


def choice_field(kind: str) -> forms.ChoiceField:
    label, choices, default = TABLES[kind]
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
        found.widget.unavailable = absent_datasets()
    return found


def absent_datasets() -> dict[str, str]:
    """Data sets that cannot be used on this machine → what is needed."""
    reasons = {dataset.name: dataset.unavailable() for dataset in DATASETS.values()}
    return {name: reason for name, reason in reasons.items() if reason}


def parameter_fields(kind: str) -> tuple[Fields, dict[str, str]]:
    """One field for each parameter name of a table; choices may share one (norm_bound). The
    second value: field → the choices it belongs to, as ``model=mlp``."""
    fields: Fields = {}
    owners: dict[str, list[str]] = {}
    for choice in TABLES[kind][1].values():
        for parameter in choice.parameters:
            key = f"{kind}__{parameter.name}"
            owners.setdefault(key, []).append(choice.name)
            if key not in fields:
                fields[key] = parameter_field(parameter)
    return fields, {key: f"{kind}={','.join(names)}" for key, names in owners.items()}


def own_file_field() -> forms.ChoiceField:
    choices = own_file_choices()
    return forms.ChoiceField(
        label="File",
        choices=[("", "Choose a file" if choices else "No .csv or .npz file here"), *choices],
        required=False,
        help_text="CSV or NPZ in BCFL_DATA_DIR. Its hash goes into the configuration.",
        error_messages={
            "invalid_choice": "There is no file “%(value)s” in BCFL_DATA_DIR any more. Choose "
            "another, or put it back."
        },
    )


def layers_field() -> LayersField:
    return LayersField(
        label="Layers",
        initial=as_text(DEFAULT_LAYERS),
        help_text=f"JSON, of {', '.join(LAYERS)}. The last layer, one output a class, is added.",
    )


def private_fields() -> Fields:
    """What everyone's own file must look like, and what is held out of all of them."""
    return {
        "private__label": forms.CharField(
            label="Label column",
            max_length=120,
            required=False,
            help_text="The column to be predicted.",
            widget=forms.TextInput(attrs={"placeholder": "diagnosis", "autocomplete": "off"}),
        ),
        "private__classes": NamesField(
            label="Classes",
            help_text="The label's values, parted by commas. Their order is the model's.",
        ),
        "private__columns": ColumnsField(
            label="Columns",
            help_text=f"One a line, such as “{EXAMPLE}”, or “side: left | right”. Columns that "
            "stand in a file but not here are not used.",
        ),
        "private__held_out": forms.CharField(label="Held-out samples", required=False),
    }


def money_fields() -> Fields:
    fields: Fields = {
        "pool": AmountField(
            label="Reward pool, FLT",
            example=DEFAULT_POOL,
            initial=DEFAULT_POOL,
            help_text="Escrowed in the contract at the start; shared out round by round.",
        ),
        "stake": AmountField(
            label="Stake per participant, FLT",
            example=DEFAULT_STAKE,
            initial=DEFAULT_STAKE,
            required=False,
            help_text="Each participant locks it; it comes back unless they cheat.",
        ),
    }
    for name, (label, help_text, seconds) in SECONDS.items():
        fields[name] = DurationField(label=label, help_text=help_text, seconds=seconds)
    return fields


def people_fields(accounts: Mapping[str, Account]) -> Fields:
    """``accounts``: the evaluators here, by address."""
    return {
        "hosted_places": _number(
            Parameter("hosted_places", "Places trained for here", "", "int", 5, 0, 1000),
            "Empty: all. The others are open to wallets and agents with data of their own.",
        ),
        "min_participants": _number(
            Parameter("min_participants", "Fewest to start", "", "int", 5, 1, 1000),
            "Empty: all places must be taken.",
        ),
        "evaluators": forms.MultipleChoiceField(
            label="Evaluators here",
            choices=[(address, account.label) for address, account in accounts.items()],
            initial=list(accounts)[:1],
            required=False,
            widget=forms.CheckboxSelectMultiple,
            help_text="They score each update and vote on the result.",
            error_messages={
                "invalid_choice": "%(value)s is no evaluator of this console. Choose another."
            },
        ),
        "outside_evaluators": AddressesField(
            label="Evaluators elsewhere",
            help_text="Addresses, one a line; they score from machines of their own.",
        ),
        "quorum": _number(
            Parameter("quorum", "Quorum", "", "int", 2, 1, 255),
            "Evaluators that must agree. Empty: just over half.",
        ),
    }


def invitation_fields() -> Fields:
    return {
        "invite__emails": EmailsField(
            label="Invite by e-mail",
            most=50,
            help_text="One a line. Each gets a link of their own, for seven days, once the task "
            "is saved.",
        ),
        "invite__links": _number(
            Parameter("links", "Links to pass on yourself", "", "int", 3, 0, 50),
            "Each lets one person in; they are on the page Invitations then.",
        ),
        "invite__message": forms.CharField(
            label="A line to the invited",
            max_length=300,
            required=False,
            widget=forms.TextInput(attrs={"autocomplete": "off"}),
        ),
    }


def _number(parameter: Parameter, help_text: str) -> forms.Field:
    """A number that may be left out."""
    found = parameter_field(parameter)
    found.initial, found.help_text = "", help_text
    return found
