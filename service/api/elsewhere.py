"""Paths that clients know from other servers and that lead nowhere here, with what does the same."""

import re
from collections.abc import Sequence

BATCHES = (
    "batches are jobs here: POST /v1/jobs takes 10,000 at a time, and GET /v1/jobs/{id} gives each answer"
)

KNOWN: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"/v1/(batches|files|uploads)(/.*)?"), BATCHES),
    (
        re.compile(r"/v1/responses(/.*)?"),
        "nothing is kept between requests: POST /v1/chat/completions takes the whole conversation",
    ),
)


def told_of(path: str) -> str | None:
    """What to do instead of asking for this path; None where nothing comes near."""
    return next((told for known, told in KNOWN if known.fullmatch(path)), None)
