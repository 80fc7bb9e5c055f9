"""A bfloat16 model's choices are told apart by less than bfloat16 can say."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.fix_models import Zoo, byte_tokenizer, save_adapter, tiny_model

from loradex.worker.engine.embed import Encoder
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.float32 import Float32
from loradex.worker.engine.head import logits_in_float32
from loradex.worker.engine.recipe import Component, Recipe
from loradex.worker.engine.rows import Row, RowResult

BARE = Recipe("cat", 1.0, "bfloat16", ())


def test_logits_are_the_heads_in_float32() -> None:
    model = tiny_model("llama", torch.bfloat16)
    ids = torch.tensor([byte_tokenizer()("Which way?\nAnswer:").input_ids])
    with torch.no_grad():
        states = model.get_decoder()(input_ids=ids).last_hidden_state[0, -1].float()
        expected = (model.lm_head.weight.float() @ states).log_softmax(0)
    choices = ("a", "b", "c", "d", "e")
    row = Row("Which way?\nAnswer:", BARE, kind="choose", choices=choices, normalization="none")
    (result,) = Engine(model, byte_tokenizer(), bank_bytes=1 << 20).answer([row])
    assert isinstance(result, RowResult)
    assert result.scores is not None
    # The first token of every choice is the space; the letter after it tells them apart.
    space = byte_tokenizer()(" ").input_ids[0]
    with torch.no_grad():
        both = torch.cat([ids, torch.tensor([[space]])], dim=1)
        states = model.get_decoder()(input_ids=both).last_hidden_state[0, -1].float()
        letters = (model.get_output_embeddings().weight.float() @ states).log_softmax(0)
    wanted = [float(expected[space] + letters[byte_tokenizer()(choice).input_ids[0]]) for choice in choices]
    torch.testing.assert_close(torch.tensor(result.scores), torch.tensor(wanted), atol=0.05, rtol=0)
    assert len(set(result.scores)) == len(choices)
    assert any(float(torch.tensor(score).bfloat16()) != score for score in result.scores)


def test_a_float32_model_keeps_its_own_head() -> None:
    model = tiny_model("llama")
    before = model.lm_head.forward
    Engine(model, byte_tokenizer(), bank_bytes=1 << 20)
    assert model.get_output_embeddings() is not None
    assert before.__func__ is torch.nn.Linear.forward
    assert "forward" not in vars(model.lm_head)


@pytest.mark.parametrize("merge", ["cat", "linear"])
def test_an_adapter_of_the_head_adds_to_logits_in_float32(
    merge: str, zoos: Callable[[str], Zoo], tmp_path: Path
) -> None:
    zoo = zoos("qwen")
    head = save_adapter(zoo.model, tmp_path / "head", 9, r=4, lora_alpha=8, target_modules=["lm_head"])
    told = {}
    for dtype in (torch.float32, torch.bfloat16):
        engine = zoo.engine(dtype=dtype)
        engine.bank.ensure({head.sha256: head.directory})
        recipe = Recipe(merge, 1.0, engine.dtype, (Component(head.sha256, 0.5),))
        row = Row(
            "Which way?\nAnswer:", recipe, kind="choose", choices=("a", "b", "cd"), normalization="none"
        )
        (result,) = engine.answer([row])
        assert isinstance(result, RowResult), result
        told[dtype] = result.scores
    assert told[torch.bfloat16] == pytest.approx(told[torch.float32], rel=0.05)


def test_an_encoder_in_another_thread_gives_the_same_vectors_while_a_bfloat16_head_computes() -> None:
    """torch's precision of float32 is one setting for all threads."""
    float32 = Float32()
    model = tiny_model("llama", torch.bfloat16)
    logits_in_float32(model, float32)
    head = model.get_output_embeddings()
    encoder = Encoder.load(float32=float32)
    texts = [f"Which of these weighs {number} tonnes?" for number in range(40)]
    expected = encoder.embed(texts)
    states = torch.randn(512, head.weight.shape[1]).bfloat16()
    done = threading.Event()

    def write() -> None:
        with torch.inference_mode():
            while not done.is_set():
                head(states)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        found = [encoder.embed(texts) for _ in range(4)]
    finally:
        done.set()
        writing.join()
    for one in found:
        assert np.abs(one - expected).max() < 1e-6
    assert torch.backends.mkldnn.matmul.fp32_precision == "none"  # type: ignore[attr-defined]


def test_a_head_does_not_wait_for_an_encoder() -> None:
    float32, settings = Float32(), torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with float32.as_bfloat16():
        assert settings.fp32_precision == "bf16"
    with float32.exact(), float32.exact(), float32.as_bfloat16():
        assert settings.fp32_precision == "none"
    entered = threading.Event()

    def read() -> None:
        with float32.exact():
            assert settings.fp32_precision == "none"
            entered.set()

    reading = threading.Thread(target=read)
    with float32.as_bfloat16():
        reading.start()
        assert not entered.wait(0.1)
    reading.join()
    assert entered.is_set()
