"""Scores of evaluations, one row a task, setting and method."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, Identity, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, created_at, document


class Evaluation(Base):
    """One cell of the evaluation's table."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("evaluations_run_index", "run"),
        CheckConstraint("n > 0", name="n"),
        {"comment": "Scores of evaluation runs; rows are added, never changed."},
    )

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="internal id"
    )
    run: Mapped[str] = mapped_column(Text, comment="the run all its rows share")
    setting: Mapped[str] = mapped_column(Text, comment="such as in-domain or out-of-domain")
    method: Mapped[str] = mapped_column(Text, comment="how adapters were mixed")
    settings: Mapped[dict[str, Any]] = document("k, top_p, temperature, density, seed, ...", "{}")
    task: Mapped[str] = mapped_column(Text, comment="task that was scored")
    n: Mapped[int] = mapped_column(Integer, comment="questions asked")
    score: Mapped[float] = mapped_column(Double, comment="share answered right")
    low: Mapped[float] = mapped_column(Double, comment="lower end of the confidence interval")
    high: Mapped[float] = mapped_column(Double, comment="upper end of the confidence interval")
    seconds: Mapped[float] = mapped_column(Double, comment="time of this row")
    git_revision: Mapped[str] = mapped_column(Text, comment="revision of the code")
    library_hash: Mapped[str] = mapped_column(Text, comment="hash of the library that answered")
    created_at: Mapped[datetime] = created_at()
