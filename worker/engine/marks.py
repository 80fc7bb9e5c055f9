"""A tokenizer's marks: special tokens, and other added ones by which a chat template says whose turn it is.

A template's marks are tokens. The same signs in a text of a user are text, so that nobody can write somebody else's
turn.
"""

import json
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

from loradex.errors import InvalidArgumentError

UNKNOWN = "\U0010fffd"
"""A sign that no vocabulary has."""

UNREADABLE = (
    "the text holds signs that this model's tokenizer can only read as special tokens; take them out of it"
)


class Marks:
    """Reads texts in which only some parts may hold marks.

    Args:
        tokenizer: The model's own Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}
        # What any text may give: the token for signs that the vocabulary lacks, and runs of spaces.
        any_text = {tokenizer.unk_token_id} & set(self._plain(UNKNOWN))
        self._added = {
            number: text for number, text in added.items() if text.strip() and number not in any_text
        }
        special, turns = set(tokenizer.all_special_ids), _chat_template(tokenizer)
        self._always = frozenset(
            number for number, text in self._added.items() if number in special or text in turns
        )
        self._in_template = lru_cache(1_000)(self._marks_alone)
        self._guarded = lru_cache(16)(self._without)

    def read(self, parts: Sequence[str]) -> list[int]:
        """Tokens of the parts end to end, with nothing put at the start or the end.

        Every other part, from the second, is a user's. The tokens are those of the whole text, unless a mark of its
        own stands in a user's part.

        Raises:
            InvalidArgumentError: The tokenizer cannot be kept from reading a mark in a user's part.
        """
        wanted = [mark for part in parts[::2] for mark in self._in_template(part)]
        marks = self._always | set(wanted)
        text = "".join(parts)
        ids = self._plain(text)
        if [number for number in ids if number in marks] == wanted:
            return ids
        guarded, names = self._guarded(frozenset(marks))
        if guarded is not None:
            ids = list(guarded.encode(_renamed(parts, names), add_special_tokens=False).ids)
        if [number for number in ids if number in marks] != wanted:
            raise InvalidArgumentError(UNREADABLE)
        return ids

    def _marks_alone(self, part: str) -> tuple[int, ...]:
        return tuple(number for number in self._plain(part) if number in self._added) if part else ()

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _without(self, marks: frozenset[int]) -> tuple[Tokenizer | None, dict[str, str]]:
        """The tokenizer with other, unguessable names for the marks, and the names by what they were."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            return None, {}
        names = {self._added[number]: secrets.token_hex(16) for number in sorted(marks)}
        whole = json.loads(backend.to_str())
        for token in whole["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        model = whole["model"]
        vocabulary = model["vocab"]
        model["vocab"] = (
            {names.get(piece, piece): number for piece, number in vocabulary.items()}
            if isinstance(vocabulary, dict)
            else [[names.get(piece, piece), score] for piece, score in vocabulary]
        )
        if "unk_token" in model:
            model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
        guarded = Tokenizer.from_str(json.dumps(whole))
        guarded.no_truncation()
        guarded.no_padding()
        if any(guarded.token_to_id(names[self._added[number]]) != number for number in marks):
            return None, {}
        return guarded, names


def _chat_template(tokenizer: Any) -> str:
    found = getattr(tokenizer, "chat_template", None) or ""
    return found if isinstance(found, str) else "".join(map(str, found.values()))


def _renamed(parts: Sequence[str], names: dict[str, str]) -> str:
    """The whole text, in whose template the marks have their other names; of two that could stand there, the longer."""
    longest = sorted(names, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest)))
    return "".join(
        part if place % 2 else pattern.sub(lambda found: names[found[0]], part)
        for place, part in enumerate(parts)
    )
