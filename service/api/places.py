"""How many requests are under way here, so that nobody fills a server by asking alone."""

from loradex.service.api.problem import Problem

MOST = 1_000
PROBES = frozenset({"/livez", "/readyz"})
"""Paths that take no place: whoever watches a server that is full hears that it lives."""

BUSY = Problem(
    429, "server_busy", "too many requests are under way here; ask again", headers={"retry-after": "1"}
)


class Places:
    """What all requests of a server share."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.taken = 0

    def place(self) -> "Place":
        """What one request will take; nothing yet."""
        return Place(self)


class Place:
    """The place of one request."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._taken = False

    def take(self) -> None:
        """Take it until it is given back.

        Raises:
            Problem: None is free.
        """
        if self._places.taken >= self._places.most:
            raise BUSY
        self._places.taken += 1
        self._taken = True

    def give_back(self) -> None:
        """Have none any more."""
        if self._taken:
            self._places.taken -= 1
            self._taken = False
