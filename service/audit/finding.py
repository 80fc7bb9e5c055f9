"""One thing that is wrong with the evidence, in words."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Finding:
    """What is wrong; `position` and `answer_id` are None where it is no single answer."""

    position: int | None
    answer_id: UUID | None
    reason: str

    @classmethod
    def of_database(cls, reason: str) -> "Finding":
        """A finding about a table, a function or a grant."""
        return cls(None, None, reason)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "answer_id": None if self.answer_id is None else str(self.answer_id)}
