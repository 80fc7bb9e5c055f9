"""What both clients say to Postgres, and how they read what comes back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from loradex.errors import InvalidArgumentError, LoradexError, UnknownAnswerError
from loradex.service.client.handle import JobHandle
from loradex.service.client.request import Request
from loradex.tracing import current_traceparent

ENQUEUE: LiteralString = "select job_id, created from loradex.enqueue_jobs(%s) order by ordinal"
MOST_BYTES: LiteralString = "select value::bigint from loradex.settings where name = 'max_call_bytes'"
PIECES_KEY: LiteralString = "select pieces_key from loradex.jobs where id = %s"
EXPLAIN: LiteralString = "select loradex.explain(%s)"

CONNECTIONS = 4
"""Of one client at most, beside the one that listens at another address."""

REPEAT_SECONDS = 15.0
LARGE_CALL = 1 << 20
"""Characters of a document from which on its size is compared with the limit before it is sent."""

NOT_A_CONNECTION = (
    "connection must be a psycopg connection of the same kind as the client; of an SQLAlchemy session give "
    "session.connection().connection.driver_connection"
)


@dataclass(frozen=True)
class Call:
    """One call of `enqueue_jobs`.

    Attributes:
        document: The jobs, as JSON.
        keyed: All of them have an idempotency key, so that it may be repeated: without one it is unknown after an
            outage whether a job was accepted.
    """

    document: str
    keyed: bool

    @classmethod
    def of(cls, jobs: Iterable[Request | Mapping[str, Any]]) -> "Call | None":
        """The call for these jobs; None where there are none."""
        requests = [Request.of(job) for job in jobs]
        if not requests:
            return None
        trace = current_traceparent()
        own = {} if trace is None else {"traceparent": trace}
        document = json.dumps([own | request.document() for request in requests], ensure_ascii=False)
        return cls(document, all(request.idempotency_key is not None for request in requests))

    @property
    def large(self) -> bool:
        """Whether Postgres would have to receive much before it could refuse it."""
        return len(self.document) > LARGE_CALL

    def require_room(self, found: Sequence[tuple[int]]) -> None:
        """`InvalidArgumentError` if it is larger than the setting that was found."""
        size = len(self.document.encode())
        for (most,) in found:
            if size > most:
                raise InvalidArgumentError(
                    f"the call has {size} bytes of JSON and may have {most} (setting max_call_bytes); split it"
                )


def uuid_of(text: object, unknown: type[LoradexError]) -> UUID:
    """The id; `unknown` is raised for what is not one."""
    try:
        return text if isinstance(text, UUID) else UUID(text)  # type: ignore[arg-type]
    except (ValueError, AttributeError, TypeError):
        raise unknown(f"{text!r} is not an id; ids look like 0198c5f2-6d3e-7c41-9a55-0c1d2e3f4a5b") from None


def page_of(
    state: str | None, metadata: Mapping[str, str] | None, limit: int, after: JobHandle | UUID | str | None
) -> tuple[object, ...]:
    """The arguments of `OWN_JOBS`."""
    pairs = Request.of({"prompt": "any", "metadata": metadata}).metadata
    last = after.id if isinstance(after, JobHandle) else after
    return (
        state,
        None if pairs is None else Jsonb(pairs),
        limit,
        None if last is None else uuid_of(last, InvalidArgumentError),
    )


def explained(found: Sequence[tuple[dict[str, Any] | None]], answer: object) -> dict[str, Any]:
    """The document of an answer that was found; `UnknownAnswerError` where there is none."""
    for (document,) in found:
        if document is not None:
            return document
    raise UnknownAnswerError(f"no answer {answer}, or it is another user's")
