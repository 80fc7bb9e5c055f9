"""Jobs: one question with its settings, from queued to done or failed."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Timestamp, created_at


class Job(Base):
    """Written by `enqueue_jobs`, moved by `claim_jobs`, `record_answer`, `fail_job`, `release_jobs` only."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "jobs_idempotency_index",
            "owner",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key is not null"),
        ),
        Index(
            "jobs_queued_index",
            text("priority desc"),
            "queue_position",
            postgresql_where=text("state = 'queued'"),
        ),
        Index("jobs_running_index", "lease_until", postgresql_where=text("state = 'running'")),
        Index("jobs_created_at_index", "created_at"),
        Index("jobs_finished_at_index", "finished_at"),
        CheckConstraint("state in ('queued', 'running', 'done', 'failed')", name="state"),
        CheckConstraint("kind in ('generate', 'choose')", name="kind"),
        CheckConstraint("(kind = 'choose') = (choices is not null)", name="choices"),
        CheckConstraint("normalization in ('none', 'tokens', 'bytes')", name="normalization"),
        CheckConstraint("(state = 'running') = (lease_until is not null)", name="lease"),
        CheckConstraint("(state = 'failed') = (error_code is not null)", name="error"),
        {"comment": "Questions and how far they are; only the queue functions write here."},
    )

    id: Mapped[UUID] = mapped_column(
        Uuid, primary_key=True, server_default=func.gen_random_uuid(), comment="the job"
    )
    owner: Mapped[str] = mapped_column(
        Text, server_default=text("session_user"), comment="database user who asked"
    )
    kind: Mapped[str] = mapped_column(Text, comment="generate (text) or choose (rank the choices)")
    prompt: Mapped[str] = mapped_column(Text, comment="the question, without the base model's frame")
    choices: Mapped[list[str] | None] = mapped_column(ARRAY(Text), comment="answers to rank, for choose")
    base_model: Mapped[str] = mapped_column(
        Text, ForeignKey("loradex.base_models.name"), comment="model that answers"
    )
    encoder: Mapped[str] = mapped_column(
        Text, ForeignKey("loradex.encoders.name"), comment="encoder for retrieval"
    )
    method: Mapped[str] = mapped_column(
        Text, ForeignKey("loradex.methods.name"), comment="how adapters are mixed"
    )
    adapter: Mapped[str | None] = mapped_column(Text, comment="the adapter of method own")
    k: Mapped[int] = mapped_column(Integer, comment="neighbours that vote")
    top_p: Mapped[float] = mapped_column(Double, comment="probability mass of the tasks that are mixed")
    temperature: Mapped[float] = mapped_column(Double, comment="softness of the neighbours' votes")
    density: Mapped[float] = mapped_column(Double, comment="share of entries that trimming methods keep")
    exclude_tasks: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="tasks whose examples are not looked at"
    )
    exclude_adapters: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="adapters that may not take part"
    )
    normalization: Mapped[str] = mapped_column(Text, comment="what a choice's log-likelihood is divided by")
    max_new_tokens: Mapped[int] = mapped_column(Integer, comment="tokens to generate at most")
    sampling_temperature: Mapped[float] = mapped_column(Double, comment="0 is greedy")
    sampling_top_p: Mapped[float] = mapped_column(Double, comment="nucleus of the token sampler")
    seed: Mapped[int | None] = mapped_column(BigInteger, comment="seed of the token sampler")
    expected_task: Mapped[str | None] = mapped_column(
        Text, ForeignKey("loradex.tasks.name"), comment="true task where known"
    )
    idempotency_key: Mapped[str | None] = mapped_column(Text, comment="asking again with it gives this job")
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"), comment="higher goes first")
    queue_position: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), nullable=False, comment="order of arrival"
    )
    state: Mapped[str] = mapped_column(
        Text, server_default=text("'queued'"), comment="queued, running, done or failed"
    )
    attempt: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="times claimed; fences off late writes"
    )
    releases: Mapped[int] = mapped_column(
        Integer, server_default=text("0"), comment="times given back unharmed; these attempts do not count"
    )
    lease_until: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="when others may claim a running job"
    )
    worker: Mapped[str | None] = mapped_column(Text, comment="who claimed it last")
    error_code: Mapped[str | None] = mapped_column(Text, comment="why it failed, for programs")
    error_message: Mapped[str | None] = mapped_column(Text, comment="why it failed, for people")
    created_at: Mapped[datetime] = created_at("when it was accepted")
    started_at: Mapped[datetime | None] = mapped_column(Timestamp, comment="when it was claimed last")
    finished_at: Mapped[datetime | None] = mapped_column(Timestamp, comment="when it was done or failed")
