"""What all anchors together say: heads that must be in the chain, and anchors that say nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loradex.errors import AnchorError
from loradex.service.audit.anchors import Anchor, Kept
from loradex.service.audit.finding import Finding


@dataclass
class Anchored:
    """What was read.

    Attributes:
        heads: All that any anchor ever kept.
        findings: Anchors that could not be read, or hold nothing.
        anchors: For each anchor how many heads it has, and the newest's time.
    """

    heads: list[Kept] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    anchors: list[dict[str, Any]] = field(default_factory=list)


def read(anchors: Sequence[Anchor]) -> Anchored:
    """Ask every anchor; one that cannot be read is a finding and no error, so that the others are heard."""
    told = Anchored()
    for anchor in anchors:
        count, newest = 0, None
        try:
            for kept in anchor.heads():
                told.heads.append(kept)
                count += 1
                newest = kept.at if newest is None else max(newest, kept.at)
        except AnchorError as error:
            told.findings.append(Finding.of_database(str(error)))
        else:
            if count == 0:
                reason = f"{anchor.name} keeps no head yet: run `loradex audit head --anchor`"
                told.findings.append(Finding.of_database(reason))
        told.anchors.append(_account(anchor, count, newest))
    return told


def _account(anchor: Anchor, count: int, newest: datetime | None) -> dict[str, Any]:
    return {"anchor": anchor.name, "heads": count, "newest": newest}
