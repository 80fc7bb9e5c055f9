"""Pieces of a text as it is written are the text, at every moment and with every tokenizer."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fix_models import byte_tokenizer
from tests.unit.engine.rows import BARE
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from loradex.worker.engine.margin import own_text
from loradex.worker.engine.questions import Question
from loradex.worker.engine.rows import MergeReport, Row
from loradex.worker.engine.sampling import Picked
from loradex.worker.engine.text import Text
from loradex.worker.engine.token_decoder import LONG
from loradex.worker.engine.writing import Writing
from loradex.worker.engine.written_text import WrittenText

WORDS = ("yes", "no.", "\n", "  ", "naïve", "中文", "👩‍👩‍👧", "don't", " , ", "\n\nUser:", "END", "ENDING")


def fallback_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2's: a sign for a space, which is lost at the start, and bytes for what is in no word."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", "▁yes", "yes", "n", "o", ".", "▁User", ":", "E", "N", "D", "I", "G", ","]
    tokenizer = Tokenizer(
        models.BPE(
            {word: place for place, word in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def merged_tokenizer() -> PreTrainedTokenizerFast:
    """As that of SmolLM2 and GPT-2: tokens are bytes that often stand together, also across characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<end>", "<mark>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([" ".join([*WORDS, *reversed(WORDS)])] * 2, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


@cache
def text_of(name: str) -> Text:
    made = {"merged": merged_tokenizer, "bytes": byte_tokenizer, "fallback": fallback_tokenizer}
    return Text(made[name]())


def pieces(text: Text, ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], WrittenText]:
    written = WrittenText(text.raw, stop)
    said = [written.add(token) for token in ids]
    return [*said, written.rest()], written


@pytest.mark.parametrize("name", ["merged", "bytes"])
@given(data=st.data())
def test_any_tokens_are_what_decoding_all_of_them_gives(name: str, data: st.DataObject) -> None:
    text = text_of(name)
    ids = data.draw(st.lists(st.integers(0, 280 if name == "merged" else 257), max_size=4 * LONG))
    said, written = pieces(text, ids)
    assert "".join(said) == written.text == text.decode(ids)


@pytest.mark.parametrize("name", ["merged", "bytes", "fallback"])
@given(words=st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=20), special=st.integers(0, 60))
def test_any_text_is_said_in_pieces_that_are_certain(name: str, words: list[str], special: int) -> None:
    text = text_of(name)
    ids = text._plain(" ".join(words).replace("\0", ""))
    ids[special:special] = [1] * (2 * LONG)
    said, written = pieces(text, ids)
    assert "".join(said) == written.text == text.decode(ids)


@pytest.mark.parametrize("name", ["merged", "bytes", "fallback"])
@given(
    words=st.lists(st.sampled_from(WORDS), max_size=12),
    stop=st.lists(st.sampled_from([*WORDS, "N", "ND", "EN", " \n", "s n"]), min_size=1, max_size=4),
)
def test_a_stop_string_is_never_said_nor_what_comes_after(
    name: str, words: list[str], stop: list[str]
) -> None:
    text = text_of(name)
    ids = text._plain(" ".join(words))
    said, written = pieces(text, ids, tuple(stop))
    whole = text.raw(ids)
    found = [(whole.find(one) + len(one), whole.find(one)) for one in stop if one in whole]
    assert written.stopped is bool(found)
    assert "".join(said) == written.text == own_text(whole[: min(found)[1] if found else None])


def test_a_piece_is_said_as_soon_as_nothing_can_take_it_back() -> None:
    text = text_of("bytes")
    said, written = pieces(text, text._plain(" a end\nEN\nEND b"), ("\nEND",))
    assert said == ["", "a", "", " e", "n", "d", "", "", "", "\nEN", *[""] * (len(said) - 10)]
    assert (written.text, written.stopped) == ("a end\nEN", True)


def test_a_character_is_said_whole() -> None:
    text = text_of("bytes")
    said, _ = pieces(text, text._plain("é中"))
    assert [one for one in said if one] == ["é", "中"]


def test_the_work_is_linear() -> None:
    """Not one call decodes more than a few tokens, whatever is written: words, broken bytes, special tokens."""
    for name, ids in (
        ("merged", text_of("merged")._plain("one two three " * 200)),
        ("bytes", [200] * 1000),
        ("bytes", text_of("bytes")._plain("中" * 300)),
        ("fallback", [1] * 1000 + text_of("fallback")._plain(" yes 中" * 100)),
    ):
        sizes: list[int] = []
        text = text_of(name)
        written = WrittenText(lambda some, text=text, sizes=sizes: sizes.append(len(some)) or text.raw(some))
        for token in ids:
            written.add(token)
        assert max(sizes) <= LONG, name
        assert sum(sizes) < 2 * LONG * len(ids), name


def test_a_stop_string_that_is_certain_only_at_the_end_ends_the_text() -> None:
    """Half a character could have become one, and then would not have been the stop string."""
    text, report = text_of("bytes"), MergeReport(0.0, 0.0, 0.0, ())
    row = Row("?", BARE, max_new_tokens=2, stop=("\ufffd",))
    writing = Writing(Question("row", row, (5,)), report, {}, frozenset(), text.raw)
    assert writing.take(Picked(text._plain("a")[0], finite=True)) is True
    assert writing.take(Picked(text._plain("é")[0], finite=True)) is False
    assert (writing.text.text, writing.ended) == ("a", True)
