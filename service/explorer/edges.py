"""Where the domain of each encoder ends. Finding it reads a sample of the library, so it is kept for a while."""

import asyncio
import time
from contextlib import suppress
from typing import LiteralString

from loradex.service.api.problem import Problem
from loradex.service.explorer.entrance import Viewer
from loradex.service.explorer.filters import Edges

SECONDS = 600.0
SECONDS_OF_RETIRED = 86_400.0
"""Nothing is added to an encoder that is retired, but what it answered stays, and is shown."""

ENCODERS: LiteralString = "select name, retired_at is not null as retired from loradex.encoders order by name"
FOR_WHO_SEES_EVERYTHING: LiteralString = "select loradex.in_domain_similarity(%s) as edge"
FOR_OWNERS: LiteralString = "select similarity as edge from loradex.domain_edge(%s)"


class KnownEdges:
    """The edges as they were found last. One task looks at a time.

    An encoder may be too new to be among them, or its library too large for one look: then it is looked at again after
    a while, and until then what was known of it holds.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._listed_until = 0.0
        self._edges: dict[str, float | None] = {}
        self._finding = asyncio.Lock()

    async def found(self, viewer: Viewer) -> Edges:
        """Encoder → edge."""
        async with self._finding:
            now = time.monotonic()
            if self._listed_until < now:
                for row in await viewer.source.rows(ENCODERS):
                    if self._until.get(row["name"], 0.0) < now:
                        await self._find(viewer, row["name"])
                        kept = SECONDS_OF_RETIRED if row["retired"] else SECONDS
                        self._until[row["name"]] = now + kept
                self._listed_until = now + SECONDS
            return self._edges

    async def _find(self, viewer: Viewer, encoder: str) -> None:
        statement = FOR_WHO_SEES_EVERYTHING if viewer.everything else FOR_OWNERS
        with suppress(Problem):
            for row in await viewer.source.rows(statement, (encoder,)):
                self._edges[encoder] = row["edge"]
