"""What came of all parts of `make faults`, on one page."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """What came of one part.

    Attributes:
        lost: Jobs without an answer or an error.
        doubled: Answers beyond one a job.
        chain_intact: Whether `docs/verify_chain.py` found nothing; None for a part without answers.
        fault: Why the part itself failed; None if it did not.
    """

    name: str
    lost: int = 0
    doubled: int = 0
    chain_intact: bool | None = None
    fault: str | None = None

    @property
    def kept(self) -> bool:
        """Whether every promise held."""
        return self.fault is None and not self.lost and not self.doubled and self.chain_intact is not False


def kept(parts: Sequence[Part]) -> bool:
    """Whether every promise held in every part."""
    return all(part.kept for part in parts)


def page(parts: Sequence[Part]) -> str:
    """A line a part, and the sum of them in the last one."""
    lines = [f"{'kept' if part.kept else 'BROKEN':<8}{part.name}: {_came(part)}" for part in parts]
    known = [part for part in parts if part.fault is None]
    chain = "BROKEN" if any(part.chain_intact is False for part in parts) else "intact"
    if not any(part.chain_intact for part in parts):
        chain = "BROKEN" if chain == "BROKEN" else "not seen"
    failed = f", {len(parts) - len(known)} parts failed" if len(known) < len(parts) else ""
    total = f"lost {sum(part.lost for part in parts)}, doubled {sum(part.doubled for part in parts)}, chain {chain}"
    return "\n".join(["", *lines, "", total + failed])


def _came(part: Part) -> str:
    if part.fault is not None:
        return part.fault
    if part.chain_intact is None:
        return "nothing got through"
    chain = "intact" if part.chain_intact else "BROKEN"
    return f"lost {part.lost}, doubled {part.doubled}, chain {chain}"
