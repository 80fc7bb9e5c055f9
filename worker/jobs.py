"""The jobs of one worker, as the SQL functions of `loradex` hand them out and take them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, LiteralString
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pgvector.psycopg import register_vector
from psycopg.rows import class_row, tuple_row
from psycopg.types.json import Jsonb

from loradex.db.pool import Pool
from loradex.db.reconnect import repeat_through_outage
from loradex.tracing import is_on

Vector = npt.NDArray[np.float32]
Document = Mapping[str, Any]

CLAIM: LiteralString = """
    select id, kind, prompt, messages, choices, k, settings, attempt, pieces_key, traceparent,
           case when messages is not null then (
               select b.chat_template from loradex.base_models b where b.name = base_model) end as chat_template,
           attempt - releases - 1 as lost_attempts,
           -- A clock may be set back, and a claim begins before the commit of what it finds.
           greatest(extract(epoch from started_at - created_at)::float8 * 1000, 0) as waited_ms,
           priority > (select s.value::int from loradex.settings s where s.name = 'priority') as urgent
    from loradex.claim_jobs(
        %s, %s, %s, %s, only_base_model => %s, only_encoder => %s, token => %s, only_urgent => %s)"""

OVER: LiteralString = """
    select held.id from unnest(%s::uuid[]) held(id)
    where not exists (
        select from loradex.jobs j where j.id = held.id and j.state = 'running' and j.worker = %s)"""

ANNOUNCE: LiteralString = "select loradex.announce_worker(%s, %s, %s, %s, %s, %s, %s, %s, %s)"

PLACES: LiteralString = (
    "select sha256::text, uri from loradex.adapters where base_model = %s and sha256 = any (%s)"
)
"""Where the files of these hashes are registered now: they may have moved since an answer was given."""


@dataclass(frozen=True)
class Abilities:
    """What a worker announces beside its name, its base model and its encoder."""

    device: str
    dtype: str
    adapter_roots: Sequence[str]
    batch_rows: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A claimed job: the columns of `loradex.jobs` that a worker needs.

    Attributes:
        prompt: The question, or of a conversation the text that neighbours are searched for.
        messages: The conversation: `role` and `content` of each message; None: there is the prompt alone.
        chat_template: What its base model reads conversations by; None: there is none, or no conversation.
        settings: What else it says, complete with defaults: those of loradex.settings without a column of
            their own.
        pieces_key: Where Redis has its text while it is written; None: nobody listens.
        traceparent: The trace its spans belong to; None: none was told.
        lost_attempts: Attempts whose worker died or went silent.
        waited_ms: Milliseconds from acceptance to this claim.
        urgent: Whether its priority is above the default.
        k: How many neighbours vote.
    """

    id: UUID
    kind: Literal["generate", "choose"]
    prompt: str
    messages: list[dict[str, str]] | None
    chat_template: str | None
    choices: list[str] | None
    settings: Document
    attempt: int
    pieces_key: UUID | None
    lost_attempts: int
    waited_ms: float
    urgent: bool = False
    traceparent: str | None = None
    k: int = 0

    @property
    def seed(self) -> int:
        """The seed where the job names none: any, but always the same for this job."""
        return self.id.int % (1 << 31)


@dataclass(frozen=True)
class Routing:
    """What Postgres decided for one job, as far as a worker needs it; Postgres keeps the whole.

    Attributes:
        merge: How the adapters are merged.
        calibrated: Whether the result is rescaled.
        mixture: The adapters with their weights, heaviest first: adapter, sha256, uri, weight and more.
        similarity: Cosine of the question and its nearest example; None without examples.
        prior: `shares` of its choices in the asker's latest `answers`; None where that does not count.
        nearest: The ten nearest examples, for spans, with `example_id` and `similarity`; none where none are made.
    """

    merge: str
    calibrated: bool
    mixture: Sequence[Document]
    similarity: float | None = None
    prior: Document | None = None
    nearest: Sequence[Document] = ()


class Jobs:
    """One connection to Postgres and the calls a worker makes over it; it reconnects after an outage.

    `retry_for` is how long a write is repeated while Postgres is away. Repeating is safe: the attempt number
    fences off the second of two writes. `token` is this worker's secret, which binds its claims to it.
    """

    def __init__(
        self,
        url: str,
        worker: str,
        *,
        base_model: str,
        encoder: str,
        lease: timedelta,
        max_attempts: int,
        retry_for: timedelta,
        token: str | None = None,
        prepare_threshold: int | None = None,
    ) -> None:
        # Vectors in binary: as text they cost a millisecond each on both ends.
        self._database = Pool(url, prepare=register_vector, prepare_threshold=prepare_threshold)
        self._base_model = base_model
        self._encoder = encoder
        self._max_attempts = max_attempts
        self._retry_for = retry_for
        self._token = token
        self.worker = worker
        self.lease = lease

    def claim(self, rows: int, *, urgent: bool) -> list[Job]:
        """Take up to `rows` waiting jobs for this base model and encoder under a lease.

        With `urgent` only those whose priority is above the default. Jobs out of attempts become failed on the way.
        """
        values = (self.worker, rows, self.lease, self._max_attempts)
        only = (self._base_model, self._encoder, self._token, urgent)
        with self._database.session() as connection, connection.cursor(row_factory=class_row(Job)) as cursor:
            return cursor.execute(CLAIM, values + only).fetchall()

    def route(self, jobs: Sequence[Job], queries: Sequence[Vector]) -> list[Routing]:
        """What Postgres decides for each job, in the jobs' order: one statement for all of them.

        Each query is float32 `[dimensions]`.
        """
        rows = self._repeated(
            "select job_id, routing ->> 'merge', (routing -> 'calibrated')::boolean, routing -> 'mixture', "
            "(routing #>> '{neighbours,0,similarity}')::float8, routing -> 'prior', "
            "case when %s then jsonb_path_query_array(routing, '$.neighbours[0 to 9]') else '[]' end "
            "from loradex.route_jobs(%s, %b, %s)",
            (is_on(), [job.id for job in jobs], list(queries), self._token),
        )
        routings = {job_id: Routing(*decided) for job_id, *decided in rows}
        return [routings[job.id] for job in jobs]

    def record(self, job: Job, answer: Document) -> UUID:
        """Write the answer with all that led to it, in one transaction.

        Raises:
            LeaseLostError: The attempt is over.
            RoutingLostError: Postgres no longer knows what it decided; release the job.
        """
        rows = self._repeated(
            "select loradex.record_answer(%s, %s, %s, %s)", (job.id, job.attempt, Jsonb(answer), self._token)
        )
        return UUID(str(rows[0][0]))

    def fail(self, job: Job, code: str, message: str) -> None:
        """End the job as failed; `LeaseLostError` if it is no longer this worker's."""
        self._repeated(
            "select loradex.fail_job(%s, %s, %s, %s, token => %s)",
            (job.id, job.attempt, code, _storable(message), self._token),
        )

    def release(self, jobs: Sequence[Job], *, ring: bool) -> None:
        """Give jobs back to the queue; with `ring` workers that have room take them at once."""
        self._repeated(
            "select loradex.release_jobs(%s, %s, %s, %s)",
            (self.worker, [job.id for job in jobs], self._token, ring),
        )

    def extend(self, ids: Sequence[UUID]) -> None:
        """Prolong the lease of jobs that are still this worker's."""
        with self._database.session() as connection:
            connection.execute(
                "select loradex.extend_lease(%s, %s, %s, token => %s)",
                (self.worker, list(ids), self.lease, self._token),
            )

    def expire(self) -> None:
        """End what is past its deadline, this worker's or not."""
        with self._database.session() as connection:
            connection.execute("select loradex.expire_jobs()")

    def over(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those of the jobs that have ended or are another worker's now."""
        with self._database.session() as connection:
            return {row[0] for row in connection.execute(OVER, (list(ids), self.worker)).fetchall()}

    def announce(self, abilities: Abilities) -> None:
        """Say that this worker lives, and what it can do."""
        with self._database.session() as connection:
            connection.execute(
                ANNOUNCE,
                (
                    *(self.worker, self._base_model, self._encoder, abilities.device, abilities.dtype),
                    *(list(abilities.adapter_roots), abilities.batch_rows, Jsonb(dict(abilities.versions))),
                    self._token,
                ),
            )

    def withdraw(self) -> None:
        """Say that this worker ends."""
        with self._database.session() as connection:
            connection.execute("select loradex.withdraw_worker(%s, %s)", (self.worker, self._token))

    def claim_texts(self) -> tuple[UUID, list[str]] | None:
        """The oldest texts that wait for this encoder's vectors, and their id; None: none wait."""
        with self._database.session() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            found = cursor.execute(
                "select id, texts from loradex.claim_embeddings(%s)", (self._encoder,)
            ).fetchone()
        return None if found is None else (found[0], found[1])

    def give_vectors(self, request: UUID, vectors: Sequence[Vector], tokens: int) -> None:
        """Leave the vectors of claimed texts, float32 `[dimensions]` each, in order, for whoever asked."""
        self._repeated("select loradex.record_embeddings(%s, %b, %s)", (request, list(vectors), tokens))

    def refuse_texts(self, request: UUID, refusal: str) -> None:
        """Tell whoever asked why there are no vectors."""
        self._repeated("select loradex.record_embeddings(%s, null, null, %s)", (request, _storable(refusal)))

    def claim_replay(self, numbers: str) -> tuple[UUID, UUID] | None:
        """The request and the answer that waits longest to be replayed in these numbers; None: none waits."""
        with self._database.session() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            found = cursor.execute(
                "select id, answer_id from loradex.claim_replay(%s, %s, %s)",
                (self.worker, self._base_model, numbers),
            ).fetchone()
        return None if found is None else (found[0], found[1])

    def stored(self, answer: UUID) -> Document:
        """All that is known about an answer.

        Raises:
            UnknownAnswerError: It is gone.
        """
        ((document,),) = self._repeated("select loradex.explain(%s)", (answer,))
        return dict(document)

    def places(self, base_model: str, hashes: Sequence[str]) -> Mapping[str, str]:
        """Where the base model's adapters of these content hashes are registered now."""
        return dict(self._repeated(PLACES, (base_model, list(hashes))))

    def keep_replay(self, request: UUID) -> bool:
        """Say that this worker is at it. Whether it is to go on."""
        return bool(self._fetched("select loradex.keep_replay(%s, %s)", (request, self.worker))[0][0])

    def release_replay(self, request: UUID) -> None:
        """Give it back to others, since this worker ends."""
        self._repeated("select loradex.release_replay(%s, %s)", (request, self.worker))

    def give_replay(self, request: UUID, told: Document) -> None:
        """Leave how the answer and its replay compare, for whoever asked."""
        self._repeated("select loradex.record_replay(%s, %s, %s)", (request, self.worker, Jsonb(dict(told))))

    def refuse_replay(self, request: UUID, code: str, message: str) -> None:
        """Tell whoever asked why it could not be replayed."""
        self._repeated(
            "select loradex.record_replay(%s, %s, null, %s, %s)",
            (request, self.worker, code, _storable(message)),
        )

    def hang_up(self, seconds: float) -> bool:
        """End the calls that Postgres has not answered for `seconds`, and make no more if there are any.

        They raise `DatabaseUnavailableError`, later ones `ClientClosedError`. Whether that was done, now or before.
        """
        return self._database.hang_up(seconds)

    def close(self) -> None:
        self._database.close()

    def _repeated(self, statement: LiteralString, values: Sequence[object]) -> list[tuple[Any, ...]]:
        return repeat_through_outage(self._retry_for.total_seconds(), self._fetched, statement, values)

    def _fetched(self, statement: LiteralString, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._database.session() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            return cursor.execute(statement, values).fetchall()


def _storable(text: str) -> str:
    """The text without what Postgres cannot hold: a reason may quote what is wrong."""
    return text.encode(errors="replace").decode().replace("\0", "\ufffd")
