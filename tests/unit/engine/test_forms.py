"""A base model in other forms than plain float32: its attention, its weights in few bits, its layers elsewhere."""

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import needs
from tests.fix_models import WIDTHS, byte_tokenizer
from tests.peft_compared import Asked, Reference, asked
from torch import nn
from transformers import AutoModelForCausalLM, Qwen2Config

from loradex.errors import ModelRefusedError
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.form import Form
from loradex.worker.engine.load import load_model
from loradex.worker.engine.quantization import told_by
from loradex.worker.engine.rows import RowResult
from loradex.worker.engine.updates import RowLinear, UpdateSwitch

CPU = torch.device("cpu")
LENGTHS = (3, 30, 17)
EXACT, ROUNDED = 1e-4, 0.05


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Asked]:
    """A model's directory, and what it is asked. It is as wide as bitsandbytes needs on a CPU: blocks of 64."""
    root = tmp_path_factory.mktemp("forms")
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    config = Qwen2Config(
        **{**WIDTHS, "hidden_size": 64, "intermediate_size": 128},
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    return root / "model", asked(model, root, LENGTHS)


@pytest.fixture
def loaded(questions: tuple[Path, Asked]) -> Callable[[Form], tuple[Engine, Reference]]:
    """The engine in a form, and PEFT on a model that transformers loads in the same one, but on one device."""
    path, told = questions

    def get(form: Form) -> tuple[Engine, Reference]:
        engine = Engine.load(path, "cpu", form, 8 << 20)
        engine.bank.ensure({adapter.sha256: adapter.directory for adapter in told.adapters})
        return engine, Reference(
            load_model(path, CPU, dataclasses.replace(form, device_map=None))[0], told.adapters
        )

    return get


def apart(engine: Engine, reference: Reference, told: Asked) -> float:
    """How far scores differ at most, as a share; texts must be the same but where two tokens are as likely."""
    greatest = 0.0
    for row, answer in zip(told.rows, engine.answer(told.rows), strict=True):
        assert isinstance(answer, RowResult), answer
        prompt = engine.text.prompt(row.prompt_text)
        if row.kind == "choose":
            wanted = reference.scores(row, prompt, [engine.text.answer(choice) for choice in row.choices])
            assert answer.scores is not None
            greatest = max(
                [
                    greatest,
                    *(abs(one - two) / abs(two) for one, two in zip(answer.scores, wanted, strict=True)),
                ]
            )
        elif engine.quantization != "bitsandbytes-8bit":
            text = reference.text(row, prompt)
            assert answer.token_ids == text[: len(answer.token_ids)]
    return greatest


@pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning")
@pytest.mark.parametrize(
    ("package", "quantization", "allowed"),
    [
        ("bitsandbytes", "bitsandbytes-4bit", EXACT),
        ("bitsandbytes", "bitsandbytes-8bit", ROUNDED),
        ("torchao", "torchao-int8", EXACT),
        ("torchao", "torchao-float8", EXACT),
    ],
)
def test_adapters_on_quantised_weights_are_those_of_peft(
    package: str,
    quantization: str,
    allowed: float,
    questions: tuple[Path, Asked],
    loaded: Callable[[Form], tuple[Engine, Reference]],
) -> None:
    needs.package(package)
    engine, reference = loaded(Form(quantization=quantization))
    assert (engine.quantization, engine.dtype) == (quantization, "float32")
    weights = [module.base.weight for module in engine.model.modules() if isinstance(module, RowLinear)]
    assert any(type(weight) is not nn.Parameter for weight in weights)
    assert apart(engine, reference, questions[1]) <= allowed


def test_attention_is_the_one_that_was_asked_for(
    questions: tuple[Path, Asked], loaded: Callable[[Form], tuple[Engine, Reference]]
) -> None:
    engine, reference = loaded(Form(attention="eager"))
    assert engine.attention == "eager"
    assert engine.device_map is None
    assert apart(engine, reference, questions[1]) <= EXACT


def test_layers_that_lie_on_disk_are_brought_in_when_they_are_needed(
    questions: tuple[Path, Asked], loaded: Callable[[Form], tuple[Engine, Reference]]
) -> None:
    parts = ("model.embed_tokens", "model.norm", "model.rotary_emb", "model.layers.0", "lm_head")
    engine, reference = loaded(Form(device_map={**dict.fromkeys(parts, "cpu"), "model.layers.1": "disk"}))
    lies = [engine.model.model.layers[layer].mlp.up_proj.weight.device.type for layer in (0, 1)]
    assert (lies, engine.device) == (["cpu", "meta"], CPU)
    assert engine.device_map == "cpu 5, disk 1"
    assert apart(engine, reference, questions[1]) <= EXACT


def test_updates_are_computed_where_the_adapters_are() -> None:
    """A layer of another device; `meta` computes shapes only, and refuses tensors of two devices."""
    switch = UpdateSwitch(torch.device("meta"))
    seen: list[Sequence[str]] = []

    class Watched:
        def add(self, module: str, x: torch.Tensor, out: torch.Tensor) -> None:
            seen.append((module, x.device.type, out.device.type))

        def rows(self, index: Any) -> "Watched":
            raise AssertionError(index)

    switch.current = Watched()
    linear = RowLinear("up", nn.Linear(4, 6), switch)
    with pytest.raises(NotImplementedError, match="meta"), torch.inference_mode():
        linear(torch.zeros(1, 2, 4))
    assert seen == [("up", "meta", "meta")]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (Form(attention="flash_attention_2"), "with attention flash_attention_2"),
        (Form(attention="fast"), "with attention fast"),
        (Form(device_map={"": "cuda:7"}), "spread by"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which some of that can be had")
def test_what_this_machine_cannot_do_is_refused_with_a_sentence(
    form: Form, said: str, questions: tuple[Path, Asked]
) -> None:
    with pytest.raises(ModelRefusedError, match=said):
        load_model(questions[0], CPU, form)


def test_a_package_that_is_not_installed_is_named(
    questions: tuple[Path, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ModelRefusedError, match=r"pip install 'loradex\[quantization\]'"):
        load_model(questions[0], CPU, Form(quantization="torchao-int8"))


def test_a_model_that_is_quantised_already_says_so_and_is_not_quantised_again(
    questions: tuple[Path, Asked], tmp_path: Path
) -> None:
    needs.package("bitsandbytes")
    form = Form(quantization="bitsandbytes-4bit")
    model, tokenizer = load_model(questions[0], CPU, form)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    for asked_for in (Form(), form):
        assert told_by(load_model(tmp_path, CPU, asked_for)[0].config) == "bitsandbytes-4bit"
    with pytest.raises(ModelRefusedError, match="is quantised by bitsandbytes-4bit"):
        load_model(tmp_path, CPU, dataclasses.replace(form, quantization="torchao-int8"))


@pytest.mark.parametrize("way", ["gptq", "awq"])
def test_what_no_adapter_changes_is_refused_by_name(
    way: str, questions: tuple[Path, Asked], tmp_path: Path
) -> None:
    shutil.copytree(questions[0], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "quantization_config": {"quant_method": way, "bits": 4, "group_size": 128}})
    )
    with pytest.raises(
        ModelRefusedError, match=f"is quantised by {way}, .* LORADEX_QUANTIZATION=bitsandbytes-4bit"
    ):
        load_model(tmp_path, CPU, Form())


WORKER = """
import sys
from loradex.logs import log_as_json as from_the_first_line
from_the_first_line()
import loradex.worker.app
import torch
from loradex.worker.engine.form import Form
from loradex.worker.engine.load import load_model
from loradex.worker.engine.quiet import quiet
from loradex.worker.logs import log_as_json
log_as_json("info")
quiet()
for way in ("torchao-int8", "bitsandbytes-4bit"):
    load_model(sys.argv[1], torch.device("cpu"), Form(quantization=way))
import logging
logging.getLogger("loradex").info("loaded")
"""
"""What a worker does before it loads its model, in the same order."""


def test_what_quantising_libraries_say_when_they_are_imported_is_lines_of_json(
    questions: tuple[Path, Asked],
) -> None:
    for package in ("torchao", "bitsandbytes"):
        needs.package(package)
    ran = subprocess.run(
        [sys.executable, "-c", WORKER, str(questions[0])],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert ran.stdout == ""
    said = [json.loads(line) for line in ran.stderr.splitlines()]
    assert said[-1]["event"] == "loaded"
    assert {"event", "level", "logger", "timestamp"} <= set.intersection(*(set(line) for line in said))
