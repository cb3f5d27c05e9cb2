"""Forms of one's own account."""

from __future__ import annotations

from django import forms

from sessions_app.models import User


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "email")
