"""When a generated text counts as right: exact match after normalising, as SQuAD and TriviaQA define it."""

import re
import string
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (Rajpurkar et al. 2016, evaluate-v1.1)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, answers: Iterable[str]) -> bool:
    """Whether the first line of the text is one of the answers, both normalised; an empty text never is."""
    given = normalise(text.strip().split("\n", 1)[0])
    return bool(given) and given in {normalise(answer) for answer in answers}
