"""The events of a stream, as OpenAI's clients read them: pieces of texts, then each text's end, then tokens."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loradex.service.api import logprobs
from loradex.service.api.asking import Asked
from loradex.service.api.models import Model
from loradex.service.api.problem import Problem
from loradex.service.api.replies import finish, provenance, usage_of
from loradex.service.client import AsyncJob

Document = dict[str, Any]

DONE = b"data: [DONE]\n\n"
SILENCE = b": the answer is on its way\n\n"
"""A comment, which clients skip and proxies take for a sign of life."""


@dataclass(frozen=True)
class Form:
    """What chat and completions call their chunks."""

    prefix: str
    kind: str


CHAT = Form("chatcmpl", "chat.completion.chunk")
COMPLETION = Form("cmpl", "text_completion")


class Chunks:
    """Events of these jobs, of which `samples` answer each prompt; with `usage` the last one tells tokens.

    They have no `id:` and no `retry:`: OpenAI's client cannot read a comment after them.
    """

    def __init__(
        self, form: Form, model: Model, jobs: Sequence[AsyncJob], samples: int, *, usage: bool
    ) -> None:
        self._form = form
        self._model = model
        self._samples = samples
        self._usage = usage
        self._named = {
            "id": f"{form.prefix}-{jobs[0].id}",
            "object": form.kind,
            "created": int(time.time()),
            "model": model.id,
        }
        self._begun: set[int] = set()
        self._answers: dict[int, Document] = {}

    def piece(self, place: int, text: str) -> bytes:
        """Some more of the text of the job at `place`."""
        return self._event(choices=[self._choice(place, text)])

    def end(self, place: int, asked: Asked, edge: float | None) -> bytes:
        """The job at `place` was answered; `edge` is that of the domain, as for `provenance`."""
        answer = self._answers[place] = asked.answer
        begin = b"" if self._form is COMPLETION or place in self._begun else self.piece(place, "")
        # How likely a token was is told with the record, which the pieces come before.
        likely = logprobs.of_completion if self._form is COMPLETION else logprobs.of_chat
        choice = self._choice(place, "", begins=False)
        choice |= {"logprobs": likely(answer), "finish_reason": finish(answer)}
        return begin + self._event(
            choices=[choice],
            system_fingerprint=self._model.fingerprint(answer["mixture"]),
            loradex=provenance(asked, self._model, edge),
        )

    def last(self) -> bytes:
        """What comes when all were answered."""
        if not self._usage:
            return DONE
        answers = [self._answers[place] for place in sorted(self._answers)]
        return self._event(choices=[], usage=usage_of(answers, self._samples)) + DONE

    def _choice(self, place: int, text: str, *, begins: bool = True) -> Document:
        choice: Document = {"index": place, "logprobs": None, "finish_reason": None}
        if self._form is COMPLETION:
            return choice | {"text": text}
        fresh = begins and place not in self._begun
        self._begun.add(place)
        role = {"role": "assistant"} if fresh else {}
        return choice | {"delta": role | ({"content": text} if text or fresh else {})}

    def _event(self, **more: Any) -> bytes:
        return event(self._named | ({"usage": None} if self._usage else {}) | more)


def event(document: Document) -> bytes:
    """A document as an event."""
    return f"data: {json.dumps(document)}\n\n".encode()


def broken_off(problem: Problem) -> bytes:
    """The end of a stream that cannot go on: clients raise it as an error."""
    return event(problem.document()) + DONE
