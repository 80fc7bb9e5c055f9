"""Prompts and answers become tokens in one way."""

import pytest
from tests.fix_models import byte_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from loradex.worker.engine.text import Text


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


def test_decoding_drops_special_tokens_and_outer_space() -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer("  a fox \n")["input_ids"]
    assert Text(tokenizer).decode([*ids, tokenizer.eos_token_id]) == "a fox"
