"""Logs of a worker: one JSON object a line on standard error, Celery's lines included."""

import logging
import sys
import warnings

import structlog

QUIET = ("celery", "kombu", "amqp", "httpx", "sentence_transformers", "transformers")


def log_as_json(level: str) -> None:
    """Send structlog and the standard library's loggers through one JSON formatter."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs what its timers meet in Redis, with a traceback each time; `wakeup.not_heard` says it once.
    logging.getLogger("kombu.asynchronous.hub").setLevel(logging.CRITICAL)
    # Celery's, at every start of a consumer: it is about messages that run code, and ours are JSON.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser")
