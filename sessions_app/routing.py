"""One socket a page: the chain's state everywhere, a task's changes on its page."""

from django.urls import path

from sessions_app.live.consumers import LiveConsumer

websocket_urlpatterns = [
    path("ws/chain/", LiveConsumer.as_asgi()),
    path("ws/tasks/<int:task_id>/", LiveConsumer.as_asgi()),
]
