"""What a row asks to be changed in its logits before a token is chosen: biases, penalties, early ends, constraints."""

from collections.abc import Sequence

import torch
from torch import Tensor

from loradex.worker.engine.constrained import Constrained, hold
from loradex.worker.engine.rows import Row

ROOM = 64
"""Further tokens there is room for at first; it doubles."""


class Edits:
    """The edits of one row, and the tokens they depend on.

    Args:
        row: What was asked.
        prompt: Tokens of its prompt.
        ends: Tokens that end a text.
        constrained: What its text is held to, if to anything.
    """

    def __init__(
        self,
        row: Row,
        prompt: Sequence[int],
        ends: frozenset[int],
        constrained: Constrained | None = None,
    ) -> None:
        self.constrained = constrained
        self.bias = dict(row.logit_bias)
        self.penalties = (row.repetition_penalty, row.presence_penalty, row.frequency_penalty)
        self._ends = tuple(sorted(ends))
        self._too_early = row.min_tokens
        self._penalised = self.penalties != (1.0, 0.0, 0.0)
        # Repetition looks at the prompt too; the other two count only what was written.
        known = list(dict.fromkeys(prompt)) if row.repetition_penalty != 1 else []
        self._places = {token: place for place, token in enumerate(known)}
        self._tokens = torch.tensor(known + [0] * ROOM)
        self._counts = torch.zeros(len(self._tokens))

    @classmethod
    def of(
        cls,
        row: Row,
        prompt: Sequence[int],
        ends: frozenset[int],
        constrained: Constrained | None = None,
    ) -> "Edits | None":
        """The edits that the row asks for; None where it asks for none."""
        made = cls(row, prompt, ends, constrained)
        asked = made.bias or made._penalised or made._too_early > 0 or constrained is not None
        return made if asked else None

    def take(self, token: int) -> None:
        """Remembers a token that was written."""
        self._too_early -= 1
        if self.constrained is not None:
            self.constrained.take(token)
        if self._penalised:
            place = self._place(token)
            self._counts[place] += 1

    @property
    def forbidden(self) -> tuple[int, ...]:
        """Tokens that may not come next."""
        return self._ends if self._too_early > 0 else ()

    @property
    def seen(self) -> tuple[Tensor, Tensor]:
        """Different tokens that are penalised `[tokens]`, and how often each was written."""
        return self._tokens[: len(self._places)], self._counts[: len(self._places)]

    def _place(self, token: int) -> int:
        if token not in self._places:
            place = self._places[token] = len(self._places)
            if place == len(self._tokens):
                self._tokens = torch.cat([self._tokens, torch.zeros_like(self._tokens)])
                self._counts = torch.cat([self._counts, torch.zeros_like(self._counts)])
            self._tokens[place] = token
        return self._places[token]


def edited(logits: Tensor, rows: Sequence[Edits]) -> Tensor:
    """A copy of logits `[rows, vocabulary]` in float32 with each row's edits, in the order of transformers' processors.

    First the bias is added (`SequenceBiasLogitsProcessor` for single tokens). Then the logits of tokens that stand in
    the prompt or were written are divided by the repetition penalty where they are positive and multiplied by it where
    not (`RepetitionPenaltyLogitsProcessor`; Keskar et al. 2019, arXiv 1909.05858). Then OpenAI's penalties are taken
    off: the frequency penalty times how often the token was written, and the presence penalty if it was. Then the
    ends are forbidden while the text is too short (`MinNewTokensLengthLogitsProcessor`). At last what a constraint does
    not allow is forbidden.
    """
    made = logits.to(torch.float32, copy=True)
    device = logits.device
    bias = [(place, *pair) for place, one in enumerate(rows) for pair in one.bias.items()]
    if bias:
        places, tokens, values = (torch.tensor(part, device=device) for part in zip(*bias, strict=True))
        made[places, tokens] += values.to(torch.float32)
    seen = [one.seen for one in rows]
    if any(len(tokens) for tokens, _ in seen):
        lengths = torch.tensor([len(tokens) for tokens, _ in seen])
        places = torch.arange(len(rows)).repeat_interleave(lengths).to(device)
        tokens = torch.cat([tokens for tokens, _ in seen]).to(device)
        counts = torch.cat([counts for _, counts in seen]).to(device)
        penalties = torch.tensor([one.penalties for one in rows], device=device)[places]
        repetition, presence, frequency = penalties.unbind(-1)
        values = made[places, tokens]
        values = torch.where(values < 0, values * repetition, values / repetition)
        made[places, tokens] = values - frequency * counts - presence * (counts > 0)
    forbidden = [
        (place, token) for place, one in enumerate(rows) for token in one.forbidden if token < logits.shape[1]
    ]
    if forbidden:
        places, tokens = torch.tensor(forbidden, device=device).unbind(-1)
        made[places, tokens] = -torch.inf
    held = {place: one.constrained for place, one in enumerate(rows) if one.constrained is not None}
    if held:
        hold(made, held)
    return made
