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
        prior: Share each choice has by its words alone, above 0, by which its score is judged; empty: nothing is known.
        max_new_tokens: Tokens `generate` writes at most.
        min_tokens: Tokens it writes before one that ends a text.
        stop: Texts that end the answer, which is what stands before the first of them.
        sampling_temperature: 0 takes the likeliest token; above 0 samples from softmax(logits / temperature).
        sampling_top_k: How many of the likeliest tokens are sampled from; 0: all.
        sampling_top_p: Mass of the smallest set of likeliest tokens that is sampled from, in (0, 1].
        sampling_min_p: Least probability of a token that is sampled, as a share of the likeliest token's.
        seed: Seed of this row's own random numbers.
        repetition_penalty: What logits of tokens of prompt and text are divided by, above 0; 1 changes nothing.
        presence_penalty: What is taken off the logit of a token that was written.
        frequency_penalty: What is taken off the logit of a token for each time it was written.
        logit_bias: Tokens, and what is added to the logit of each.
        logprobs: How many of the likeliest tokens are told at each place beside the one written; None: nothing is.
        json_schema: The schema by which the text must be valid JSON; None: any text.
        regex: The regular expression that must match the whole text; None: any text.
        urgent: Whether it begins before rows that are not, and has a part of the room that they have not.
    """

    prompt_text: Framed | str
    recipe: Recipe
    kind: Kind = "generate"
    choices: tuple[str, ...] = ()
    normalization: Normalization = "tokens"
    prior: tuple[float, ...] = ()
    max_new_tokens: int = 64
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    sampling_temperature: float = 0.0
    sampling_top_k: int = 0
    sampling_top_p: float = 1.0
    sampling_min_p: float = 0.0
    seed: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    json_schema: str | None = None
    regex: str | None = None
    urgent: bool = False

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
        told = {name: value for name, value in settings.items() if name in known and value is not None}
        if "stop" in told:
            told["stop"] = tuple(told["stop"])
        if "prior" in told:
            told["prior"] = tuple(told["prior"]["shares"])
        if "logit_bias" in told:
            told["logit_bias"] = tuple(sorted((int(token), add) for token, add in told["logit_bias"].items()))
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
class Logprobs:
    """Log-probabilities at one place of a text, natural log.

    Attributes:
        token: The token that was written.
        logprob: Its own.
        likeliest: The likeliest tokens with theirs, likeliest first, as many as were asked for; without those that
            the model never writes.
    """

    token: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class RowResult:
    """An answer.

    Attributes:
        text: The generated text as `Text.decode` says it, or the best choice.
        token_ids: The tokens written (those that ended the text included), or the best choice's tokens.
        choice: The best choice; None for `generate`.
        scores: Normalised log-likelihood of each choice in the order given, natural log; None for `generate`.
        prompt_tokens: Length of the prompt in tokens.
        output_tokens: Length of `token_ids`.
        finish_reason: `choice` for `choose`; for `generate` `stop` if the last token ends a text, wrote a text of
            `stop` to its end or leaves a constrained text nothing to go on with, else `length`.
        merge: What was mixed.
        timings: Milliseconds this row spent in each stage (`merge`, `prefill`, `decode` or `choices`).
        logprobs: How likely each token of `token_ids` was, if the row asks for it.
        token_texts: The text of each token that `logprobs` names, by itself.
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
    logprobs: tuple[Logprobs, ...] | None = None
    token_texts: Mapping[int, str] = field(default_factory=dict)

    @property
    def stored_text(self) -> str:
        """The text as Postgres stores it, which has no NUL; the token ids stay exact."""
        return self.text.replace("\0", "\ufffd")
