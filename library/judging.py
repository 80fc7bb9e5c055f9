"""When a generated text counts as right: exact match after normalising, as SQuAD and TriviaQA define it."""

import re
import string
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (Rajpurkar et al. 2016, evaluate-v1.1).

    Of a text that is nothing else, such as the choice `A` or the answer `+`, the articles stay, and of signs alone the
    signs: there SQuAD's script has nothing left, and would take `the` for `A`.
    """
    lower = text.lower()
    words = lower.translate(_PUNCTUATION)
    forms = (_ARTICLES.sub(" ", words), words, lower)
    return next((" ".join(form.split()) for form in forms if form.strip()), "")


def exact_match(text: str, answers: Iterable[str]) -> bool:
    """Whether a text begins with the lines of one of the answers, both normalised; an empty text never does.

    Most answers have one line. A model that goes on behind it is not wrong for that.
    """
    lines = text.strip().split("\n")
    for answer in answers:
        given = normalise("\n".join(lines[: len(answer.strip().split("\n"))]))
        if given and given == normalise(answer):
            return True
    return False
