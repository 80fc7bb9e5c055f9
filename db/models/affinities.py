"""How well each adapter answers each task, measured before anything is asked."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Double, ForeignKey, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, created_at


class TaskAffinity(Base):
    """One adapter's score on one task; the affinity methods weigh adapters by it."""

    __tablename__ = "task_affinities"
    __table_args__ = (
        CheckConstraint("score between 0 and 1", name="score"),
        CheckConstraint("n > 0", name="n"),
        {"comment": "How well each adapter answers each task, on rows that no adapter was trained on."},
    )

    task: Mapped[str] = mapped_column(
        Text, ForeignKey("loradex.tasks.name"), primary_key=True, comment="whose rows were asked"
    )
    adapter_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("loradex.adapters.id"), primary_key=True, comment="the adapter that answered"
    )
    score: Mapped[float] = mapped_column(Double, comment="how well, from 0 to 1")
    n: Mapped[int] = mapped_column(Integer, comment="rows asked")
    measured_at: Mapped[datetime] = created_at("when")
