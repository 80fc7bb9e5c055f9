"""How many bytes of bodies a server holds at once, so that no number of requests fills its memory."""

from loradex.service.api.problem import Problem

MOST_BYTES = 128 << 20
"""Of all requests that are under way, until each is answered."""

FREE_BYTES = 64 << 10
"""Of each body, which count for nothing: questions pass, however many documents others send."""

FULL = Problem(
    429,
    "server_busy",
    "the requests that are under way here hold as much as fits; ask again, or send less at a time",
    headers={"retry-after": "1"},
)


class Room:
    """What all requests of a server share."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._left = most

    def share(self) -> "Share":
        """What one request will hold; nothing yet."""
        return Share(self)

    def take(self, size: int) -> None:
        """Take bytes, or give them back where there are less than none."""
        if size > self._left:
            raise FULL
        self._left -= size


class Share:
    """The bytes of one request."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0
        self._taken = 0

    def hold(self, size: int) -> None:
        """Hold so many bytes altogether.

        Raises:
            Problem: There is no room for them now.
        """
        wanted = max(0, size - FREE_BYTES)
        self._room.take(wanted - self._taken)
        self._size, self._taken = size, wanted

    def hold_more(self, size: int) -> None:
        """Hold so many bytes beside those that are held; raises as `hold` does."""
        self.hold(self._size + size)

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._room.take(-self._taken)
        self._size = self._taken = 0
