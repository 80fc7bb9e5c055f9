"""Training examples and their vectors: what retrieval looks through."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import CHAR
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Vector, created_at


class Example(Base):
    """One training example; its text may be missing until it is hydrated."""

    __tablename__ = "examples"
    __table_args__ = (
        UniqueConstraint("task", "source_ref"),
        UniqueConstraint("id", "task"),
        CheckConstraint(
            "prompt is null or sha256 = "
            "encode(sha256(convert_to(prompt || E'\\x1f' || coalesce(target, ''), 'UTF8')), 'hex')",
            name="sha256",
        ),
        CheckConstraint("(prompt is null) = (target is null)", name="text"),
        {"comment": "Training examples; prompt and target are null until hydrated from the source."},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="internal id"
    )
    task: Mapped[str] = mapped_column(Text, ForeignKey("loradex.tasks.name"), comment="task it belongs to")
    source_ref: Mapped[str] = mapped_column(Text, comment="its id in the data set, such as rte-train-511")
    prompt: Mapped[str | None] = mapped_column(Text, comment="rendered prompt, the text that was embedded")
    target: Mapped[str | None] = mapped_column(Text, comment="right answer")
    sha256: Mapped[str] = mapped_column(CHAR(64), comment="SHA-256 of prompt, 0x1f, target in UTF-8, hex")
    created_at: Mapped[datetime] = created_at()


class ExampleEmbedding(Base):
    """The vector of an example by one encoder; `task` is repeated so that filters need no join."""

    __tablename__ = "example_embeddings"
    __table_args__ = (
        ForeignKeyConstraint(
            ["example_id", "task"], ["loradex.examples.id", "loradex.examples.task"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["duplicate_of", "encoder"],
            ["loradex.example_embeddings.example_id", "loradex.example_embeddings.encoder"],
            ondelete="SET NULL (duplicate_of)",
        ),
        Index("example_embeddings_encoder_task_index", "encoder", "task", "duplicate_of"),
        Index(
            "example_embeddings_duplicate_index",
            "duplicate_of",
            "encoder",
            postgresql_where=text("duplicate_of is not null"),
        ),
        CheckConstraint("vector_norm(embedding) between 0.01 and 10000", name="direction"),
        {"comment": "Vectors of examples; one partial HNSW cosine index an encoder (see register_encoder)."},
    )

    example_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, comment="the example")
    encoder: Mapped[str] = mapped_column(
        Text, ForeignKey("loradex.encoders.name"), primary_key=True, comment="what made the vector"
    )
    task: Mapped[str] = mapped_column(Text, comment="the example's task, repeated for filters")
    embedding: Mapped[Any] = mapped_column(Vector, nullable=False, comment="the vector of the prompt")
    duplicate_of: Mapped[int | None] = mapped_column(
        BigInteger, comment="near duplicate that is in the index for it; null: it is there itself"
    )
