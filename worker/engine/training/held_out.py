"""How good the model is on the held-out rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from loradex.library.cards import TaskCard
from loradex.library.marks import mark
from loradex.worker.engine.training.branches import BranchScorer
from loradex.worker.engine.training.rows import TaskRow

BATCH_TOKENS = 2048


@dataclass(frozen=True)
class HeldOut:
    """One measurement.

    Attributes:
        score: By the task's metric, from 0 to 1: share of rows whose best branch is the right one; of open
            questions, the mean mark of what was written, or None where nothing was.
        loss: Mean cross-entropy of the right branch among the branches; of open questions, mean negative
            log-likelihood a token.
        rows: Rows measured.
    """

    score: float | None
    loss: float
    rows: int

    def beats(self, other: "HeldOut") -> bool:
        """Whether this is the better one: by score, or within one standard error of it, by loss."""
        mine, theirs = self.score or 0.0, other.score or 0.0
        error = math.sqrt(max(theirs * (1 - theirs), 0.0) / self.rows)
        return mine - theirs > error or (mine - theirs >= -error and self.loss < other.loss)


@torch.no_grad()
def measure(rows: Sequence[TaskRow], score: BranchScorer, *, open_ended: bool) -> HeldOut:
    """Score the rows, sorted by length, in batches of about `BATCH_TOKENS`."""
    right = 0
    loss = 0.0
    for batch in batches(sorted(rows, key=lambda row: row.branches.tokens)):
        if open_ended:
            sums = score([row.ending for row in batch])
            loss -= sum(
                float(value) / len(row.ending.answers[0]) for row, value in zip(batch, sums, strict=True)
            )
            continue
        for row, values in zip(
            batch, branch_scores(score([row.branches for row in batch]), batch), strict=True
        ):
            right += int(values.argmax()) == row.label
            loss -= float(values.log_softmax(0)[row.label])
    return HeldOut(None if open_ended else right / len(rows), loss / len(rows), len(rows))


def branch_scores(sums: Tensor, rows: Sequence[TaskRow]) -> list[Tensor]:
    """Per row the normalised log-likelihood of each of its branches."""
    parts = torch.split(sums, [len(row.branches.answers) for row in rows])
    return [part * part.new_tensor(row.shares) for part, row in zip(parts, rows, strict=True)]


def batches(rows: Sequence[TaskRow]) -> list[list[TaskRow]]:
    """Neighbours together, until a padded batch would have more than `BATCH_TOKENS`."""
    out: list[list[TaskRow]] = [[]]
    for row in rows:
        if out[-1] and (len(out[-1]) + 1) * max(row.branches.tokens, row.ending.tokens) > BATCH_TOKENS:
            out.append([])
        out[-1].append(row)
    return out


@torch.no_grad()
def written_score(model: Any, tokenizer: Any, rows: Sequence[TaskRow], card: TaskCard) -> float:
    """Mean mark, from 0 to 1, of the rows' greedy continuations: by the card's metric, of its `answer_tokens`."""
    marks = 0.0
    for batch in batches(sorted(rows, key=lambda row: row.branches.tokens)):
        longest = max(len(row.branches.prompt) for row in batch)
        tokens = torch.full((len(batch), longest), tokenizer.eos_token_id)
        mask = torch.zeros((len(batch), longest), dtype=torch.long)
        for number, row in enumerate(batch):
            prompt = row.branches.prompt
            tokens[number, longest - len(prompt) :] = torch.tensor(prompt)
            mask[number, longest - len(prompt) :] = 1
        made = model.generate(
            input_ids=tokens.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=card.answer_tokens,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )[:, longest:]
        texts = tokenizer.batch_decode(made, skip_special_tokens=True)
        marks += sum(mark(card.metric, text, row.accepted) for text, row in zip(texts, batch, strict=True))
    return marks / len(rows)
