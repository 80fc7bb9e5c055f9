"""One question of a batch, and its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from loradex.worker.engine.framed import Framed
from loradex.worker.engine.recipe import Recipe

Kind = Literal["generate", "choose"]
FinishReason = Literal["choice", "length", "stop"]
Normalization = Literal["none", "tokens", "bytes"]


@dataclass(frozen=True)
class Row:
    """One question.

    Attributes:
        prompt_text: What the model reads; of a plain text special tokens are read as such.
        recipe: The mixture that answers it.
        kind: `generate` writes text, `choose` ranks `choices` by log-likelihood.
        choices: At least one for `choose`; each is read after the prompt and, where that says so, one space.
        normalization: What a choice's log-likelihood is divided by: nothing, its tokens, or its UTF-8 bytes.
        max_new_tokens: Tokens `generate` writes at most.
        sampling_temperature: 0 takes the likeliest token; above 0 samples from softmax(logits / temperature).
        sampling_top_p: Mass of the smallest set of likeliest tokens that is sampled from, in (0, 1].
        seed: Seed of this row's own random numbers.
    """

    prompt_text: Framed | str
    recipe: Recipe
    kind: Kind = "generate"
    choices: tuple[str, ...] = ()
    normalization: Normalization = "tokens"
    max_new_tokens: int = 64
    sampling_temperature: float = 0.0
    sampling_top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.prompt_text, Framed):
            object.__setattr__(self, "choices", tuple(map(self.prompt_text.choice, self.choices)))

    @classmethod
    def of(
        cls,
        prompt_text: Framed | str,
        recipe: Recipe,
        *,
        kind: Kind,
        choices: Sequence[str] | None,
        settings: Mapping[str, Any],
        seed: int,
    ) -> "Row":
        """The row of a job's settings, of which those with a field here count; `seed` if they have none."""
        known = {one.name for one in fields(cls)}
        told = {name: value for name, value in settings.items() if name in known}
        return cls(prompt_text, recipe, kind=kind, choices=tuple(choices or ()), **{"seed": seed, **told})


@dataclass(frozen=True)
class MergeReport:
    """What the mixture turned out to be.

    Attributes:
        update_norm: Frobenius norm of the merged update over all modules.
        sign_conflict: Share of entries on which two components disagree in sign, averaged over pairs of
            components weighted by |w_i w_j|; 0 for fewer than two components.
        milliseconds: This row's share of the time its batch spent merging.
        component_norms: Frobenius norm of each component's own update (before its weight), in the recipe's
            order.
    """

    update_norm: float
    sign_conflict: float
    milliseconds: float
    component_norms: tuple[float, ...]


@dataclass(frozen=True)
class RowResult:
    """An answer.

    Attributes:
        text: The generated text as `Text.decode` says it, or the best choice.
        token_ids: The tokens written (the end-of-text token included), or the best choice's tokens.
        choice: The best choice; None for `generate`.
        scores: Normalised log-likelihood of each choice in the order given, natural log; None for `generate`.
        prompt_tokens: Length of the prompt in tokens.
        output_tokens: Length of `token_ids`.
        finish_reason: `choice` for `choose`; for `generate` `stop` if the last token ends a text, else `length`.
        merge: What was mixed.
        timings: Milliseconds this row spent in each stage (`merge`, `prefill`, `decode` or `choices`).
    """

    text: str
    token_ids: tuple[int, ...]
    choice: str | None
    scores: tuple[float, ...] | None
    prompt_tokens: int
    output_tokens: int
    finish_reason: FinishReason
    merge: MergeReport
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def stored_text(self) -> str:
        """The text as Postgres stores it, which has no NUL; the token ids stay exact."""
        return self.text.replace("\0", "\ufffd")
