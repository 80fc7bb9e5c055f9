"""Answers as OpenAI's clients read them, with one object of Loradex' own."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loradex.service.api import logprobs
from loradex.service.api.asking import Asked
from loradex.service.api.models import Model

MOST_TASKS = 5
UNROUTED = ("base", "own")
"""Methods for which neighbours decide nothing."""

ADAPTER = ("adapter", "version", "task", "weight")

Document = dict[str, Any]


def provenance(asked: Asked, model: Model, edge: float | None) -> Document:
    """The object `loradex` of an answer.

    Args:
        asked: The job and its answer.
        model: What answered.
        edge: The similarity below which a question is outside of the library's domain; None: it is not known, or
            nothing was routed.
    """
    answer = asked.answer
    choices, nearest = (
        answer["generation"].get("choices"),
        [one["similarity"] for one in answer["neighbours"]],
    )
    similarity = max(nearest, default=None)
    return {
        "answer_id": answer["answer_id"],
        "job_id": answer["job_id"],
        "base_model": model.base_model,
        "method": answer["method"],
        "mixture": [{name: one[name] for name in ADAPTER} for one in answer["mixture"]],
        "tasks": [
            {"task": one["task"], "probability": one["probability"]}
            for one in answer["distribution"][:MOST_TASKS]
        ],
        "similarity": similarity,
        "out_of_domain": (
            None if edge is None or answer["method"] in UNROUTED else similarity is None or similarity < edge
        ),
        "finish_reason": answer["finish_reason"],
        "scores": None if choices is None else scores(answer),
        "seed": answer["generation"].get("seed"),
        "chain_hash": answer["chain"]["chain_hash"],
    }


def scores(answer: Mapping[str, Any]) -> list[Document]:
    """Each choice with its log-likelihood as the job normalised it, and the softmax of them."""
    shares = softmax(answer["scores"])
    return [
        {"choice": choice, "log_likelihood": score, "probability": share}
        for choice, score, share in zip(
            answer["generation"]["choices"], answer["scores"], shares, strict=True
        )
    ]


def softmax(values: Sequence[float]) -> list[float]:
    """Shares of 1; the scores need not be calibrated, and neither are these."""
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    whole = sum(powers)
    return [power / whole for power in powers]


class Written:
    """What chat and completions answer: `samples` answers to each prompt, in order."""

    def __init__(self, asked: Sequence[Asked], model: Model, edge: float | None, samples: int) -> None:
        self._answers = [one.answer for one in asked]
        self._told = [provenance(one, model, edge) for one in asked]
        self._samples = samples
        self._head = {
            "created": int(time.time()),
            "model": model.id,
            "system_fingerprint": model.fingerprint(
                [part for answer in self._answers for part in answer["mixture"]]
            ),
        }

    @property
    def headers(self) -> dict[str, str]:
        return {"x-loradex-answer-id": ", ".join(answer["answer_id"] for answer in self._answers)}

    def usage(self) -> Document:
        return usage_of(self._answers, self._samples)

    def chat(self) -> Document:
        choices = [
            {
                "index": place,
                "message": {"role": "assistant", "content": answer["text"], "refusal": None},
                "logprobs": logprobs.of_chat(answer),
                "finish_reason": finish(answer),
                "loradex": told,
            }
            for place, answer, told in self._each()
        ]
        return self._whole("chatcmpl", "chat.completion", choices)

    def completion(self) -> Document:
        choices = [
            {
                "index": place,
                "text": answer["text"],
                "logprobs": logprobs.of_completion(answer),
                "finish_reason": finish(answer),
                "loradex": told,
            }
            for place, answer, told in self._each()
        ]
        return self._whole("cmpl", "text_completion", choices)

    def _each(self) -> Iterator[tuple[int, Document, Document]]:
        for place, (answer, told) in enumerate(zip(self._answers, self._told, strict=True)):
            yield place, answer, told

    def _named(self, prefix: str, kind: str) -> Document:
        return {"id": f"{prefix}-{self._answers[0]['answer_id']}", "object": kind, **self._head}

    def _whole(self, prefix: str, kind: str, choices: Sequence[Document]) -> Document:
        return {
            **self._named(prefix, kind),
            "choices": choices,
            "usage": self.usage(),
            "loradex": self._told[0],
        }


def usage_of(answers: Sequence[Mapping[str, Any]], samples: int) -> Document:
    """Tokens of all answers; a prompt counts once, however many answers it got."""
    read = sum(answer["prompt_tokens"] for answer in answers[::samples])
    written = sum(answer["output_tokens"] for answer in answers)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def finish(answer: Mapping[str, Any]) -> str:
    """In OpenAI's words; a choice is an end of its own making."""
    return "length" if answer["finish_reason"] == "length" else "stop"
