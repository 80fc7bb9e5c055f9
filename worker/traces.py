"""What a worker tells OpenTelemetry of the jobs it took to an end: stages and counts, and texts where asked for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from loradex.collector import tells_content
from loradex.tracing import Kind, Part, is_on, sql, tell
from loradex.worker.identity import WorkerIdentity
from loradex.worker.jobs import Job
from loradex.worker.stages import Answered, Claimed

KINDS = {"embed": "EMBEDDING", "route": "RETRIEVER", "prepare": "CHAIN", "compose": "LLM"}
"""Stages before the record, and what OpenInference calls their like."""

WITHIN = ("merge", "prefill", "decode", "choices")
"""What the engine does for a row, in this order; before it the row may wait for a place."""

ROUTE, RECORD = "loradex.route_jobs", "loradex.record_answer"

Attributes = dict[str, Any]


class Traces:
    """Spans of jobs, in the trace of whoever asked; each job has one of its own where nobody was in one."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity
        self._texts_too = tells_content()

    def answered(self, one: Answered, answer: Mapping[str, Any], answer_id: UUID) -> None:
        """An answer, as `answer_document` says it, was recorded."""
        if not is_on():
            return
        told: dict[str, Attributes] = {
            "embed": {"embedding.model_name": self._identity.encoder},
            "route": {
                "loradex.adapters": [str(part["adapter"]) for part in one.routing.mixture],
                "loradex.weights": [float(part["weight"]) for part in one.routing.mixture],
                **({} if one.routing.similarity is None else {"loradex.similarity": one.routing.similarity}),
            },
            "compose": {
                **self._generation(one, answer, answer_id),
                **(_texts(one, answer) if self._texts_too else {}),
            },
        }
        stages = tuple(self._stages(one, told, answer["timings"]))
        self._tell(one, stages, {"loradex.answer_id": str(answer_id)}, None)

    def failed(self, one: Claimed, code: str) -> None:
        """A job ended without an answer."""
        if is_on():
            self._tell(one, tuple(self._stages(one, {}, {})), {}, code)

    def _tell(self, one: Claimed, stages: tuple[Part, ...], more: Attributes, error: str | None) -> None:
        """The job from its acceptance, with the wait for a worker as its first part."""
        accepted = one.clock.began - _nanoseconds(one.job.waited_ms)
        waited = Part("queue", accepted, one.clock.began)
        recorded = tuple(_calls(one, RECORD))
        attributes = {
            "openinference.span.kind": "CHAIN",
            "loradex.job_id": str(one.job.id),
            "loradex.attempt": one.job.attempt,
            **more,
        }
        ended = one.clock.began + _nanoseconds(one.clock.total())
        whole = Part(
            "answer job", accepted, ended, attributes, "consumer", error, (waited, *stages, *recorded)
        )
        tell(whole, one.job.traceparent)

    def _stages(
        self, one: Claimed, told: Mapping[str, Attributes], timings: Mapping[str, float]
    ) -> Iterator[Part]:
        at = one.clock.began
        for stage, milliseconds in one.clock.laps.items():
            until = at + _nanoseconds(milliseconds)
            attributes = {"openinference.span.kind": KINDS.get(stage, "CHAIN"), **told.get(stage, {})}
            parts = tuple(_calls(one, ROUTE)) if stage == "route" else ()
            name: str = stage
            kind: Kind = "internal"
            if stage == "compose":
                parts = tuple(_within(timings, at, until))
                name, kind = f"{_operation(one.job)} {self._identity.base_model}", "client"
            yield Part(name, at, until, attributes, kind, parts=parts)
            at = until

    def _generation(self, one: Answered, answer: Mapping[str, Any], answer_id: UUID) -> Attributes:
        model = self._identity.base_model
        # Numbers alone: a text that a job sets is its asker's.
        numbers = {name: value for name, value in one.job.settings.items() if isinstance(value, int | float)}
        read, wrote = answer["prompt_tokens"], answer["output_tokens"]
        return {
            "gen_ai.operation.name": _operation(one.job),
            "gen_ai.provider.name": "loradex",
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.response.id": str(answer_id),
            "gen_ai.response.finish_reasons": [answer["generation"]["finish_reason"]],
            "gen_ai.usage.input_tokens": read,
            "gen_ai.usage.output_tokens": wrote,
            "llm.model_name": model,
            "llm.invocation_parameters": json.dumps(numbers),
            "llm.provider": "loradex",
            "llm.token_count.prompt": read,
            "llm.token_count.completion": wrote,
            "llm.token_count.total": read + wrote,
        }


def _operation(job: Job) -> str:
    return "text_completion" if job.messages is None else "chat"


def _texts(one: Answered, answer: Mapping[str, Any]) -> Attributes:
    """Question and answer, for a collector that may know them."""
    asked = one.job.messages or [{"role": "user", "content": one.job.prompt}]
    said = answer["choice"] if answer["text"] is None else answer["text"]
    inputs = [
        {"role": message["role"], "parts": [{"type": "text", "content": message["content"]}]}
        for message in asked
    ]
    output = {
        "role": "assistant",
        "parts": [{"type": "text", "content": said}],
        "finish_reason": answer["generation"]["finish_reason"],
    }
    return {
        "gen_ai.input.messages": json.dumps(inputs),
        "gen_ai.output.messages": json.dumps([output]),
        "input.value": asked[-1]["content"],
        "output.value": said,
    }


def _calls(one: Claimed, function: str) -> Iterator[Part]:
    """The call of a function of Postgres, if there was one."""
    if function in one.clock.calls:
        began, ended = (one.clock.began + _nanoseconds(at) for at in one.clock.calls[function])
        yield Part(function, began, ended, sql(function), "client")


def _within(timings: Mapping[str, float], began: int, ended: int) -> Iterator[Part]:
    """What the engine did, up to the end of its stage; how long each took was measured, and not when it began."""
    spent = [(name, _nanoseconds(timings[name])) for name in WITHIN if name in timings]
    at = max(began, ended - sum(long for _, long in spent))
    for name, long in spent:
        yield Part(name, at, min(at + long, ended))
        at = min(at + long, ended)


def _nanoseconds(milliseconds: float) -> int:
    return round(1e6 * milliseconds)
