"""What a listener was told of a text, put in order and held against the answer of record."""

from collections.abc import Iterable

from loradex.errors import StreamDiffersError
from loradex.pieces import Message, Piece
from loradex.service.client.answer import Answer

MOST_CHARACTERS = 1 << 18
"""Of one text that are followed in Redis; the rest comes from Postgres."""

BEGUN_ANEW = "the worker that told them was lost or stopped, and another began the text anew"
WRITTEN_TO = "find out who else writes to this Redis"


class Transcript:
    """What was said to the caller, and what Redis has. Messages may be lost, doubled, out of order or forged.

    What was said cannot be taken back: a text that goes on differently is not followed further.

    Attributes:
        said: The text that was given to the caller.
    """

    def __init__(self) -> None:
        self.said = ""
        self._said_by = 0
        self._attempt = 0
        self._text = ""

    def hear(self, messages: Iterable[Message]) -> str:
        """Take messages; the further text that they make certain, which may be empty."""
        for message in messages:
            if message.attempt < self._attempt:
                continue
            if message.attempt > self._attempt:
                self._attempt, self._text = message.attempt, ""
            if not isinstance(message, Piece):
                continue
            end = message.at + len(message.text)
            # Behind a hole nothing can be said; what lies before is known already.
            if message.at <= len(self._text) < end <= MOST_CHARACTERS:
                self._text = self._text[: message.at] + message.text
        if not self._text.startswith(self.said):
            return ""
        if len(self._text) > len(self.said):
            self._said_by = self._attempt
        return self._say(self._text)

    def settle(self, answer: Answer, attempt: int) -> str:
        """The text that is left to say.

        Args:
            answer: The answer of record.
            attempt: The job's attempt that wrote it. An earlier one may have written other words: a batch of another
                size rounds otherwise, and so does another device.

        Raises:
            StreamDiffersError: What was said is not the beginning of the answer's text.
        """
        if not answer.text.startswith(self.said):
            raise StreamDiffersError(
                f"the pieces that Redis had are not the text of answer {answer.answer_id}: forget them, and take "
                f"the text of that answer; {BEGUN_ANEW if self._said_by < attempt else WRITTEN_TO}"
            )
        return self._say(answer.text)

    def _say(self, text: str) -> str:
        piece = text[len(self.said) :]
        self.said = text
        return piece
