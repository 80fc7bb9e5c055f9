"""How an answer came about as one picture, from left to right: neighbours, tasks, adapters. Here are its places."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COLOURS = 8
"""Tasks that have a colour of their own; the others share one."""

MOST_NEIGHBOURS = 24
MOST_TASKS = 12
MOST_ADAPTERS = 12
LEFT, MIDDLE, RIGHT = (0.0, 240.0), (390.0, 610.0), (760.0, 1000.0)
"""Where each column begins and ends."""

TOP = 34.0
ROW = 22.0
THINNEST = 26.0
STACK = 380.0
"""How high the boxes of a column are together, where none is too thin to be read."""

CUTS = frozenset({"first", "nucleus"})
"""Selections that keep tasks up to a share of the votes."""

BY_TASKS = CUTS | {"affinity"}
"""Selections in which a task that got votes brings adapters."""


@dataclass(frozen=True)
class Box:
    """One thing in a column.

    Attributes:
        y, height: Where it stands.
        colour: The class of its task's colour.
        name: What it is.
        share: Its similarity, probability or weight.
        note: A word beside it.
        out: Whether it was left out.
    """

    y: float
    height: float
    colour: str
    name: str
    share: float
    note: str = ""
    out: bool = False


@dataclass(frozen=True)
class Line:
    """From one box to another; `share` says how wide."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    colour: str

    @property
    def path(self) -> str:
        """As SVG writes a curve."""
        half = (self.x1 + self.x2) / 2
        return (
            f"M{self.x1:.1f} {self.y1:.1f} C{half:.1f} {self.y1:.1f} {half:.1f} {self.y2:.1f} "
            f"{self.x2:.1f} {self.y2:.1f}"
        )


@dataclass
class Picture:
    """All of it. `cut` is where the nucleus ends, None where nothing was cut."""

    neighbours: list[Box] = field(default_factory=list)
    tasks: list[Box] = field(default_factory=list)
    adapters: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    cut: float | None = None
    height: float = 0.0


def picture_of(
    neighbours: Sequence[Mapping[str, Any]],
    distribution: Sequence[Mapping[str, Any]],
    mixture: Sequence[Mapping[str, Any]],
    selection: str | None,
) -> Picture:
    """The picture of what an answer's document, or a routing, holds; the lists are as `loradex.explain` has them.

    Args:
        neighbours: Nearest first.
        distribution: Likeliest first.
        mixture: Heaviest first.
        selection: How the method selects (`loradex.methods`). Only where tasks bring their adapters is a line drawn
            from one to the other, and only where a nucleus keeps tasks is something cut off.
    """
    drawn, cuts = Picture(), selection in CUTS
    colours = {one["task"]: f"t{min(place, COLOURS)}" for place, one in enumerate(distribution)}
    kept = {one["task"]: one["weight"] for one in distribution}
    y = TOP
    for one in neighbours[:MOST_NEIGHBOURS]:
        box = Box(y, ROW - 4, _colour(colours, one), one["task"], one["similarity"], str(one["rank"]))
        drawn.neighbours.append(box)
        y += ROW
    _rest(drawn.neighbours, y, len(neighbours) - MOST_NEIGHBOURS, "neighbour")
    drawn.tasks = [
        Box(
            at,
            high,
            _colour(colours, one),
            one["task"],
            one["probability"],
            _votes(one),
            cuts and not one["in_nucleus"],
        )
        for one, at, high in _stacked(distribution[:MOST_TASKS], "probability")
    ]
    _rest(drawn.tasks, _end(drawn.tasks), len(distribution) - MOST_TASKS, "task")
    drawn.adapters = [
        Box(
            at,
            high,
            _colour(colours, one),
            f"{one['adapter']}",
            one["weight"],
            _moved(one, kept) if selection == "affinity" else "",
        )
        for one, at, high in _stacked(mixture[:MOST_ADAPTERS], "weight")
    ]
    _rest(drawn.adapters, _end(drawn.adapters), len(mixture) - MOST_ADAPTERS, "adapter")
    inside = [box for box in drawn.tasks if not box.out]
    if inside and len(inside) < len(drawn.tasks):
        drawn.cut = inside[-1].y + inside[-1].height + 2
    drawn.lines = [*_votes_drawn(drawn), *(_weights_drawn(drawn, mixture) if selection in BY_TASKS else ())]
    columns = (drawn.neighbours, drawn.tasks, drawn.adapters)
    drawn.height = max(map(_end, columns)) + 8
    return drawn


def _stacked(
    rows: Sequence[Mapping[str, Any]], name: str
) -> Sequence[tuple[Mapping[str, Any], float, float]]:
    """Each with its place and height, which goes by a share."""
    placed, y = [], TOP
    for one in rows:
        high = max(one[name] * STACK, THINNEST)
        placed.append((one, y, high - 3))
        y += high
    return placed


def _end(boxes: Sequence[Box]) -> float:
    return boxes[-1].y + boxes[-1].height + 4 if boxes else TOP


def _rest(boxes: list[Box], y: float, more: int, what: str) -> None:
    if more > 0:
        boxes.append(Box(y, ROW - 4, "none", f"and {more} more {what}{'s' if more > 1 else ''}", 0.0))


def _colour(colours: Mapping[str, str], one: Mapping[str, Any]) -> str:
    return colours.get(one["task"], f"t{COLOURS}")


def _votes(one: Mapping[str, Any]) -> str:
    return f"{one['neighbours']} neighbour{'s' if one['neighbours'] != 1 else ''}"


def _moved(one: Mapping[str, Any], kept: Mapping[str, float]) -> str:
    """How much weight affinities gave to a task's adapter, or took."""
    return f"{one['weight'] - kept.get(one['task'], 0.0):+.2f} by affinity"


def _votes_drawn(drawn: Picture) -> Sequence[Line]:
    places = {box.name: box for box in drawn.tasks}
    return [
        Line(LEFT[1], box.y + box.height / 2, MIDDLE[0], to.y + to.height / 2, 1.5, box.colour)
        for box in drawn.neighbours
        if (to := places.get(box.name)) is not None
    ]


def _weights_drawn(drawn: Picture, mixture: Sequence[Mapping[str, Any]]) -> Sequence[Line]:
    places = {box.name: box for box in drawn.tasks}
    return [
        Line(
            MIDDLE[1],
            start.y + start.height / 2,
            RIGHT[0],
            box.y + box.height / 2,
            max(1.5, min(start.height, box.height) * 0.8),
            box.colour,
        )
        for box, one in zip(drawn.adapters, mixture, strict=False)
        if (start := places.get(one["task"])) is not None and not start.out
    ]
