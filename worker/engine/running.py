"""The rows that write: each step gives each of them one token; rows join and leave between steps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from loradex.worker.engine.cache import Store, padding_mask
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.protocol import Ticket
from loradex.worker.engine.running_store import RunningStore
from loradex.worker.engine.running_updates import RunningUpdates
from loradex.worker.engine.sampling import pick
from loradex.worker.engine.updates import Updates, UpdateSwitch
from loradex.worker.engine.writing import Writing


class Running:
    """Rows at places 0, 1, ...; when one leaves, the last takes its place.

    Args:
        forward: The model.
        switch: Where the wrapped modules find the updates of the rows in hand.
    """

    def __init__(self, forward: Forward, switch: UpdateSwitch) -> None:
        self._forward = forward
        self._switch = switch
        self._store = RunningStore(forward.architecture.layers)
        self._updates = RunningUpdates()
        self.writings: list[Writing] = []

    def join(
        self,
        writings: Sequence[Writing],
        rows: Sequence[int],
        store: Store,
        columns: int,
        updates: Updates | None,
    ) -> None:
        """Takes rows of a prefill in, each of which has written its first token: all of them, or none if it raises.

        Args:
            writings: The rows.
            rows: Their places in `store` and `updates`.
            store: Keys and values of their prompts, which end before column `columns`.
            columns: See above.
            updates: Those the prompts were read with.
        """
        self._store.take(store, columns, rows, [len(writing.question.ids) for writing in writings])
        try:
            self._updates.put(updates, rows)
        except BaseException:
            for _ in rows:
                self._store.drop(len(self._store.lengths) - 1)
            raise
        self.writings += writings

    def step(self) -> list[Writing]:
        """One token more for each row, of which there is one at least; those that end with it leave."""
        self._switch.current = self._updates.current
        picked = pick(self._logits(), [writing.sampler for writing in self.writings])
        self._store.grew()
        ended = [
            place
            for place, (writing, one) in enumerate(zip(self.writings, picked, strict=True))
            if not writing.take(one)
        ]
        left = [self.writings[place] for place in ended]
        for place in reversed(ended):
            self._drop(place)
        return left

    def abort(self, ticket: Ticket) -> None:
        """Lets a row go, if it is here. Once this has raised, nothing here is of use but the writings."""
        for place, writing in enumerate(self.writings):
            if writing.question.ticket == ticket:
                self._drop(place)
                return

    def _logits(self) -> Tensor:
        view = self._store.view()
        lengths = torch.tensor(self._store.lengths, device=self._forward.device)
        tokens = torch.tensor([writing.tokens[-1] for writing in self.writings], device=self._forward.device)
        mask = pad(padding_mask(lengths, max(self._store.lengths)), (0, 1), value=True)
        return self._forward.step(tokens, mask, lengths, view)

    def _drop(self, place: int) -> None:
        self._store.drop(place)
        self._updates.drop(place)
        self.writings[place] = self.writings[-1]
        del self.writings[-1]
