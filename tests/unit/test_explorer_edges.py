"""Where domains end, as the explorer keeps it: one look an encoder, and none that stops the pages."""

import asyncio
from typing import Any, cast

import pytest

from loradex.service.explorer import edges
from loradex.service.explorer.edges import KnownEdges
from loradex.service.explorer.entrance import Viewer
from loradex.service.explorer.rows import TOO_SLOW


class Source:
    """Encoders with their edges; some take too long."""

    def __init__(self) -> None:
        self.edges: dict[str, float | None] = {"large": 0.4, "new": 0.6, "old": 0.5}
        self.slow: set[str] = set()
        self.asked: list[str] = []

    async def rows(self, statement: object, values: Any = None) -> list[dict[str, Any]]:
        if statement is edges.ENCODERS:
            return [{"name": name, "retired": name == "old"} for name in sorted(self.edges)]
        (encoder,) = values
        self.asked.append(encoder)
        if encoder in self.slow:
            raise TOO_SLOW
        return [{"edge": self.edges[encoder]}]


def found(known: KnownEdges, source: Source) -> dict[str, float | None]:
    return dict(asyncio.run(known.found(Viewer(cast(Any, source), everything=True))))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(edges.time, "monotonic", lambda: now[0])
    return now


def test_an_encoder_that_takes_too_long_is_unknown_and_the_others_are_not(clock: list[float]) -> None:
    source, known = Source(), KnownEdges()
    source.slow.add("large")
    assert found(known, source) == {"new": 0.6, "old": 0.5}
    assert found(known, source) == {"new": 0.6, "old": 0.5}
    assert source.asked == ["large", "new", "old"], "each page does not look anew"
    source.slow.clear()
    clock[0] += edges.SECONDS + 1
    assert found(known, source) == {"large": 0.4, "new": 0.6, "old": 0.5}


def test_what_was_known_holds_and_what_is_retired_is_looked_at_once_a_day(clock: list[float]) -> None:
    source, known = Source(), KnownEdges()
    before = found(known, source)
    source.slow |= {"large", "new", "old"}
    source.asked.clear()
    clock[0] += edges.SECONDS + 1
    assert found(known, source) == before
    assert source.asked == ["large", "new"]
    clock[0] += edges.SECONDS_OF_RETIRED
    assert found(known, source) == before
    assert source.asked == ["large", "new", "large", "new", "old"]
