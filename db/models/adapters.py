"""Adapters: an adapter is its content hash; a new file is a new version."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, CHAR
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Timestamp, created_at, document


class Adapter(Base):
    """A registered LoRA of one task and base model."""

    __tablename__ = "adapters"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        UniqueConstraint("base_model", "task", "sha256"),
        Index(
            "adapters_one_active_index",
            "base_model",
            "task",
            unique=True,
            postgresql_where=text("state = 'active'"),
        ),
        CheckConstraint("state in ('active', 'retired')", name="state"),
        CheckConstraint("(state = 'retired') = (retired_at is not null)", name="retired_at"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("version > 0 and rank > 0 and parameters > 0", name="positive"),
        {
            "comment": "LoRA adapters; only state and retired_at ever change, "
            "and at most one a task is active."
        },
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="internal id"
    )
    name: Mapped[str] = mapped_column(Text, comment="what people call it, the same for all versions")
    version: Mapped[int] = mapped_column(Integer, comment="1, 2, ... within the name")
    task: Mapped[str] = mapped_column(
        Text, ForeignKey("loradex.tasks.name"), comment="task it was trained on"
    )
    base_model: Mapped[str] = mapped_column(
        Text, ForeignKey("loradex.base_models.name"), comment="model it was trained for"
    )
    sha256: Mapped[str] = mapped_column(CHAR(64), comment="content hash of its two files, hex")
    uri: Mapped[str] = mapped_column(Text, comment="where a worker finds the directory")
    rank: Mapped[int] = mapped_column(Integer, comment="LoRA rank r")
    alpha: Mapped[float] = mapped_column(Double, comment="LoRA alpha; scaling is alpha / r")
    target_modules: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="names of the layers it updates")
    dtype: Mapped[str] = mapped_column(Text, comment="dtype of its tensors on disk")
    parameters: Mapped[int] = mapped_column(BigInteger, comment="numbers in its tensors")
    update_norm: Mapped[float] = mapped_column(Double, comment="Frobenius norm of its whole update")
    state: Mapped[str] = mapped_column(Text, server_default=text("'active'"), comment="active or retired")
    card: Mapped[dict[str, Any]] = document("how it was trained", "{}")
    registered_at: Mapped[datetime] = created_at("when it was registered")
    retired_at: Mapped[datetime | None] = mapped_column(
        Timestamp, comment="when it was retired; null while active"
    )
