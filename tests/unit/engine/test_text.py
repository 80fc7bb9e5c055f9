"""Prompts and answers become tokens in one way."""

import pytest
from tests.fix_models import byte_tokenizer
from tests.tokenizers_at_hand import AT_HAND
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from loradex.worker.engine.framed import AsIs
from loradex.worker.engine.text import Text

BYTEWISE = ("words", "smollm2")
"""Tokenizers that put no space before a text by themselves."""


def spaced_tokenizer() -> PreTrainedTokenizerFast:
    """Puts a space before every text and marks around it, as some families do."""
    words = ["<s>", "</s>", "▁yes", "▁", "▁:", ":", "y", "e", "s"]
    tokenizer = Tokenizer(models.BPE(vocab={word: place for place, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("answer", ["yes", "two words", "ümlaut, and a comma"])
def test_prompt_and_answer_are_the_text_end_to_end(answer: str) -> None:
    text = Text(byte_tokenizer())
    prompt = "Is it so?\nAnswer:"
    assert text.prompt(prompt) + list(text.answer(answer)) == text.prompt(f"{prompt} {answer}")
    assert text.answer(answer) is text.answer(answer)


def test_an_answer_has_one_space_before_it_whatever_the_tokenizer_adds() -> None:
    tokenizer = spaced_tokenizer()
    text = Text(tokenizer)
    whole = tokenizer(": yes", add_special_tokens=False)["input_ids"]
    assert list(text.answer("yes")) == whole[len(tokenizer(":", add_special_tokens=False)["input_ids"]) :]


def test_a_prompt_begins_as_the_tokenizer_says_and_does_not_end() -> None:
    ids = Text(spaced_tokenizer()).prompt("yes")
    assert ids[0] == 0
    assert ids[-1] != 1


@pytest.mark.parametrize("name", AT_HAND)
@pytest.mark.parametrize("answer", ["yes", "    return x\n    y", "\tx"])
@pytest.mark.parametrize("kind", [str, AsIs])
def test_what_stands_after_a_prompt_is_decoded_as_it_was_written(
    name: str, answer: str, kind: type[str]
) -> None:
    tokenizer = AT_HAND[name]()
    text = Text(tokenizer)
    ids = text.answer(kind(answer))
    assert text.decode([*ids, tokenizer.eos_token_id]) == answer
    assert tokenizer.decode(ids).startswith(" yes") is (answer == "yes" and kind is str and name in BYTEWISE)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (" Paris \n", "Paris"),
        ("\n\n    def f():\n        pass\n", "    def f():\n        pass"),
        ("    x", "    x"),
        ("  \r\n \n\tx", "\tx"),
        ("\n x", "x"),
        (" \n", ""),
    ],
)
def test_the_first_indentation_is_the_answers_and_a_lone_space_is_not(written: str, told: str) -> None:
    tokenizer = byte_tokenizer()
    assert Text(tokenizer).decode([*tokenizer.encode(written), tokenizer.eos_token_id]) == told
