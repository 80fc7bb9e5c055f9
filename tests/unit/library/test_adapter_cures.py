"""Every sentence that refuses an adapter says what would make it acceptable."""

import ast
import re
from collections.abc import Iterator

from tests.repository import ROOT

from loradex.library.adapter_extras import EXTRAS
from loradex.library.adapter_keys import KEYS
from loradex.library.adapter_refused import REFUSED

PLACES = (
    "library/adapter_*.py",
    "library/module_patterns.py",
    "library/safetensors_file.py",
    "service/cli/adapter_*.py",
    "worker/engine/bank.py",
    "worker/engine/base_modules.py",
    "worker/engine/factors.py",
    "worker/engine/kinds.py",
)
REFUSALS = {"AdapterRefusedError", "SafetensorsError"}
VERB = re.compile(
    r"\b(?:add|copy|fetch|make|name|put|raise|register|save|say|set|start|take|train|use|write)\b"
    r"|pip install|_?[A-Z]+_AGAIN|=torch does"
)
# The cures of these are data, which is looked at below.
DATA = ("peft_type is", "cannot be composed exactly", "EXTRAS")


def is_cured(words: str) -> bool:
    """Whether what stands behind the last semicolon, if there is one, says what to do."""
    return VERB.search(words.rpartition(";")[2]) is not None


def sentences() -> Iterator[tuple[str, str]]:
    """Where an adapter is refused, and the words that stand there; what only hands another error on has none."""
    for pattern in PLACES:
        for path in sorted(ROOT.glob(pattern)):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Name(id=name), args=[message, *_]) if name in REFUSALS:
                        words = " ".join(filter(None, map(_said, ast.walk(message))))
                        if re.search(r"[a-z]{3}", words):
                            yield f"{path.name}:{node.lineno}", words


def _said(part: ast.AST) -> str | None:
    """What a part of a message says by itself: its text, or the name of a constant that has it."""
    match part:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name.isupper():
            return name
        case _:
            return None


def test_a_refusal_names_its_cure() -> None:
    found = dict(sentences())
    assert len(found) > 50
    assert {
        place: words
        for place, words in found.items()
        if not is_cured(words) and not any(one in words for one in DATA)
    } == {}


def test_so_do_those_that_tables_make() -> None:
    told = [*REFUSED.values(), *(extra.without for extra in EXTRAS.values())]
    told += [held.cure for keys in KEYS.values() for held in keys.exact.values()]
    assert [one for one in told if not is_cured(one)] == []
