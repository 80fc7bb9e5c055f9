"""Where the domain of each encoder ends. Finding it reads a sample of the library, so it is kept for a while."""

import asyncio
import time
from typing import LiteralString

from loradex.service.explorer.entrance import Viewer
from loradex.service.explorer.filters import Edges

SECONDS = 600.0
FOR_WHO_SEES_EVERYTHING: LiteralString = """
    select name as encoder, loradex.in_domain_similarity(name) as edge
    from loradex.encoders order by name"""
# Those that are retired too: what they answered stays, and is shown.
FOR_OWNERS: LiteralString = """
    select e.name as encoder, d.similarity as edge
    from loradex.encoders e cross join lateral loradex.domain_edge(e.name) d
    order by e.name"""


class KnownEdges:
    """The edges as they were found last: an encoder may be too new to be among them. One task looks at a time."""

    def __init__(self) -> None:
        self._until = 0.0
        self._edges: Edges = {}
        self._finding = asyncio.Lock()

    async def found(self, viewer: Viewer) -> Edges:
        """Encoder → edge."""
        async with self._finding:
            if self._until < time.monotonic():
                statement = FOR_WHO_SEES_EVERYTHING if viewer.everything else FOR_OWNERS
                rows = await viewer.source.rows(statement)
                self._edges = {row["encoder"]: row["edge"] for row in rows}
                self._until = time.monotonic() + SECONDS
            return self._edges
