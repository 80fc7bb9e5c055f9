"""What two texts have in common, word by word."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

MOST_WORDS = 2_000
"""Of each text; the time that comparing takes grows with their product, up to half a second: leave it to a thread."""

WORD = re.compile(r"\s*\S+\s*")
Part = tuple[str, bool]
"""A piece of a text, and whether the other one has it too."""


def differences(one: str, other: str) -> tuple[Sequence[Part], Sequence[Part]]:
    """Both texts in pieces, up to `MOST_WORDS` words of each."""
    words = [WORD.findall(text)[:MOST_WORDS] for text in (one, other)]
    plain = [[word.strip() for word in text] for text in words]
    parts: tuple[list[Part], list[Part]] = ([], [])
    for kind, *bounds in SequenceMatcher(None, plain[0], plain[1], autojunk=False).get_opcodes():
        for place, (begin, end) in enumerate((bounds[:2], bounds[2:])):
            if begin < end:
                parts[place].append(("".join(words[place][begin:end]), kind == "equal"))
    return parts
