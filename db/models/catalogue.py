"""What jobs may name: base models, encoders, tasks, methods; and how much the queue takes."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, created_at, document


class BaseModel(Base):
    """A causal language model that adapters were trained for."""

    __tablename__ = "base_models"
    __table_args__ = (
        CheckConstraint("context_length > 0", name="context_length"),
        CheckConstraint("position('{prompt}' in frame) > 0", name="frame"),
        {"comment": "Causal language models that adapters were trained for."},
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True, comment="what jobs and adapters call it")
    revision: Mapped[str] = mapped_column(Text, comment="content hash or hub revision of the weights")
    context_length: Mapped[int] = mapped_column(Integer, comment="tokens of prompt and answer together")
    frame: Mapped[str] = mapped_column(
        Text, comment="text the model reads, with {prompt} in place of the prompt"
    )
    created_at: Mapped[datetime] = created_at()


class Encoder(Base):
    """A sentence encoder; `register_encoder` also makes its index."""

    __tablename__ = "encoders"
    __table_args__ = (
        CheckConstraint("dimensions between 1 and 4000", name="dimensions"),
        {"comment": "Sentence encoders; each has one partial HNSW index on example_embeddings."},
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True, comment="what jobs and vectors call it")
    revision: Mapped[str] = mapped_column(Text, comment="content hash or hub revision of the weights")
    dimensions: Mapped[int] = mapped_column(Integer, comment="length of its vectors")
    created_at: Mapped[datetime] = created_at()


class Task(Base):
    """A data set with its card: prompt template, choices, metric, source."""

    __tablename__ = "tasks"
    __table_args__ = ({"comment": "Data sets that examples come from and adapters were trained on."},)

    name: Mapped[str] = mapped_column(Text, primary_key=True, comment="such as rte")
    family: Mapped[str] = mapped_column(Text, comment="such as nli")
    metric: Mapped[str] = mapped_column(Text, comment="accuracy or exact_match")
    card: Mapped[dict[str, Any]] = document("the task card", "{}")
    created_at: Mapped[datetime] = created_at()


class Method(Base):
    """A way to get from neighbours to a mixture; the only list of them."""

    __tablename__ = "methods"
    __table_args__ = (
        CheckConstraint(
            "adapters in ('none', 'named', 'first', 'all', 'nucleus', 'affinity')", name="adapters"
        ),
        {"comment": "Ways to compose adapters: the only list of them."},
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True, comment="what jobs call it")
    adapters: Mapped[str] = mapped_column(
        Text,
        comment="which adapters take part: none, named (by the job), first, all (alike), "
        "nucleus (by weight), affinity (by what was measured)",
    )
    description: Mapped[str] = mapped_column(Text, comment="what it does to their factors")


class Limits(Base):
    """How much one caller and the whole queue may hold; one row."""

    __tablename__ = "limits"
    __table_args__ = (
        CheckConstraint("singleton", name="singleton"),
        CheckConstraint(
            "least(max_waiting_jobs, max_jobs_per_call, max_prompt_characters, max_choices, "
            "max_new_tokens) > 0",
            name="positive",
        ),
        {"comment": "How much the queue takes: one row, which loradex_admin may update."},
    )

    singleton: Mapped[bool] = mapped_column(
        Boolean, primary_key=True, server_default=text("true"), comment="always true: there is one row"
    )
    max_waiting_jobs: Mapped[int] = mapped_column(
        Integer, server_default=text("100000"), comment="queued jobs; more are refused with LX008"
    )
    max_jobs_per_call: Mapped[int] = mapped_column(
        Integer, server_default=text("10000"), comment="jobs in one call of enqueue_jobs"
    )
    max_prompt_characters: Mapped[int] = mapped_column(
        Integer, server_default=text("100000"), comment="length of a prompt; the worker also counts tokens"
    )
    max_choices: Mapped[int] = mapped_column(
        Integer, server_default=text("256"), comment="choices of one job"
    )
    max_new_tokens: Mapped[int] = mapped_column(
        Integer, server_default=text("2048"), comment="tokens one job may generate"
    )
