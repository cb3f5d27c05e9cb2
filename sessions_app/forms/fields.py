"""Fields of the task wizard. Each keeps what was typed, and its error names the value, the limit
and what to write instead. Numbers are text boxes: a browser empties a number box that holds
words, and then nobody knows what was typed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.validators import validate_email
from eth_utils.address import is_address

from chain.events import checksum
from sessions_app.formats import TOKEN_DECIMALS, duration
from sessions_app.forms.columns import columns_read, names_read
from training.architecture import MAX_JSON_BYTES, check_layers
from training.errors import SpecError
from training.parameters import Parameter, plain
from training.schema import Feature

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)\s*(s|min|h|d)?")
MAX_SECONDS = 2**31 - 1


class TypedField(forms.CharField):
    """Text that stands for something else; ``read`` makes it, raising ValueError with a sentence.
    Cleans to None when it is left empty and may be."""

    def __init__(self, *, example: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.example = example
        self.error_messages["required"] = f"{self.label} is empty. {self.wanted()}"

    def wanted(self) -> str:
        return f"Write it like {self.example}." if self.example else ""

    def read(self, text: str) -> Any:
        raise NotImplementedError

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            return self.read(text)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class ParameterField(TypedField):
    """A number, or numbers parted by commas, with the bounds of a ``Parameter``."""

    def __init__(self, *, parameter: Parameter, **kwargs: Any) -> None:
        self.parameter = parameter
        mode = "numeric" if parameter.kind == "int" else "decimal"
        widget = forms.TextInput(attrs={"inputmode": mode, "autocomplete": "off"})
        if parameter.kind == "ints":
            widget = forms.TextInput(attrs={"autocomplete": "off"})
        kwargs.setdefault("initial", as_text(parameter.default))
        super().__init__(widget=widget, example=as_text(parameter.default), **kwargs)

    def wanted(self) -> str:
        return f"Needs {self.parameter.limit}, such as {self.example}."

    def read(self, text: str) -> Any:
        try:
            number: Any = [_number(part) for part in text.replace("×", ",").split(",")]
            if self.parameter.kind != "ints":
                (number,) = number
            return self.parameter.check(self.parameter.name, number)
        except (ValueError, SpecError):
            raise ValueError(f"“{text}” is not accepted. {self.wanted()}") from None


class AmountField(TypedField):
    """FLT (or another coin) as people write it; cleans to its smallest unit."""

    def __init__(self, *, decimals: int = TOKEN_DECIMALS, unit: str = "FLT", **kwargs: Any) -> None:
        self.decimals = decimals
        self.unit = unit
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(widget=widget, **kwargs)

    def wanted(self) -> str:
        return (
            f"Needs an amount of {self.unit} from 0, with at most {self.decimals} decimal places, "
            f"such as {self.example}."
        )

    def read(self, text: str) -> int:
        try:
            amount = Decimal(text).scaleb(self.decimals)
        except InvalidOperation:
            amount = Decimal(-1)
        if not amount.is_finite() or not 0 <= amount < 2**96 or amount != int(amount):
            raise ValueError(f"“{text}” is not accepted. {self.wanted()}")
        return int(amount)


class DurationField(TypedField):
    """``10 min``, ``2 h``, ``90 s`` or plain seconds; cleans to seconds."""

    def __init__(self, *, seconds: int, **kwargs: Any) -> None:
        text = duration_text(seconds)
        widget = forms.TextInput(attrs={"autocomplete": "off"})
        super().__init__(example=text, initial=text, required=False, widget=widget, **kwargs)

    def wanted(self) -> str:
        return f"Needs a time from 1 s to 365 d, such as {self.example}, 2 h or 1 d."

    def read(self, text: str) -> int:
        found = _DURATION.fullmatch(text.replace("\u00a0", " ").strip())
        seconds = int(found[1]) * _UNITS[found[2] or "s"] if found else 0
        if not 1 <= seconds <= 365 * 86_400:
            raise ValueError(f"“{text}” is not accepted. {self.wanted()}")
        return seconds


class LayersField(TypedField):
    """One's own architecture as JSON; cleans to the checked list."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "mono"})
        super().__init__(widget=widget, required=False, **kwargs)

    def read(self, text: str) -> list[dict[str, Any]]:
        if len(text.encode()) > MAX_JSON_BYTES:
            raise ValueError(f"{len(text):,} characters are more than {MAX_JSON_BYTES:,}.")
        try:
            layers = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"Line {error.lineno}, column {error.colno}: {error.msg}. Layers are JSON, such as "
                '[{"layer": "Dense", "units": 64, "activation": "relu"}].'
            ) from None
        except RecursionError:
            raise ValueError("The JSON is nested too deeply. Layers are a flat list.") from None
        try:
            return check_layers("layers", layers)
        except SpecError as error:
            raise ValueError(str(error)) from None


class ColumnsField(TypedField):
    """Columns of private data, one a line; cleans to features."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 7, "spellcheck": "false", "class": "mono"})
        super().__init__(widget=widget, required=False, **kwargs)

    def read(self, text: str) -> list[Feature]:
        return columns_read(text)


class NamesField(TypedField):
    """Names parted by commas or one a line; cleans to a list."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 1, "spellcheck": "false"})
        super().__init__(widget=widget, required=False, **kwargs)

    def read(self, text: str) -> list[str]:
        return names_read(text)


class AddressesField(TypedField):
    """Ethereum addresses, one a line; cleans to checksummed ones."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "class": "mono"})
        super().__init__(widget=widget, required=False, **kwargs)

    def clean(self, value: Any) -> Any:
        return super().clean(value) or []

    def read(self, text: str) -> list[str]:
        found = []
        for part in text.replace(",", " ").split():
            if not is_address(part):
                raise ValueError(
                    f"“{part}” is no Ethereum address. Needs 0x and 40 hex digits, in the right "
                    "upper and lower case if mixed."
                )
            address = checksum(part)
            if address in found:
                raise ValueError(f"{address} stands here twice. Leave one out.")
            found.append(address)
        return found


class EmailsField(TypedField):
    """E-mail addresses, one a line or parted by commas; cleans to a list."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        self.most = most
        widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"})
        super().__init__(widget=widget, required=False, **kwargs)

    def clean(self, value: Any) -> Any:
        return super().clean(value) or []

    def read(self, text: str) -> list[str]:
        found: list[str] = []
        for part in text.replace(",", " ").replace(";", " ").split():
            try:
                validate_email(part)
            except forms.ValidationError:
                raise ValueError(
                    f"“{part}” is no e-mail address. Needs name@host, one a line."
                ) from None
            if part.lower() in map(str.lower, found):
                raise ValueError(f"{part} stands here twice. Leave one out.")
            found.append(part)
        if len(found) > self.most:
            raise ValueError(
                f"{len(found)} addresses are more than {self.most} at once. Invite the others "
                "from the task's page."
            )
        return found


class AvailableSelect(forms.Select):
    """A list in which what cannot be used here stands greyed. What is chosen already is not: a
    browser does not send a greyed choice back, and the choice would be lost."""

    unavailable: Mapping[str, str] = {}

    def create_option(
        self, name: str, value: Any, label: Any, selected: bool, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        option = super().create_option(name, value, label, selected, *args, **kwargs)
        if str(value) in self.unavailable:
            option["label"] = f"{label} (not here)"
            if not selected:
                option["attrs"]["disabled"] = True
        return option


class PriceForm(forms.Form):
    """The price of another network, as a person knows it."""

    name = forms.CharField(
        label="Network",
        max_length=40,
        error_messages={"required": "Network is empty. Write its name, such as Ethereum."},
    )
    gas_price = AmountField(label="Gas price, gwei", decimals=9, unit="gwei", example="20")
    coin_price = forms.DecimalField(
        label="Price of one coin",
        min_value=0,
        max_digits=16,
        decimal_places=2,
        required=False,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text="Optional, in your currency.",
        error_messages={"invalid": "Needs a number from 0, such as 2500."},
    )


def parameter_field(parameter: Parameter, *, required: bool = False) -> forms.Field:
    label = parameter.label + (f", {parameter.unit}" if parameter.unit else "")
    common: dict[str, Any] = {"label": label, "help_text": parameter.help, "required": required}
    if parameter.kind == "choice":
        options = [(option, option) for option in parameter.options]
        return forms.ChoiceField(choices=options, initial=parameter.default, **common)
    return ParameterField(parameter=parameter, **common)


def as_text(value: Any) -> str:
    """A value of a configuration as its field shows it."""
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], Mapping):
            return json.dumps(value, indent=1)
        return ", ".join(map(as_text, value))
    return plain(value) if isinstance(value, float) else str(value)


def duration_text(seconds: int) -> str:
    """The largest unit that holds it whole: 600 → ``10 min``."""
    for unit, size in reversed(_UNITS.items()):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return duration(seconds)


def _number(text: str) -> int | float:
    text = text.strip()
    try:
        return int(text)
    except ValueError:
        return float(text)
