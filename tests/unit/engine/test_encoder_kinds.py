"""An encoder is followed exactly as sentence-transformers follows it, or refused with a sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tests.tiny_encoders import PLACES, WIDTH, dense, layer_norm, save_encoder, save_static, unit

from loradex.errors import InvalidArgumentError, ModelRefusedError
from loradex.library.encoder_files import read_encoder
from loradex.worker.engine.embed import Encoder

TEXTS = ["Is the sea blue?", "A", "Two boats, and a HARBOUR: " * 9]
KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "cls": lambda: {"pooling": "cls"},
    "max": lambda: {"pooling": "max"},
    "last token of a decoder": lambda: {"pooling": "lasttoken", "family": "qwen"},
    "several joined": lambda: {"pooling": ("weightedmean", "cls", "mean_sqrt_len_tokens")},
    "dense": lambda: {"pooling": "cls", "behind": [dense(24), unit()]},
    "dense with residual": lambda: {
        "behind": [dense(24, activation_function=torch.nn.GELU(), bias=False, use_residual=True)]
    },
    "unit, then a norm": lambda: {"behind": [unit(), layer_norm()]},
    "prompts": lambda: {"prompts": {"query": "Ask: ", "document": "Told: "}},
    "prompts that are not pooled": lambda: {
        "prompts": {"query": "Ask: ", "document": "Told: "},
        "include_prompt": False,
        "pooling": ("cls", "mean"),
    },
    "few tokens": lambda: {"reading": {"max_seq_length": 20}},
    "lower case": lambda: {"reading": {"do_lower_case": True}, "pooling": "cls"},
    "distilbert": lambda: {"family": "distilbert", "pooling": "cls"},
    "roberta": lambda: {"family": "roberta"},
    "t5": lambda: {"family": "t5"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_sentence_transformers(kind: str, tmp_path: Path) -> None:
    theirs = save_encoder(tmp_path, "encoder", **KINDS[kind]())
    encoder = Encoder.load(tmp_path / "encoder")

    documents = theirs.encode_document(TEXTS, normalize_embeddings=True)
    queries = theirs.encode_query(TEXTS[:2], normalize_embeddings=True)
    assert encoder.dimensions == documents.shape[1] == read_encoder(tmp_path / "encoder").dimensions
    assert np.abs(encoder.embed(TEXTS) - documents).max() < 1e-5
    asked = encoder.embed_questions(TEXTS[:2])
    assert np.abs(np.stack([one.vector for one in asked]) - queries).max() < 1e-5
    if "prompts" in kind:
        assert np.abs(documents[:2] - queries).max() > 1e-3


def test_a_static_model_is_followed(tmp_path: Path) -> None:
    theirs = save_static(tmp_path, "static").encode(TEXTS, normalize_embeddings=True)
    assert np.abs(Encoder.load(tmp_path / "static").embed(TEXTS) - theirs).max() < 1e-5


def test_a_model2vec_model_is_followed(tmp_path: Path) -> None:
    """As model2vec writes it: no modules.json, and tokens that share rows."""
    theirs = save_static(tmp_path, "static")
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(tmp_path / "static" / "tokenizer.json", own)
    (own / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    table = load_file(tmp_path / "static" / "model.safetensors")["embedding.weight"]
    rows = torch.arange(len(table)).flip(0)
    weights = torch.full((len(table),), 0.5)
    save_file(
        {"embeddings": (table * 2).flip(0).contiguous(), "mapping": rows, "weights": weights},
        own / "model.safetensors",
    )
    expected = theirs.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(Encoder.load(own).embed(TEXTS) - expected).max() < 1e-5


def test_a_transformer_without_modules_is_pooled_by_its_mean(tmp_path: Path) -> None:
    save_encoder(tmp_path, "encoder", family="distilbert")
    plain = tmp_path / "encoder-transformer"
    theirs = SentenceTransformer(str(plain), device="cpu").encode(TEXTS, normalize_embeddings=True)
    assert np.abs(Encoder.load(plain).embed(TEXTS) - theirs).max() < 1e-5


def test_of_a_long_question_start_and_end_are_read(tmp_path: Path) -> None:
    save_encoder(tmp_path, "encoder", pooling="mean", prompts={"query": "Ask: "})
    encoder = Encoder.load(tmp_path / "encoder")
    head = "b" * 14
    one, other, cut_off = encoder.embed_questions(
        [head + "x" * 5000 + "Is it warm, or cold?", head + "y" * 400 + "Is it warm, or cold?", "z" * 4000]
    )
    room = PLACES - 2
    assert (one.tokens, one.read, other.read) == (5 + 14 + 5000 + 20, room, room)
    # Fourteen tokens of the head, then the end: what is between them differs and is not read.
    end = room - 5 - (room - 5) // 4
    assert end < 20 + 5000
    assert np.abs(one.vector - other.vector).max() > 1e-4  # the end is longer than the question
    same = encoder.embed_questions([head + "x" * 90 + "w" * end, head + "y" * 90 + "w" * end])
    assert np.array_equal(same[0].vector, same[1].vector)
    assert cut_off.tokens == 4005
    # Of an example the beginning is read, as sentence-transformers does it.
    first, second = encoder.embed(["b" * 100 + "one", "b" * 100 + "two"])
    assert np.array_equal(first, second)


def test_a_text_without_tokens_is_refused(tmp_path: Path) -> None:
    save_static(tmp_path, "static")
    with pytest.raises(InvalidArgumentError, match="nothing to read"):
        Encoder.load(tmp_path / "static").embed(["A", ""])


def edited(directory: Path, file: str, change: Callable[[Any], Any]) -> None:
    path = directory / file
    path.parent.mkdir(exist_ok=True)
    document = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(change(document)))


REFUSED: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "code of its own": (
        "modules.json",
        lambda said: [said[0] | {"type": "custom_st.Transformer"}, *said[1:]],
        "code of the model's own",
    ),
    "another first module": (
        "modules.json",
        lambda said: [said[0] | {"type": "sentence_transformers.models.CLIPModel"}, *said[1:]],
        "begins with CLIPModel",
    ),
    "a router": (
        "modules.json",
        lambda said: [said[0] | {"type": "sentence_transformers.base.modules.router.Router"}],
        "begins with Router",
    ),
    "another layer": (
        "modules.json",
        lambda said: [*said, said[1] | {"idx": 9, "type": "sentence_transformers.models.LSTM"}],
        "LSTM is not among the layers",
    ),
    "no pooling": ("modules.json", lambda said: said[:1], "one Pooling must follow"),
    "no module": ("modules.json", lambda _: [], "lists no module"),
    "not a list": ("modules.json", lambda _: {"a": 1}, "modules.json: "),
    "outside": (
        "modules.json",
        lambda said: [said[0], said[1] | {"path": "../../1_Pooling"}],
        "outside the model's directory",
    ),
    "another pooling": (
        "1_Pooling/config.json",
        lambda said: said | {"pooling_mode": "attention"},
        "1_Pooling/config.json: modes",
    ),
    "a key of tomorrow": (
        "1_Pooling/config.json",
        lambda said: said | {"pooling_heads": 4},
        "pooling_heads: this key is not known",
    ),
    "another width": (
        "1_Pooling/config.json",
        lambda said: said | {"embedding_dimension": 8},
        "takes 8 numbers and is given 32",
    ),
    "another distance": (
        "config_sentence_transformers.json",
        lambda said: said | {"similarity_fn_name": "dot"},
        "compared by dot",
    ),
    "a sparse encoder": (
        "config_sentence_transformers.json",
        lambda said: said | {"model_type": "SparseEncoder"},
        "model_type",
    ),
    "another task": (
        "sentence_bert_config.json",
        lambda said: said | {"transformer_task": "fill-mask"},
        "transformer_task",
    ),
    "images": (
        "sentence_bert_config.json",
        lambda said: said | {"modality_config": {"image": {"method": "forward"}}},
        "only texts are read",
    ),
    "a LoRA": ("adapter_config.json", lambda _: {"peft_type": "LORA"}, "is a LoRA"),
    "no width": ("config.json", lambda _: {"model_type": "bert"}, "says how long vectors are"),
    "an unknown family": (
        "config.json",
        lambda said: said | {"model_type": "tomorrow", "auto_map": {"AutoModel": "x.Y"}},
        "tomorrow|custom code|trust_remote_code",
    ),
    "nothing": ("config.json", lambda _: [], "not a JSON object"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("encoders")
    save_encoder(root, "good", behind=[dense(8)])
    return root / "good"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_followed_is_refused(kind: str, good: Path, tmp_path: Path) -> None:
    file, change, reason = REFUSED[kind]
    directory = tmp_path / "encoder"
    shutil.copytree(good, directory)
    edited(directory, file, change)
    with pytest.raises(ModelRefusedError, match=reason) as refused:
        Encoder.load(directory)
    assert "\n" not in str(refused.value)


def test_missing_and_other_factors_are_refused(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "encoder")
    factors = tmp_path / "encoder" / "2_Dense" / "model.safetensors"
    save_file({"linear.weight": torch.zeros(8, 3)}, factors)
    with pytest.raises(ModelRefusedError, match=r"2_Dense: its factors are not those"):
        Encoder.load(tmp_path / "encoder")
    factors.unlink()
    with pytest.raises(ModelRefusedError, match=r"2_Dense: its factors are missing"):
        Encoder.load(tmp_path / "encoder")
    with pytest.raises(ModelRefusedError, match="no such file"):
        Encoder.load(tmp_path / "nowhere")


def test_dot_products_of_unit_vectors_rank_as_cosines_do(tmp_path: Path) -> None:
    save_encoder(tmp_path, "encoder", behind=[unit()], similarity_fn_name="dot")
    assert Encoder.load(tmp_path / "encoder").dimensions == WIDTH
