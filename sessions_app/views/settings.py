"""Settings: everything a person decides about their own account."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from sessions_app.account_forms import ProfileForm
from sessions_app.views.base import acts, page, viewer


@login_required
@acts("profile.change")
def settings_page(request: HttpRequest) -> HttpResponse:
    user = viewer(request)
    form = ProfileForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Profile saved.")
        return redirect("settings")
    return page(request, "pages/settings.html", {"form": form}, nav="settings")
