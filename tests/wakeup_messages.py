"""Messages as Celery writes them, to be forged."""

import base64
import json
from typing import Any
from uuid import uuid4

from loradex.wakeup import QUEUE, TASK


def message(**changes: Any) -> dict[str, Any]:
    """A message as Celery writes it, with some parts replaced; None leaves a part out."""
    whole: dict[str, Any] = {
        "body": base64.b64encode(json.dumps([[str(uuid4())], {}, {}]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": TASK,
            "id": str(uuid4()),
            "root_id": None,
            "parent_id": None,
            "group": None,
        },
        "properties": {
            "correlation_id": str(uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
        },
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def body(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()
