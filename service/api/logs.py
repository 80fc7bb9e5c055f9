"""Logs of the API: one JSON object a line on standard error, with the names that workers' logs have."""

import json
import logging
import traceback
from datetime import UTC, datetime

FIELDS = "loradex_fields"
"""What a record says beside its event: `LOG.info("event", extra={FIELDS: {...}})`."""


class JsonLines(logging.Formatter):
    """A record as one line. Of an exception type and place are told: its text may hold a prompt."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
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


def log_as_json() -> None:
    """Every line that is logged here is JSON: ours from `info` on, those of libraries from `warning` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("loradex").setLevel(logging.INFO)
