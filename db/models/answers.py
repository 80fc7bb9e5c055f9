"""Answers: append-only, one a job, each chained to the one before by hash."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, Text, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, DOUBLE_PRECISION
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, created_at, document


class Answer(Base):
    """Written by `record_answer` only; `answer_canonical` says what the hash covers."""

    __tablename__ = "answers"
    __table_args__ = (
        Index("answers_created_at_index", "created_at"),
        Index("answers_owner_index", "owner"),
        {"comment": "Answers, append-only and hash-chained; with their child tables they are the evidence."},
    )

    id: Mapped[UUID] = mapped_column(
        Uuid, primary_key=True, server_default=func.gen_random_uuid(), comment="the answer"
    )
    job_id: Mapped[UUID] = mapped_column(
        Uuid, ForeignKey("loradex.jobs.id"), unique=True, comment="the job it answers; one answer a job"
    )
    owner: Mapped[str] = mapped_column(Text, comment="database user who asked")
    attempt: Mapped[int] = mapped_column(Integer, comment="which attempt at the job succeeded")
    position: Mapped[int] = mapped_column(
        BigInteger, unique=True, comment="place in the chain, 1, 2, ... no gaps"
    )
    prompt: Mapped[str] = mapped_column(Text, comment="the question as it was asked")
    text: Mapped[str] = mapped_column(Text, comment="the answer's text")
    choice: Mapped[str | None] = mapped_column(Text, comment="the choice that won, for choose")
    scores: Mapped[list[float] | None] = mapped_column(
        ARRAY(DOUBLE_PRECISION), comment="score of each choice, in the job's order"
    )
    token_ids: Mapped[list[int]] = mapped_column(ARRAY(Integer), comment="tokens of the answer")
    prompt_tokens: Mapped[int] = mapped_column(Integer, comment="tokens of the framed prompt")
    output_tokens: Mapped[int] = mapped_column(Integer, comment="tokens of the answer")
    base_model: Mapped[str] = mapped_column(Text, comment="model that answered")
    base_model_revision: Mapped[str] = mapped_column(Text, comment="its revision as the worker found it")
    generation: Mapped[dict[str, Any]] = document("generation settings, seed, frame, device, dtype")
    timings: Mapped[dict[str, Any]] = document("milliseconds of every stage")
    versions: Mapped[dict[str, Any]] = document("versions of the programs that took part")
    worker: Mapped[str] = mapped_column(Text, comment="who answered")
    created_at: Mapped[datetime] = created_at("when it was recorded")
    previous_hash: Mapped[bytes] = mapped_column(
        BYTEA, comment="chain_hash of the answer before; zeros for the first"
    )
    chain_hash: Mapped[bytes] = mapped_column(
        BYTEA, unique=True, comment="SHA-256 of previous_hash and answer_canonical(id)"
    )
