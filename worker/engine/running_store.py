"""Keys and values of rows that come and go, all of which end at one column."""

from collections.abc import Sequence

from loradex.worker.engine.cache import GROWTH, Store, StoreView

SPARE_ROWS = 4


class RunningStore:
    """Buffers whose rows are at places 0, 1, ...; when one leaves, the last takes its place.

    Rows are padded on the left, so a row that joins has its last token where the others have theirs.

    Args:
        layers: Layers of the model.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._store = Store(layers, 0, 0)
        self._end = 0
        self.lengths: list[int] = []

    def view(self) -> StoreView:
        """The rows as a cache to which one token each is added; then `grew` is to be called."""
        if self._end + 1 > self._store.columns:
            self._make_room(len(self.lengths), 0)
        longest = max(self.lengths)
        return StoreView(self._store, slice(0, len(self.lengths)), self._end - longest, longest)

    def grew(self) -> None:
        """Each row has one token more."""
        self._end += 1
        self.lengths = [length + 1 for length in self.lengths]

    def take(self, source: Store, columns: int, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Adds some rows of another store, whose prompts end before its column `columns`, with what pads them."""
        first, needed = len(self.lengths), len(self.lengths) + len(rows)
        if needed > self._store.rows or columns > self._end or self._end + 1 > self._store.columns:
            self._make_room(needed, columns)
        start = self._end - columns
        picked = slice(0, len(rows)) if list(rows) == list(range(len(rows))) else list(rows)
        for mine, theirs in self._store.beside(source):
            # Who was here before may have left what is not a number.
            mine[first:needed, :, :start].zero_()
            mine[first:needed, :, start : self._end] = theirs[picked, :, :columns]
        self.lengths += lengths

    def drop(self, place: int) -> None:
        """Lets a row go; without rows there are no buffers."""
        last = len(self.lengths) - 1
        if place != last:
            length = self.lengths[last]
            for buffer in self._store.buffers():
                columns = slice(self._end - length, self._end)
                buffer[place, :, columns] = buffer[last, :, columns]
            self.lengths[place] = length
        del self.lengths[last]
        if not self.lengths:
            self._store, self._end = Store(self._layers, 0, 0), 0

    def _make_room(self, rows: int, length: int) -> None:
        """New buffers for so many rows, one of which may have that length: columns that are nobody's go."""
        longest = max(self.lengths, default=0)
        end = max(longest, length)
        held = self._store.rows
        made = Store(self._layers, rows if rows <= held else rows + SPARE_ROWS, end + GROWTH)
        made.take_over(self._store, len(self.lengths), slice(self._end - longest, self._end), end - longest)
        self._store, self._end = made, end
