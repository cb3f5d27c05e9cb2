"""Forms of accounts: sign in, sign up, profile, invitation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.account.forms import (
    AddEmailForm,
    ChangePasswordForm,
    LoginForm,
    ResetPasswordKeyForm,
    SignupForm,
)
from allauth.core import context
from django import forms
from django.conf import settings

from sessions_app.accounts.adapter import invitation_of
from sessions_app.models import Task, User
from sessions_app.services.invitations import LONGEST_DAYS


def _label(form: forms.BaseForm, labels: Mapping[str, str]) -> None:
    """Our labels; a placeholder would only say them again."""
    for name, field in form.fields.items():
        field.widget.attrs.pop("placeholder", None)
        field.label = labels.get(name, field.label)


class SignIn(LoginForm):
    sign_up_open = property(lambda self: settings.SIGN_UP_OPEN)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = "Username or e-mail"
        self.fields["login"].widget.attrs.pop("placeholder", None)
        self.fields["password"].widget.attrs.pop("placeholder", None)
        self.fields["password"].help_text = ""
        self.fields["remember"].label = "Stay signed in on this device"


class SignUp(SignupForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.invitation = invitation_of(context.request)
        if self.invitation is not None and self.invitation.email:
            self.fields["email"].initial = self.invitation.email
        _label(self, {"email": "E-mail", "username": "Username", "password2": "Password, again"})


class NewPassword(ResetPasswordKeyForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label(self, {"password1": "New password", "password2": "New password, again"})


class ChangePassword(ChangePasswordForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label(
            self,
            {
                "oldpassword": "Current password",
                "password1": "New password",
                "password2": "New password, again",
            },
        )


class AddEmail(AddEmailForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _label(self, {"email": "Another address" if self.user.email else "E-mail"})


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name")
        labels = {"first_name": "First name", "last_name": "Last name"}


class InvitationForm(forms.Form):
    """Which roles and tasks stand to choose from depends on who invites."""

    email = forms.EmailField(
        required=False,
        label="E-mail",
        help_text="The link is mailed there and works for that address alone. Empty: a link that "
        "you hand over yourself.",
    )
    role = forms.ChoiceField(label="Role", initial=User.Role.PARTICIPANT)
    task = forms.ModelChoiceField(
        Task.objects.none(),
        required=False,
        label="Task",
        empty_label="No task",
        help_text="What they are asked to join.",
    )
    days = forms.IntegerField(
        label="Open for, days", initial=7, min_value=1, max_value=LONGEST_DAYS
    )
    message = forms.CharField(
        required=False,
        max_length=300,
        label="A few words",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        roles = User.Role.choices if by.is_admin else [User.Role.choices[1]]
        self.fields["role"].choices = roles  # type: ignore[attr-defined]
        tasks = Task.objects.exclude(phase__in=(Task.Phase.COMPLETED, Task.Phase.CANCELLED))
        mine = tasks if by.is_admin else tasks.filter(owner=by)
        self.fields["task"].queryset = mine.order_by("-pk")  # type: ignore[attr-defined]
        self.fields["task"].label_from_instance = (  # type: ignore[attr-defined]
            lambda task: f"{task.title} (#{task.pk})"
        )
