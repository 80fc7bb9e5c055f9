"""From rows to questions: what cannot be answered is refused here, before anything is computed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loradex.errors import ConstraintRefusedError, InvalidArgumentError, PromptTooLongError
from loradex.worker.engine.architecture import Architecture
from loradex.worker.engine.bank import AdapterBank
from loradex.worker.engine.compose import check, keys_of
from loradex.worker.engine.grammars import Grammars, margin_of
from loradex.worker.engine.protocol import Ticket
from loradex.worker.engine.questions import Question
from loradex.worker.engine.rows import Row
from loradex.worker.engine.sampling import require_tokens
from loradex.worker.engine.text import MOST_CHOICE_TOKENS, Text

if TYPE_CHECKING:
    from llguidance import LLMatcher


@dataclass(frozen=True)
class Asking:
    """Makes questions of rows, for whichever engine answers them.

    Attributes:
        text: The base model's tokenizer.
        bank: Where the adapters are.
        architecture: How the base model reads.
        vocabulary: How many tokens it knows.
        dtype: Numbers it computes in.
        grammars: What texts may be held to; None: to nothing, and rows that are held to something are refused.
    """

    text: Text
    bank: AdapterBank
    architecture: Architecture
    vocabulary: int
    dtype: str
    grammars: Grammars | None = None

    def question(self, ticket: Ticket, row: Row) -> Question:
        """The row with its tokens.

        Raises:
            InvalidArgumentError: It is not a question that can be answered.
            PromptTooLongError: The model does not read as many tokens.
            ConstraintRefusedError: Its text cannot be held to what it says.
            AdapterChangedError, AdapterRefusedError, UnknownNameError: An adapter cannot be read.
        """
        ids = tuple(self.text.prompt(row.prompt_text))
        if not ids:
            raise InvalidArgumentError("the prompt is empty; write one")
        choices: tuple[tuple[int, ...], ...] = ()
        if row.kind == "choose":
            if not row.choices or not all(choice.strip() for choice in row.choices):
                raise InvalidArgumentError("choose needs at least one choice, none of them blank")
            choices = tuple(map(self._choice, row.choices))
        elif row.max_new_tokens < 1:
            raise InvalidArgumentError(f"max_new_tokens is {row.max_new_tokens}; give 1 or more")
        self._require_known(ids, *choices)
        require_tokens(row, self.vocabulary)
        question = Question(ticket, row, ids, choices, self._grammar(row))
        needed = question.most_tokens
        if needed > self.architecture.context:
            raise PromptTooLongError(
                f"prompt and answer need {needed} tokens, the model reads {self.architecture.context}; shorten them"
            )
        architecture = self.architecture
        if architecture.is_long(needed) and not architecture.is_long(len(ids)):
            raise PromptTooLongError(
                f"prompt and answer need {needed} tokens, and the model reads texts of more than "
                f"{architecture.long_from} in another way; ask for a shorter answer, so that the text stays below"
            )
        if row.recipe.components and row.recipe.dtype != self.dtype:
            raise InvalidArgumentError(
                f"the recipe is for {row.recipe.dtype} and this engine computes in {self.dtype}"
            )
        check(self.bank, row.recipe)
        if len(set(keys_of(row.recipe))) > self.bank.capacity:
            raise InvalidArgumentError(
                f"the mixture is of {len(row.recipe.components)}, the bank holds {self.bank.capacity}; "
                "raise its byte budget"
            )
        return question

    def _require_known(self, *texts: tuple[int, ...]) -> None:
        """A tokenizer may have more tokens than its model: what was added to it and never trained."""
        unknown = next((token for ids in texts for token in ids if token >= self.vocabulary), None)
        if unknown is not None:
            raise InvalidArgumentError(
                f"the tokenizer reads {self.text.token(unknown) or 'a special token'!r} as token {unknown}, and the "
                f"model has {self.vocabulary}; take it out of the question, or register a model whose files belong "
                "together"
            )

    def _choice(self, text: str) -> tuple[int, ...]:
        """Its tokens; the first that has too many is refused before the next is read."""
        ids = self.text.answer(text)
        if len(ids) > MOST_CHOICE_TOKENS:
            raise PromptTooLongError(
                f"a choice has {len(ids)} tokens; give choices of {MOST_CHOICE_TOKENS} at most"
            )
        return ids

    def _grammar(self, row: Row) -> "LLMatcher | None":
        if self.grammars is not None:
            return self.grammars.of(row)
        if margin_of(row) is not None:
            raise ConstraintRefusedError(
                "this worker's engine holds no text to a schema or a pattern; LORADEX_ENGINE=torch does"
            )
        return None
