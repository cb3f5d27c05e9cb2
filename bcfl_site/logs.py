"""Logging: structlog in front of the standard library, one line per event on stderr."""

import logging
import logging.config
import sys
from typing import Any

import structlog

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    structlog.processors.StackInfoRenderer(),
]


def configure_logging(*, level: str = "INFO", json_lines: bool = False) -> None:
    """Send structlog's and the standard library's records through the same renderer.

    ``json_lines``: one JSON object per line, for log collectors.
    """
    renderer: list[Any]
    if json_lines:
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        colours = sys.stderr.isatty()
        renderer = [
            structlog.dev.ConsoleRenderer(
                colors=colours,
                pad_event_to=0,
                pad_level=False,
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *renderer,
                    ],
                    "foreign_pre_chain": _SHARED,
                }
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
            },
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                # Their INFO is one line per request, task or subscription.
                "celery": {"level": "WARNING"},
                "kombu": {"level": "WARNING"},
                "uvicorn.access": {"level": "WARNING"},
                "asyncio": {"level": "WARNING"},
                "urllib3": {"level": "WARNING"},
                "web3": {"level": "WARNING"},
                "websockets": {"level": "WARNING"},
            },
        }
    )
