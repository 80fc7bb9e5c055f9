"""Prompts and answers become tokens in one way."""

import pytest
from tests.fix_models import byte_tokenizer
from tests.tokenizers_at_hand import AT_HAND
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from loradex.worker.engine.framed import AsIs, Framed
from loradex.worker.engine.kept_tokens import KEPT_BYTES, KeptTokens
from loradex.worker.engine.text import MOST_CHOICE_TOKENS, Text

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


def test_a_text_begins_once_whether_the_frame_or_the_tokenizer_says_so() -> None:
    tokenizer = spaced_tokenizer()
    text = Text(tokenizer)
    once = text.prompt(Framed.of("<s>{prompt}:", "yes"))
    assert once == tokenizer("<s>yes:", add_special_tokens=False)["input_ids"]
    assert text.prompt(Framed.of("{prompt}:", "yes")).count(0) == once.count(0) == 1
    # What a user writes begins nothing.
    by_user = text.prompt(Framed.of("{prompt}:", "<s>yes"))
    assert (by_user[0], by_user.count(0)) == (0, 1)
    assert len(by_user) > len(once)
    bare = byte_tokenizer()
    bare.add_special_tokens({"bos_token": "<s>"})
    ids = Text(bare).prompt(Framed.of("<s>{prompt}:", "yes"))
    assert ids == [bare.bos_token_id, *bare("yes:", add_special_tokens=False)["input_ids"]]


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


def test_tokens_of_choices_are_kept_within_bytes_and_those_asked_for_last_stay() -> None:
    kept = KeptTokens(most_tokens=4, most_bytes=5_000)
    for place in range(100):
        kept.put(f"choice {place}", "spaced", (place,) * 4)
        kept.get("choice 0", "spaced")
        assert kept.bytes <= 5_000
    assert kept.get("choice 0", "spaced") == (0,) * 4
    assert kept.get("choice 0", "as is") is None
    assert kept.get("choice 99", "spaced") == (99,) * 4
    assert kept.get("choice 50", "spaced") is None
    kept.put("too long", "spaced", (1,) * 5)
    assert kept.get("too long", "spaced") is None
    kept.put("of many signs that no token stands for" + "\u200b" * 5_000, "spaced", (1,))
    assert kept.bytes <= 5_000
    assert kept.get("choice 0", "spaced") == (0,) * 4


def test_a_choice_that_is_refused_is_not_kept() -> None:
    text = Text(byte_tokenizer())
    for place in range(30):
        assert len(text.answer(f"{place} " + "a" * 50_000)) > MOST_CHOICE_TOKENS
    assert text._answers.bytes == 0
    few = [f"{place} " + "b" * 400 for place in range(3_000)]
    for one in few:
        text.answer(one)
    assert KEPT_BYTES - 20_000 < text._answers.bytes <= KEPT_BYTES
    assert text.answer(few[-1]) is text.answer(few[-1])
