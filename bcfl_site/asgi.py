"""The ASGI application: HTTP through Django, WebSockets through Channels."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcfl_site.settings")
# Fills the app registry; what follows imports models.
_http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from sessions_app.live.tokens import TokenSockets  # noqa: E402
from sessions_app.routing import websocket_urlpatterns  # noqa: E402

_sockets = URLRouter(websocket_urlpatterns)
application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": TokenSockets(
            _sockets, pages=AllowedHostsOriginValidator(AuthMiddlewareStack(_sockets))
        ),
    }
)
