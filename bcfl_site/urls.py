"""The URL conf: every page belongs to sessions_app."""

from django.urls import include, path

from sessions_app.api.urls import predict

urlpatterns = [
    path("api/v1/", include("sessions_app.api.urls")),
    path("api/models/<int:model_id>/predict", predict),
    path("", include("sessions_app.urls")),
]
