"""An answer with the provenance that a program needs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal
from uuid import UUID

from loradex.errors import JobFailedError

NEIGHBOUR = ("rank", "example_id", "source_ref", "task", "similarity")
LONGEST_TEXT = 60
LONGEST_MIXTURE = 3
"""Of a text, and of its adapters, in a `repr`."""


@dataclass(frozen=True, repr=False)
class Answer:
    """What a job was answered, and from what.

    Attributes:
        answer_id: Its id, for `explain`, `replay` and SQL.
        job_id: The job it answers.
        text: The generated text, or the choice that won.
        choice: The choice that won; None where text was generated.
        choices: The choices in the order given, or None.
        scores: Normalised log-likelihood of each choice, natural log, or None.
        logprobs: Where the job asks for them, of each token `id`, `token` (its text), `logprob` (natural log) and
            `top`, the likeliest tokens in the same form; else None.
        finish_reason: `choice`; for a text `stop` where it came to its end or to a stop string, `length` where it was
            cut off after as many tokens as the job allows.
        prompt_tokens: Tokens that were read.
        output_tokens: Tokens that were written, or those of the choice.
        method: How the adapters were mixed.
        mixture: The adapters, heaviest first: rank, adapter_id, adapter, version, task, sha256, uri,
            weight, update_norm.
        neighbours: The nearest examples: rank, example_id, source_ref, task, similarity (cosine). `explain`
            has their prompt and target too, where the library holds them.
        distribution: Every task the neighbours voted for: rank, task, neighbours, best_similarity,
            probability, weight, in_nucleus.
        timings: Milliseconds of every stage.
        chain_hash: Its link in the audit chain, hex.
    """

    answer_id: UUID
    job_id: UUID
    text: str
    choice: str | None
    choices: tuple[str, ...] | None
    scores: tuple[float, ...] | None
    logprobs: tuple[Mapping[str, Any], ...] | None
    finish_reason: Literal["choice", "length", "stop"]
    prompt_tokens: int
    output_tokens: int
    method: str
    mixture: tuple[Mapping[str, Any], ...]
    neighbours: tuple[Mapping[str, Any], ...]
    distribution: tuple[Mapping[str, Any], ...]
    timings: Mapping[str, float]
    chain_hash: str

    @classmethod
    def of(cls, explained: Mapping[str, Any]) -> "Answer":
        """The answer in a document of `loradex.explain`.

        Raises:
            JobFailedError: Its texts were erased; the code is `erased`, as for whoever waits for it.
        """
        if explained.get("erased"):
            identity = explained["answer_id"]
            raise JobFailedError(
                "erased", f"answer {identity} was erased; `loradex explain {identity}` shows what is left"
            )
        generation, chain = explained["generation"], explained["chain"]
        choices, scores = generation.get("choices"), explained["scores"]
        return cls(
            answer_id=UUID(explained["answer_id"]),
            job_id=UUID(explained["job_id"]),
            text=explained["text"],
            choice=explained["choice"],
            choices=None if choices is None else tuple(choices),
            scores=None if scores is None else tuple(scores),
            logprobs=None if explained["logprobs"] is None else tuple(explained["logprobs"]),
            finish_reason=explained["finish_reason"],
            prompt_tokens=explained["prompt_tokens"],
            output_tokens=explained["output_tokens"],
            method=explained["method"],
            mixture=tuple(explained["mixture"]),
            neighbours=tuple({key: one[key] for key in NEIGHBOUR} for one in explained["neighbours"]),
            distribution=tuple(explained["distribution"]),
            timings=explained["timings"],
            chain_hash=chain["chain_hash"],
        )

    def __hash__(self) -> int:
        return hash((self.answer_id, self.chain_hash))

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= LONGEST_TEXT else f"{self.text[:LONGEST_TEXT]}..."
        parts = [f"{part['weight']:.2f} {part['adapter']}" for part in self.mixture[:LONGEST_MIXTURE]]
        more = ["..."] if len(self.mixture) > LONGEST_MIXTURE else []
        return f"Answer({text!r}, from {' + '.join(parts + more) or 'the base model'}, id {self.answer_id})"

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON can carry it."""
        return {**asdict(self), "answer_id": str(self.answer_id), "job_id": str(self.job_id)}
