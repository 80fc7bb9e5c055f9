"""What each endpoint calls the fields of a job, so that an error names the field that the client sent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from loradex.service.client.request import FIELDS, OPENAI_NAMES

FIELD = re.compile(r"^(?:job (?P<number>\d+): )?(?:(?:a|an|one|two|each|the)\b.{0,20}? of )?(?P<name>\w+)\b")
"""How messages of the client and of SQL begin that are about one field."""

SPOKEN = {
    **OPENAI_NAMES,
    "max_new_tokens": "max_completion_tokens",
    "seed": "seed",
    "logprobs": "logprobs",
    "json_schema": "response_format",
    "regex": "structured_outputs",
    "metadata": "metadata",
    "idempotency_key": "Idempotency-Key",
}
"""Fields of a job that all endpoints which OpenAI has too call something else than `loradex.NAME`."""


@dataclass(frozen=True)
class Names:
    """The names of one endpoint.

    Attributes:
        own: What it calls some fields; of several jobs `{}` is the place of the one at fault, from 0.
        others: What it calls the rest; `{name}` is the job's word.
        spoken: Whether it has OpenAI's words too.
    """

    own: Mapping[str, str] = field(default_factory=dict)
    others: str = "loradex.{name}"
    spoken: bool = True

    def param_of(self, message: str) -> str | None:
        """The field that a message of the client or of SQL is about; None: none that is known."""
        found = FIELD.match(message)
        if found is None or found["name"] not in FIELDS:
            return None
        return self.called(found["name"], int(found["number"] or 1) - 1)

    def called(self, name: str, place: int = 0) -> str:
        """What the field of the job at `place` is called."""
        words = {**(SPOKEN if self.spoken else {}), **self.own}
        return words.get(name, self.others).format(place, place=place, name=name)


CHAT = Names({"prompt": "messages", "messages": "messages"})
COMPLETION = Names({"prompt": "prompt", "max_new_tokens": "max_tokens"})
DECISION = Names({"prompt": "input", "messages": "input", "choices": "questions.{}"})
JOB = Names(others="{name}", spoken=False)
JOBS = Names(others="jobs.{place}.{name}", spoken=False)
"""Of a body with several jobs; `JOB` is one by itself."""
