"""What a worker tells OpenTelemetry of the jobs it took to an end: stages and counts, and texts where asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from loradex.collector import tells_content
from loradex.tracing import Kind, Part, is_on, sql, tell
from loradex.worker import trace_attributes
from loradex.worker.identity import WorkerIdentity
from loradex.worker.stages import Answered, Claimed
from loradex.worker.trace_attributes import Attributes, answer_text, asked, operation, question_text

KINDS = {"embed": "EMBEDDING", "route": "RETRIEVER", "prepare": "CHAIN", "compose": "LLM"}
"""Stages before the record, and what OpenInference calls their like."""

WITHIN = ("merge", "prefill", "decode", "choices")
"""What the engine does for a row, in this order; before it the row may wait for a place."""

ROUTE, RECORD = "loradex.route_jobs", "loradex.record_answer"


class Traces:
    """Spans of jobs, in the trace of whoever asked; each job has one of its own where nobody was in one."""

    def __init__(self, identity: WorkerIdentity) -> None:
        self._identity = identity
        self._texts_too = tells_content()

    def answered(self, one: Answered, answer: Mapping[str, Any], answer_id: UUID) -> None:
        """An answer, as `answer_document` says it, was recorded."""
        if not is_on():
            return
        told = self._asked(one)
        told["compose"] |= trace_attributes.answered(answer, answer_id, self._identity.base_model)
        if self._texts_too:
            told["compose"] |= answer_text(answer)
        stages = tuple(self._stages(one, told, answer["timings"]))
        self._tell(one, stages, {"loradex.answer_id": str(answer_id)}, None)

    def failed(self, one: Claimed, code: str) -> None:
        """A job ended without an answer."""
        if is_on():
            self._tell(one, tuple(self._stages(one, self._asked(one), {})), {}, code)

    def _asked(self, one: Claimed) -> dict[str, Attributes]:
        told = asked(one, self._identity)
        if self._texts_too:
            told["compose"] |= question_text(one.job)
        return told

    def _tell(self, one: Claimed, stages: tuple[Part, ...], more: Attributes, error: str | None) -> None:
        """The job from its acceptance, with the wait for a worker as its first part; the last one met the error."""
        accepted = one.clock.began - _nanoseconds(one.job.waited_ms)
        waited = Part("queue", accepted, one.clock.began)
        parts = [*stages, *_calls(one, RECORD)]
        if parts:
            parts[-1] = replace(parts[-1], error=error)
        attributes = {
            "openinference.span.kind": "CHAIN",
            "loradex.job_id": str(one.job.id),
            "loradex.attempt": one.job.attempt,
            **more,
        }
        ended = one.clock.began + _nanoseconds(one.clock.total())
        whole = Part("answer job", accepted, ended, attributes, "consumer", error, (waited, *parts))
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
                name, kind = f"{operation(one.job)} {self._identity.base_model}", "client"
            yield Part(name, at, until, attributes, kind, parts=parts)
            at = until


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
