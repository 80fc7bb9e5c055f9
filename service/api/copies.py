"""What stands in several jobs of one request: how much that is, before it is written so often."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from loradex.service.api.problem import refused
from loradex.service.api.room import Share

MOST_CHARACTERS = 8 << 20
"""Of all jobs of one request together."""


def characters_of(read: str | Sequence[Mapping[str, str]]) -> int:
    """Characters of a prompt or a conversation."""
    return len(read) if isinstance(read, str) else sum(len(message["content"]) for message in read)


def characters_of_fields(fields: Mapping[str, Any]) -> int:
    """Characters of other fields of a job, as JSON."""
    return len(json.dumps(fields, ensure_ascii=False, default=str))


def require_room(share: Share, characters: int, copies: int, param: str | None) -> None:
    """Counts them among the bytes that the request holds.

    Raises:
        Problem: They are too many, or there is no room for them now.
    """
    if characters * copies > MOST_CHARACTERS:
        raise refused(
            f"{characters} characters stand in {copies} jobs, and these may have {MOST_CHARACTERS} together; send "
            "less, or several requests",
            param,
        )
    if copies > 1:
        share.hold_more(characters * copies)
