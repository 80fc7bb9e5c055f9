"""Which token comes next in each row, in the way that the row asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from loradex.errors import InvalidArgumentError
from loradex.worker.engine.constrained import Constrained
from loradex.worker.engine.draw import draw
from loradex.worker.engine.edits import Edits, edited
from loradex.worker.engine.logprobs import logprobs_of
from loradex.worker.engine.rows import Logprobs, Row


class Sampler:
    """How one row's tokens are picked, and what was written so far.

    Args:
        temperature: 0 takes the likeliest token.
        top_k: How many of the likeliest tokens are drawn from; 0: all.
        top_p: Mass of the smallest set of likeliest tokens that is drawn from, in (0, 1].
        min_p: Least probability of a token that is drawn, as a share of the likeliest token's.
        seed: Seed of this row alone, so its batch mates never change what it draws.
        edits: What is changed in its logits before; None: nothing.
        logprobs: How many of the likeliest tokens are told beside the one that is picked; None: not even that one's.
    """

    def __init__(
        self,
        temperature: float = 0.0,
        *,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int = 0,
        edits: Edits | None = None,
        logprobs: int | None = None,
    ) -> None:
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.min_p = min_p
        self.edits = edits
        self.logprobs = logprobs
        self._generator = torch.Generator().manual_seed(seed) if temperature > 0 else None

    @classmethod
    def of(
        cls,
        row: Row,
        prompt: Sequence[int],
        ends: frozenset[int],
        constrained: Constrained | None = None,
    ) -> "Sampler":
        """The sampler of a row with this prompt, in tokens; `ends` are the tokens that end a text.

        `constrained` is what its text is held to, if to anything.
        """
        return cls(
            row.sampling_temperature,
            top_k=row.sampling_top_k,
            top_p=row.sampling_top_p,
            min_p=row.sampling_min_p,
            seed=row.seed,
            edits=Edits.of(row, prompt, ends, constrained),
            logprobs=row.logprobs,
        )

    @property
    def greedy(self) -> bool:
        return self._generator is None

    def take(self, token: int) -> None:
        """Remembers a token that was written; to be told of each before the next is picked."""
        if self.edits is not None:
            self.edits.take(token)

    def uniform(self) -> float:
        """The next random number of the row, in [0, 1)."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))


@dataclass(frozen=True, slots=True)
class Picked:
    """The next token of a row.

    Attributes:
        token: It; any, where `finite` is False.
        finite: False where the greatest logit of the row is NaN or infinite: nothing can be picked.
        logprobs: What it was likely to be, if the row asks.
    """

    token: int
    finite: bool
    logprobs: Logprobs | None = None


def pick(logits: Tensor, samplers: Sequence[Sampler]) -> list[Picked]:
    """The next token of each row of logits `[rows, vocabulary]`, one sampler a row, greedy and sampled ones together.

    It is computed on the logits' device, for all rows at once; what a row is given does not depend on the others. A
    row that is drawn uses one random number of its own, unless it is not finite.
    """
    picked = [0] * len(samplers)
    if any(one.greedy and one.edits is None for one in samplers):
        likeliest, tokens = logits.max(-1)
        picked = tokens.tolist()
    else:
        likeliest = logits.amax(-1)
    finite = torch.isfinite(likeliest).tolist()
    good = [place for place, fine in enumerate(finite) if fine]
    scores = logits
    changed = {place: edits for place in good if (edits := samplers[place].edits) is not None}
    if changed:
        made = edited(_rows(logits, list(changed)), list(changed.values()))
        for place, token in zip(changed, made.argmax(-1).tolist(), strict=True):
            picked[place] = token
        scores = logits.to(torch.float32).index_copy(
            0, torch.tensor(list(changed), device=logits.device), made
        )
    sampled = [place for place in good if not samplers[place].greedy]
    if sampled:
        drawn = draw(_rows(scores, sampled), [samplers[place] for place in sampled])
        for place, token in zip(sampled, drawn, strict=True):
            picked[place] = token
    told: dict[int, Logprobs] = {}
    asking = {place: count for place in good if (count := samplers[place].logprobs) is not None}
    if asking:
        found = logprobs_of(
            _rows(logits, list(asking)), [picked[place] for place in asking], list(asking.values())
        )
        told = dict(zip(asking, found, strict=True))
    return [
        Picked(token, fine, told.get(place))
        for place, (token, fine) in enumerate(zip(picked, finite, strict=True))
    ]


def require_tokens(row: Row, vocabulary: int) -> None:
    """`InvalidArgumentError` if the row biases a token that the model does not have."""
    for token, _ in row.logit_bias:
        if not 0 <= token < vocabulary:
            raise InvalidArgumentError(
                f"logit_bias names token {token}; the model has tokens 0 to {vocabulary - 1}"
            )


def _rows(logits: Tensor, places: Sequence[int]) -> Tensor:
    return logits if len(places) == len(logits) else logits[list(places)]
