"""What retrieval saw for an answer: the query, its neighbours, the task distribution."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Double, ForeignKey, Index, Integer, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Vector


def answer_key() -> Any:
    """The answer a row belongs to; checked at commit: children are written before the hash over them."""
    return mapped_column(
        Uuid,
        ForeignKey("loradex.answers.id", deferrable=True, initially="DEFERRED"),
        primary_key=True,
        comment="the answer",
    )


class Retrieval(Base):
    """The query of an answer and the settings it was routed with."""

    __tablename__ = "retrievals"
    __table_args__ = ({"comment": "Query vector and settings of each answer; append-only."},)

    answer_id: Mapped[UUID] = answer_key()
    query: Mapped[Any] = mapped_column(Vector, nullable=False, comment="vector of the prompt")
    encoder: Mapped[str] = mapped_column(Text, comment="what made the vector")
    encoder_revision: Mapped[str] = mapped_column(Text, comment="its revision at that time")
    k: Mapped[int] = mapped_column(Integer, comment="neighbours that were asked for")
    top_p: Mapped[float] = mapped_column(Double, comment="probability mass of the nucleus")
    temperature: Mapped[float] = mapped_column(Double, comment="softness of the votes")
    exclude_tasks: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="tasks that were not looked at")
    exclude_adapters: Mapped[list[str]] = mapped_column(
        ARRAY(Text), comment="adapters that might not take part"
    )
    milliseconds: Mapped[float] = mapped_column(
        Double, comment="time of this job's share of the routing batch"
    )


class RetrievedExample(Base):
    """One neighbour of an answer's query. No foreign key: evidence outlives the example."""

    __tablename__ = "retrieved_examples"
    __table_args__ = (
        Index("retrieved_examples_example_id_index", "example_id"),
        {"comment": "Neighbours of each answer's query, nearest first; append-only."},
    )

    answer_id: Mapped[UUID] = answer_key()
    rank: Mapped[int] = mapped_column(Integer, primary_key=True, comment="1 is the nearest")
    example_id: Mapped[int] = mapped_column(BigInteger, comment="the example")
    source_ref: Mapped[str] = mapped_column(Text, comment="its id in the data set")
    task: Mapped[str] = mapped_column(Text, comment="its task")
    similarity: Mapped[float] = mapped_column(Double, comment="cosine of example and query")


class RetrievedTask(Base):
    """One task of the distribution, before (probability) and after (weight) the nucleus cut."""

    __tablename__ = "retrieved_tasks"
    __table_args__ = (
        Index("retrieved_tasks_task_index", "task"),
        {"comment": "Task distribution of each answer, before and after truncation; append-only."},
    )

    answer_id: Mapped[UUID] = answer_key()
    rank: Mapped[int] = mapped_column(Integer, primary_key=True, comment="1 is the likeliest")
    task: Mapped[str] = mapped_column(Text, comment="the task")
    neighbours: Mapped[int] = mapped_column(Integer, comment="how many neighbours are of this task")
    best_similarity: Mapped[float] = mapped_column(Double, comment="cosine of its nearest")
    probability: Mapped[float] = mapped_column(Double, comment="share of the votes; sums to 1")
    weight: Mapped[float] = mapped_column(
        Double, comment="share after the cut; sums to 1, 0 outside the nucleus"
    )
    in_nucleus: Mapped[bool] = mapped_column(Boolean, comment="whether it survived the cut")
