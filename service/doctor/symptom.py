"""One thing that was looked at, how it is, and the cure."""

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["well", "look", "ill", "unknown"]


@dataclass(frozen=True)
class Symptom:
    """What one check found.

    Attributes:
        check: What was looked at.
        state: `look` works and could be better, `ill` needs the cure, `unknown` could not be seen.
        note: What is known about it.
        cure: What to do; None where nothing is to be done.
    """

    check: str
    state: State
    note: str
    cure: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return asdict(self)
