"""Whether the link of one answer holds: computed here from its raw row, by the verifier of `loradex audit verify`."""

from collections.abc import Sequence
from dataclasses import dataclass

from loradex.service.audit import one
from loradex.service.audit.canonical import FIRST_PREVIOUS
from loradex.service.audit.evidence import ANSWERS, COLUMNS
from loradex.service.explorer.entrance import Viewer


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        wrong: What is wrong, in words; empty where the link holds.
        joined: Whether the link before it was compared too. To the owner of a key it is mostly another's.
    """

    wrong: Sequence[str]
    joined: bool


async def verdict_on(viewer: Viewer, answer: str, position: int) -> Verdict:
    """Read the raw row of an answer and the link before it, and compute.

    Raises:
        SchemaOutdatedError: The table has columns that this version cannot verify.
    """
    source = viewer.source
    table = one.columns_of(await source.rows(COLUMNS, (ANSWERS,)))
    rows = await source.rows(one.reading(table, answer))
    before = FIRST_PREVIOUS if position == 1 else None
    for found in await source.rows(one.reading_before(position, everything=viewer.everything)):
        before = bytes(found["chain_hash"])
    wrong = [finding.reason for row in rows for finding in one.findings(table, row, before)]
    return Verdict(wrong if rows else ["it is not there any more"], before is not None)
