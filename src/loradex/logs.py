"""The log of a program that serves: one JSON object a line on standard error, whoever says it and whatever happens.

Of an exception type and place are told and never its text, which may hold a prompt.
"""

import json
import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

FIELDS = "loradex_fields"
"""What a record says beside its event: `LOG.info("event", extra={FIELDS: {...}})`."""

OURS = "loradex"
"""All that Loradex says comes from loggers below this one."""

CRASH = logging.getLogger("loradex.crash")


class JsonLines(logging.Formatter):
    """A record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            **getattr(record, FIELDS, {}),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            said["exception"] = record.exc_info[0].__name__
            said["place"] = "".join(traceback.format_tb(record.exc_info[2]))
        return json.dumps(said, default=str)


class OfLibraries(logging.Filter):
    """Of libraries warnings and worse alone, also of those that set a level of their own.

    What they tell for information may hold a signed address, a prompt or a password: we do not know all of it.
    """

    def __init__(self, least: int) -> None:
        super().__init__()
        self._least = max(logging.WARNING, least)

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self._least or f"{record.name}.".startswith(f"{OURS}.")


def log_as_json(level: str = "info") -> None:
    """Everything this process says of itself is a line of JSON from now on: records, warnings, what nobody caught.

    Args:
        level: The least level of what Loradex itself says; of libraries it is a warning, or more.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    ours = logging.getLogger(OURS)
    ours.setLevel(level.upper())
    handler.addFilter(OfLibraries(ours.level))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, ours.level))
    logging.captureWarnings(capture=True)
    sys.excepthook = _crashed
    sys.unraisablehook = lambda what: _noticed(what.exc_type, what.exc_traceback, "nobody could catch it")
    threading.excepthook = lambda what: _noticed(
        what.exc_type, what.exc_traceback, "" if what.thread is None else what.thread.name
    )
    adopt()


def crashes_are_lines() -> bool:
    """Whether `log_as_json` was called: then an error that nobody expected is a line of the log."""
    return sys.excepthook is _crashed


def adopt() -> None:
    """Libraries that write their own lines say them to us instead. Again after others were imported."""
    for one in list(logging.root.manager.loggerDict.values()):
        if isinstance(one, logging.Logger) and one.handlers:
            one.handlers.clear()
            one.propagate = True


def told_end(logger: str, code: str, reason: str) -> None:
    """The last line of a program that ends by an error of ours, whose text is for people and holds no prompt."""
    logging.getLogger(logger).error("program.ended", extra={FIELDS: {"code": code, "reason": reason}})


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        CRASH.critical("program.crashed", exc_info=(kind, error, trace))


def _noticed(kind: type[BaseException], trace: TracebackType | None, where: str) -> None:
    place = "".join(traceback.format_tb(trace))
    CRASH.error(
        "thread.crashed", extra={FIELDS: {"thread": where, "exception": kind.__name__, "place": place}}
    )
