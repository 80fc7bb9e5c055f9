"""What a base model reads for a job: the prompt in its frame, or the conversation as its chat template lays it out."""

from datetime import UTC, date, datetime
from functools import lru_cache

from loradex.confined import confined
from loradex.library.conversation import Layout, layout
from loradex.worker.engine.framed import Framed
from loradex.worker.jobs import Job

LAYOUTS = 256
"""Conversations of which the layout is remembered: it depends on the roles alone."""


def framed(frame: str, job: Job) -> Framed:
    """What the model reads; of a model without a chat template a single message is read as a prompt.

    Raises:
        ConversationRefusedError: The template refuses these messages, or takes too much time or memory.
    """
    if job.messages is None or job.chat_template is None:
        return Framed.of(frame, job.prompt)
    roles = tuple(one["role"] for one in job.messages)
    contents = [one["content"] for one in job.messages]
    found = _layout(job.chat_template, roles, datetime.now(UTC).date())
    return Framed.conversation(found.told(contents), contents, spaced=found.spaced)


@lru_cache(LAYOUTS)
def _layout(template: str, roles: tuple[str, ...], today: date) -> Layout:
    return layout(confined, template, roles, today)
