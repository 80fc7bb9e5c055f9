"""The milliseconds of an answer as bars that follow one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STAGES = ("wait", "embed", "route", "prepare", "compose")
"""What follows one another, from the time a job was handed in."""

WITHIN = {"merge": "compose", "prefill": "compose", "choices": "compose", "decode": "compose"}
"""Stage → the one that it is a part of."""

WHOLE = "total"
WIDTH = 600.0
THINNEST = 1.0


@dataclass(frozen=True)
class Span:
    """One bar.

    Attributes:
        x, width: Of a picture that is `WIDTH` wide.
        within: Whether it is a part of the bar above it.
    """

    stage: str
    milliseconds: float
    x: float
    width: float
    within: bool


def spans(timings: Mapping[str, float]) -> Sequence[Span]:
    """The stages in the order in which they come. Those nobody knows here begin at the start."""
    begins: dict[str, float] = {}
    at = 0.0
    for stage in STAGES:
        if stage in timings:
            begins[stage] = at
            at += timings[stage]
    passed: dict[str, float] = {}
    for stage, whole in WITHIN.items():
        if stage in timings:
            begins[stage] = begins.get(whole, 0.0) + passed.get(whole, 0.0)
            passed[whole] = passed.get(whole, 0.0) + timings[stage]
    known = [name for name in (*STAGES, *WITHIN) if name in timings]
    others = sorted(name for name in timings if name not in (*STAGES, *WITHIN, WHOLE))
    end = max((begins.get(name, 0.0) + timings[name] for name in (*known, *others)), default=0.0)
    scale = WIDTH / end if end > 0 else 0.0
    return [
        Span(
            name,
            timings[name],
            begins.get(name, 0.0) * scale,
            max(timings[name] * scale, THINNEST),
            name in WITHIN,
        )
        for name in (*known, *others)
    ]
