"""What was composed for an answer: the recipe and its adapters."""

from uuid import UUID

from sqlalchemy import BigInteger, Double, Index, Integer, Text
from sqlalchemy.dialects.postgresql import CHAR
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base
from db.models.retrievals import answer_key


class MergeResult(Base):
    """The recipe an answer was made with."""

    __tablename__ = "merge_results"
    __table_args__ = (
        Index("merge_results_method_index", "method"),
        {"comment": "Recipe and outcome of each answer's merge; append-only."},
    )

    answer_id: Mapped[UUID] = answer_key()
    recipe_hash: Mapped[str] = mapped_column(CHAR(64), comment="SHA-256 of the canonical recipe, hex")
    method: Mapped[str] = mapped_column(Text, comment="the job's method")
    density: Mapped[float] = mapped_column(Double, comment="share of entries that trimming kept")
    dtype: Mapped[str] = mapped_column(Text, comment="dtype the factors were merged in")
    update_norm: Mapped[float] = mapped_column(Double, comment="Frobenius norm of the merged update")
    sign_conflict: Mapped[float | None] = mapped_column(
        Double, comment="share of entries whose signs disagree; null where the method does not look"
    )
    milliseconds: Mapped[float] = mapped_column(Double, comment="time of the merge")


class MergeComponent(Base):
    """One adapter of a recipe. No foreign key: evidence stands on its own."""

    __tablename__ = "merge_components"
    __table_args__ = (
        Index("merge_components_adapter_id_index", "adapter_id"),
        {"comment": "Adapters of each answer's recipe with their weights; append-only."},
    )

    answer_id: Mapped[UUID] = answer_key()
    rank: Mapped[int] = mapped_column(Integer, primary_key=True, comment="1 is the heaviest")
    adapter_id: Mapped[int] = mapped_column(BigInteger, comment="the adapter")
    adapter: Mapped[str] = mapped_column(Text, comment="its name")
    version: Mapped[int] = mapped_column(Integer, comment="its version")
    task: Mapped[str] = mapped_column(Text, comment="its task")
    sha256: Mapped[str] = mapped_column(CHAR(64), comment="its content hash")
    uri: Mapped[str] = mapped_column(Text, comment="where it was found")
    weight: Mapped[float] = mapped_column(Double, comment="its weight in the recipe")
    update_norm: Mapped[float | None] = mapped_column(Double, comment="Frobenius norm of its own update")
