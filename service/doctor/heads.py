"""Heads that are kept elsewhere: whether there are any, and how old the newest is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from loradex.errors import AnchorError
from loradex.service.audit.anchors import Anchor, anchors
from loradex.service.doctor.symptom import Symptom
from loradex.service.settings import ServiceSettings

FRESH = timedelta(hours=26)
"""A daily run may come late."""
CURE = "run `loradex audit verify && loradex audit head --anchor` every hour (SECURITY.md, keeping heads)"


def symptoms(settings: ServiceSettings) -> Iterator[Symptom]:
    named = anchors(settings.anchor_urls())
    if not named:
        note = "nowhere: whoever owns the database could write the chain anew"
        yield Symptom("heads kept elsewhere", "look", note, "set LORADEX_ANCHOR (SECURITY.md, keeping heads)")
    for anchor in named:
        yield _symptom(anchor)


def _symptom(anchor: Anchor) -> Symptom:
    check = f"heads in {anchor.name}"
    try:
        newest = max((head.at for head in anchor.heads()), default=None)
    except AnchorError as error:
        return Symptom(check, "ill", str(error), "mend that place, or name another in LORADEX_ANCHOR")
    if newest is None:
        return Symptom(check, "ill", "none is kept yet", CURE)
    old = datetime.now(UTC) - newest > FRESH
    return Symptom(
        check,
        "ill" if old else "well",
        f"the newest is of {newest:%Y-%m-%d %H:%M} UTC",
        CURE if old else None,
    )
