"""The log of a worker: what its parts say through structlog and its libraries by themselves, line by line as JSON."""

import logging
import warnings
from typing import Any

import structlog

from loradex.logs import FIELDS, OURS, adopt
from loradex.logs import log_as_json as log_all_as_json


def log_as_json(level: str) -> None:
    """Send structlog and the standard library's loggers through one JSON formatter."""
    log_all_as_json(level)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, _as_record],
        logger_factory=lambda name: logging.getLogger(f"{OURS}.{name}"),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # It logs what its timers meet in Redis, with a traceback each time; `wakeup.not_heard` says it once.
    logging.getLogger("kombu.asynchronous.hub").setLevel(logging.CRITICAL)
    # Celery's, at every start of a consumer: it is about messages that run code, and ours are JSON.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser")
    adopt()


def _as_record(_logger: Any, _method: str, said: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The arguments of a method of `logging.Logger`."""
    return {
        "msg": str(said.pop("event")),
        "exc_info": said.pop("exc_info", None),
        "extra": {FIELDS: said},
    }
