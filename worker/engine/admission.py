"""Which of the waiting rows begin now."""

from collections import deque
from collections.abc import Callable, Collection, Sequence

from loradex.worker.engine.bank import Key
from loradex.worker.engine.compose import keys_of
from loradex.worker.engine.protocol import Ticket
from loradex.worker.engine.questions import Question
from loradex.worker.engine.room import Sizes, Tally

CHOICES_SHARE = 4
"""One part in so many of the room is kept for rows with choices."""
URGENT_SHARE = 8
"""One part in so many of the room for texts is kept for urgent ones."""


class Admission:
    """Rows in the order they came, urgent ones before others, and the room for them.

    A text that does not fit yet keeps later texts back, so that a long one is not overtaken for ever; but urgent ones
    overtake, and other texts leave a part of the room to them. Choices have a part of the room to themselves: they
    never wait for texts to end. A row that needs more than there is begins when nothing else of its kind is in hand.
    Rows that begin together name no more adapters than the bank holds at once, whatever their kinds.

    A row that is to be computed alone is so in passes of its own, one of each kind at a time, and keeps nobody waiting.
    One for which memory did not suffice begins when nothing is in hand, and while it is, nothing else begins.

    Args:
        room: Bytes for all rows in hand.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._waiting: deque[Question] = deque()
        self._most_rows: dict[bool, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waits(self) -> tuple[Ticket, ...]:
        """Who waits."""
        return tuple(one.ticket for one in self._waiting)

    def add(self, question: Question) -> None:
        self._waiting.append(question)

    def put_back(self, questions: Sequence[Question]) -> None:
        """They go on before all others."""
        self._waiting.extendleft(reversed(questions))

    def abort(self, ticket: Ticket) -> None:
        self._waiting = deque(one for one in self._waiting if one.ticket != ticket)

    def out_of_memory(self, kind: bool, rows: int) -> None:
        """So many rows of a kind (whether they have choices) were too many: half of them is the most from now on.

        It is less each time, so that it comes to an end whatever else is in hand.
        """
        before = self._most_rows.get(kind)
        half = rows // 2 if before is None else min(rows // 2, before - 1)
        self._most_rows[kind] = max(1, half)

    def take(
        self, in_hand: Sequence[Question], sizes: Sizes, holds: Callable[[Collection[Key]], bool]
    ) -> list[list[Question]]:
        """The rows that begin now: some that may share passes, and each by itself that may not.

        Args:
            in_hand: Rows that are computed.
            sizes: What one of each takes.
            holds: Whether the bank holds these entries at once.
        """
        if not self._waiting or any(one.only for one in in_hand):
            return []
        only = next((one for one in self._waiting if one.only), None)
        if only is not None and not in_hand:
            self.abort(only.ticket)
            return [[only]]
        tallies = {
            kind: Tally.of(sizes, (one for one in in_hand if bool(one.choices) is kind))
            for kind in (False, True)
        }
        room = {True: self.room // CHOICES_SHARE, False: self.room - self.room // CHOICES_SHARE}
        taken: list[Question] = []
        apart: list[Question] = []
        named: set[Key] = set()
        full = {True: False, False: False}
        if only is not None:
            # The other kind goes on as long as it has to wait for its own.
            kind = bool(only.choices)
            full = {kind: True, not kind: not tallies[kind].rows}
        alone = {bool(one.choices) for one in in_hand if one.alone}
        for question in sorted(self._waiting, key=lambda one: not one.row.urgent):
            kind = bool(question.choices)
            if full[kind] or (question.alone and kind in alone):
                continue
            tally, keys = tallies[kind], keys_of(question.row.recipe)
            kept = 0 if kind or question.row.urgent else room[kind] // URGENT_SHARE
            crowded = tally.rows and (
                (kind in self._most_rows and tally.rows >= self._most_rows[kind])
                or tally.bytes_with(question) > room[kind] - kept
            )
            if crowded or (taken and not question.alone and not holds(named.union(keys))):
                full[kind] = True
                continue
            tally.add(question)
            if question.alone:
                alone.add(kind)
                apart.append(question)
            else:
                named.update(keys)
                taken.append(question)
        begun = {question.ticket for question in (*taken, *apart)}
        self._waiting = deque(one for one in self._waiting if one.ticket not in begun)
        return [some for some in (taken, *([one] for one in apart)) if some]
