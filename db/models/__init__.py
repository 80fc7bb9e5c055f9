"""The tables, declared once; Alembic's check compares them with the migrated database."""

from db.models.adapters import Adapter
from db.models.affinities import TaskAffinity
from db.models.answers import Answer
from db.models.base import SCHEMA, Base
from db.models.catalogue import BaseModel, Encoder, Limits, Method, Task
from db.models.evaluations import Evaluation
from db.models.examples import Example, ExampleEmbedding
from db.models.jobs import Job
from db.models.merges import MergeComponent, MergeResult
from db.models.retrievals import Retrieval, RetrievedExample, RetrievedTask

__all__ = [
    "SCHEMA",
    "Adapter",
    "Answer",
    "Base",
    "BaseModel",
    "Encoder",
    "Evaluation",
    "Example",
    "ExampleEmbedding",
    "Job",
    "Limits",
    "MergeComponent",
    "MergeResult",
    "Method",
    "Retrieval",
    "RetrievedExample",
    "RetrievedTask",
    "Task",
    "TaskAffinity",
]
