"""Settings, all by environment; unset means the embedded part on this machine.

Every variable read here stands in docs/operations.md; a test compares the two.
"""

import hmac
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from bcfl_site import environment as env
from bcfl_site.logs import configure_logging

BASE_DIR = Path(__file__).resolve().parent.parent
BCFL_HOME = Path(env.text("BCFL_HOME", str(BASE_DIR / "var"))).expanduser().resolve()

DEBUG = env.flag("DEBUG")

# Where the browser finds us. https here turns on everything that needs it.
BCFL_PORT = env.integer("BCFL_PORT", 8000)
SITE_URL = env.text("SITE_URL", f"http://127.0.0.1:{BCFL_PORT}").rstrip("/")
_site = urlsplit(SITE_URL)
if _site.scheme not in {"http", "https"} or not _site.hostname:
    raise ImproperlyConfigured(f"SITE_URL={SITE_URL} is not like https://console.example.org")
_https = _site.scheme == "https"

if not env.text("SECRET_KEY") and _https:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set but SITE_URL is https: give every process the same long secret"
    )
SECRET_KEY = env.text("SECRET_KEY") or env.secret_from_file(BCFL_HOME / "secret.key")

ALLOWED_HOSTS = [host for host in env.text("ALLOWED_HOSTS").split(",") if host] or sorted(
    {_site.hostname, "127.0.0.1", "localhost", "[::1]"}
)
CSRF_TRUSTED_ORIGINS = [SITE_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _https
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
TRUST_PROXY_HEADERS = env.flag("TRUST_PROXY_HEADERS")
if TRUST_PROXY_HEADERS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "django_htmx",
    "csp",
    "crispy_forms",
    "crispy_bootstrap5",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "chain",
    "sessions_app",
    "bcfl_site",  # its commands: run_task
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "bcfl_site.static_files.StaticFiles",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "sessions_app.middleware.Origin",
]

ROOT_URLCONF = "bcfl_site.urls"
ASGI_APPLICATION = "bcfl_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
CRISPY_ALLOWED_TEMPLATE_PACKS = CRISPY_TEMPLATE_PACK = "bootstrap5"

# Content Security Policy: our own files only, no inline script, WebSocket to ourselves.
# 'self' in connect-src covers ws: in today's browsers; the explicit origin covers Safari < 15.4.
_websocket = f"{'wss' if _https else 'ws'}://{_site.netloc}"
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "connect-src": [SELF, _websocket],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Database. SQLite writers queue instead of failing: WAL, and the write lock taken at BEGIN.
DATABASE_URL = env.text("DATABASE_URL", f"sqlite:///{BCFL_HOME / 'db.sqlite3'}")
_database: dict[str, Any] = dict(
    dj_database_url.parse(DATABASE_URL, conn_max_age=600, conn_health_checks=True)
)
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["CONN_MAX_AGE"] = 0
    _database["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        " PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32000;",
    }
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "sessions_app.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Accounts (allauth). Verifying an address is asked for and never stands in the way: a console
# without a mail server, as `make up` starts one, has to let people in.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = ACCOUNT_LOGOUT_REDIRECT_URL = "home"
SIGN_UP_OPEN = env.flag("SIGN_UP_OPEN")  # else by invitation
ACCOUNT_USER_DISPLAY = "sessions_app.accounts.adapter.shown_as"
ACCOUNT_ADAPTER = "sessions_app.accounts.adapter.Adapter"
ACCOUNT_FORMS = {
    "login": "sessions_app.accounts.forms.SignIn",
    "signup": "sessions_app.accounts.forms.SignUp",
    "reset_password_from_key": "sessions_app.accounts.forms.NewPassword",
    "change_password": "sessions_app.accounts.forms.ChangePassword",
    "add_email": "sessions_app.accounts.forms.AddEmail",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_EMAIL_NOTIFICATIONS = True  # tell the owner when password, address or MFA changed
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _site.scheme
MFA_ADAPTER = "sessions_app.accounts.adapter.SecondFactors"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "BCFL Console"
MFA_TOTP_TOLERANCE = 1  # a code of the period before or after: clocks differ
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not _https  # localhost has no https

# Mail. Unset, each message becomes a file that anyone on this machine can open.
EMAIL_URL = env.text("EMAIL_URL", f"file://{BCFL_HOME / 'mail'}")
globals().update(env.mail_settings(EMAIL_URL))
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", f"BCFL Console <console@{_site.hostname}>")
EMAIL_TIMEOUT = 10  # seconds
# Webhooks into our own network would let a user look around in it.
WEBHOOK_PRIVATE_ADDRESSES = env.flag("WEBHOOK_PRIVATE_ADDRESSES")

LANGUAGE_CODE = "en"
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BCFL_HOME / "static"
STATICFILES_DIRS = [folder for folder in [BASE_DIR / "static"] if folder.is_dir()]
# Before `collectstatic` has run (tests, DEBUG) files are served from their sources.
WHITENOISE_USE_FINDERS = DEBUG or not (STATIC_ROOT / "staticfiles.json").exists()
WHITENOISE_ALLOW_ALL_ORIGINS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "bcfl_site.static_files.HashedStorage"},
}

# Redis: queues, results and live messages.
REDIS_URL = env.text("REDIS_URL", f"unix://{env.unix_socket_path(BCFL_HOME)}")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL]},
    }
}

# Days for which the updates of an ended task stay readable for its members and evaluators.
UPDATE_RETENTION_DAYS = env.integer("UPDATE_RETENTION_DAYS", 30)

# API: requests a minute.
API_RATE = env.integer("API_RATE", 600)  # of one token or person
API_RATE_ANONYMOUS = env.integer("API_RATE_ANONYMOUS", 60)  # of one address

# Sign-in attempts are counted here, across all web processes.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "bcfl",
    }
}

# Ethereum.
CHAIN_NETWORK = env.text("CHAIN_NETWORK", "dev")
BCFL_CHAIN_PORT = env.integer("BCFL_CHAIN_PORT", 8545)
CHAIN_RPC_URL = env.text("CHAIN_RPC_URL", f"http://127.0.0.1:{BCFL_CHAIN_PORT}")
CHAIN_ID = env.integer("CHAIN_ID", 31337)
# What wallets in browsers are offered when they do not know the chain yet; never a private node.
PUBLIC_RPC_URL = env.text(
    "PUBLIC_RPC_URL", CHAIN_RPC_URL.split(",")[0] if CHAIN_NETWORK == "dev" else ""
)
# The others are there to deploy on: `manage.py deploy_contracts --network sepolia`.
NETWORKS: dict[str, dict[str, Any]] = {
    "private": {
        "rpc_url": env.text("PRIVATE_RPC_URL"),
        "chain_id": env.integer("PRIVATE_CHAIN_ID", 1337),
    },
    "sepolia": {"rpc_url": env.text("SEPOLIA_RPC_URL"), "chain_id": 11_155_111},
    "mainnet": {"rpc_url": env.text("MAINNET_RPC_URL"), "chain_id": 1},
    CHAIN_NETWORK: {"rpc_url": CHAIN_RPC_URL, "chain_id": CHAIN_ID},
}
CHAIN_CONFIRMATIONS = env.integer("CHAIN_CONFIRMATIONS", 0)
CHAIN_POLL_SECONDS = env.number("CHAIN_POLL_SECONDS", 0.1 if CHAIN_NETWORK == "dev" else 2.0)
CHAIN_REORG_LIMIT = env.integer("CHAIN_REORG_LIMIT", 64)
# What folds chain events into tables; by name, because the chain room knows nobody above it.
CHAIN_PROJECTION = "sessions_app.projection.tables.TaskProjection"
# Protects the keystores in the database. Lost password = lost keys.
BCFL_KEYSTORE_PASSWORD = env.text("BCFL_KEYSTORE_PASSWORD") or env.secret_from_file(
    BCFL_HOME / "keystore.secret"
)

# Model weights and updates, by content hash. `training` has no Django: it reads the environment.
BLOB_ROOT = Path(env.text("BLOB_ROOT", str(BCFL_HOME / "blobs")))
os.environ["BLOB_ROOT"] = str(BLOB_ROOT)
# Noise of the hosted participants' private updates: the same on every worker, known to nobody else.
os.environ["BCFL_NOISE_SECRET"] = (
    env.text("BCFL_NOISE_SECRET") or hmac.digest(SECRET_KEY.encode(), b"noise", "sha256").hex()
)

# Celery. `training` runs on processes that hold TensorFlow, everything else on threads.
_celery_redis = (
    f"redis+socket://{REDIS_URL.removeprefix('unix://')}"
    if REDIS_URL.startswith("unix://")
    else REDIS_URL
)
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = _celery_redis
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# An unacknowledged task goes to another worker after this time: longer than any one task, or
# long trainings would run twice.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": env.integer("CELERY_VISIBILITY_SECONDS", 3600)
}
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = 3600
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A child that imports TensorFlow needs about 10 s before it reports ready; Celery allows 4.
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 180
# A training worker that is silent for so long loses its job to another.
TRAINING_LEASE_SECONDS = env.number("TRAINING_LEASE_SECONDS", 30.0)
CELERY_WORKER_CONCURRENCY = env.integer("TRAINING_PROCESSES", os.cpu_count() or 1)
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_ROUTES = {
    "training.tasks.*": {"queue": "training"},
    "training.serving.*": {"queue": "serving"},  # somebody waits: never behind a training
}
# How long a prediction may take before the caller is told so; the first one loads TensorFlow.
PREDICTION_SECONDS = env.number("PREDICTION_SECONDS", 30.0)
# Only intervals, so the schedule needs no file of its own.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {
    name: {"task": task, "schedule": 2.0, "options": {"expires": 10.0, "queue": "control"}}
    for name, task in {
        "outbox": "chain.tasks.outbox_tick_task",
        "orchestration": "sessions_app.tasks.tick",
        "outreach": "sessions_app.tasks.tell_people",
    }.items()
}
CELERY_BEAT_SCHEDULE["uploads"] = {
    "task": "sessions_app.tasks.clean_uploads",
    "schedule": 3600.0,
    "options": {"expires": 600.0, "queue": "control"},
}

LOG_LEVEL = env.text("LOG_LEVEL", "INFO").upper()
LOGGING_CONFIG = None  # configured below, by us
configure_logging(level=LOG_LEVEL, json_lines=env.flag("LOG_JSON"))
