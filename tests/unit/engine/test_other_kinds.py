"""Kinds that gate weights, move biases or change words are, under `cat`, the sum of what PEFT adds for each."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tests.fix_models import ALL_LINEAR, WIDTHS, TinyAdapter, Zoo, byte_tokenizer, tiny_model
from tests.peft_mixed import PeftMixed
from tests.unit.engine.test_exactness import PEFT_NAMES, logits
from transformers import AutoModelForCausalLM, Gemma3TextConfig

from loradex.errors import AdapterRefusedError, InvalidArgumentError
from loradex.library.adapter_files import content_hash, inspect
from loradex.worker.engine.compose import check
from loradex.worker.engine.engine import Engine
from loradex.worker.engine.factors import read_adapter
from loradex.worker.engine.recipe import MERGES, Component, Recipe
from loradex.worker.engine.rows import Row

TOLERANCE = 1e-5
WEIGHTS = [0.5, -0.25, 0.75, 1.0]


@dataclass(frozen=True)
class Kind:
    """A family, and a config of it; both adapters of a kind have unequal ranks."""

    family: str
    keys: dict[str, Any]
    targets: tuple[str, ...] = ()
    merges: tuple[str, ...] = ("cat",)

    def config(self, family: str, seed: int, **keys: Any) -> PeftConfig:
        if "feedforward_modules" in self.keys:
            fan = family == "gpt2"
            return IA3Config(
                target_modules=list(self.targets), fan_in_fan_out=fan, task_type="CAUSAL_LM", **self.keys
            )
        return LoraConfig(
            **{
                "r": seed + 1,
                "lora_alpha": 5,
                "target_modules": list(self.targets or ALL_LINEAR[family]),
                "fan_in_fan_out": family == "gpt2",
                "task_type": "CAUSAL_LM",
                **self.keys,
                **keys,
            }
        )


KINDS = {
    "dora": Kind("llama", {"use_dora": True}),
    "dora beside biases": Kind("gpt2", {"use_dora": True, "use_rslora": True}, ("c_attn", "c_fc")),
    "dora of words": Kind("qwen", {"use_dora": True}, ("q_proj", "embed_tokens")),
    "dora of tied words": Kind("llama", {"use_dora": True}, ("v_proj", "embed_tokens")),
    "lora_bias": Kind("gpt2", {"lora_bias": True}),
    "bias all": Kind("qwen", {"bias": "all"}, ("q_proj", "down_proj")),
    "bias all beside norms": Kind("gpt2", {"bias": "all"}, ("c_attn",)),
    "bias all of one norm a layer": Kind("phi", {"bias": "all"}, ("q_proj", "fc1")),
    "bias lora_only": Kind("gpt2", {"bias": "lora_only"}, ("c_attn",)),
    "dora and bias": Kind("qwen", {"use_dora": True, "bias": "lora_only"}, ("q_proj", "up_proj")),
    "ia3": Kind("llama", {"feedforward_modules": ["down_proj"]}, ("k_proj", "v_proj", "down_proj")),
    "ia3 beside biases": Kind("gpt2", {"feedforward_modules": ["mlp.c_proj"]}, ("c_attn", "mlp.c_proj")),
    "head and words": Kind("qwen", {}, ("q_proj", "lm_head", "embed_tokens"), MERGES),
    "tied words": Kind("llama", {}, ("v_proj", "embed_tokens"), MERGES),
    "tied head": Kind("llama", {}, ("v_proj", "lm_head"), MERGES),
    "trained words": Kind("qwen", {"trainable_token_indices": [3, 70, 5]}, ("q_proj",)),
    "trained words, tied": Kind("llama", {"trainable_token_indices": [3, 70, 5]}, ("q_proj",)),
    "trained words beside a head": Kind(
        "qwen", {"trainable_token_indices": {"embed_tokens": [9, 4], "lm_head": [7]}}, ("q_proj",)
    ),
    "whole head and words": Kind("qwen", {"modules_to_save": ["lm_head", "embed_tokens"]}, ("q_proj",)),
    "whole words, tied": Kind("llama", {"modules_to_save": ["embed_tokens"]}, ("q_proj",)),
    "a whole module beside": Kind("gpt2", {"modules_to_save": ["c_fc"]}, ("c_attn",)),
}


@dataclass(frozen=True)
class Made:
    kind: Kind
    zoo: Zoo
    adapters: tuple[TinyAdapter, ...]
    engine: Engine


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, zoos: Callable[[str], Zoo], tmp_path_factory: Any) -> Made:
    kind = KINDS[request.param]
    zoo, root = zoos(kind.family), tmp_path_factory.mktemp("kinds")
    adapters = tuple(save(kind, zoo, root / f"k{seed}", seed) for seed in (1, 2))
    engine = zoo.engine(ends=frozenset())
    engine.bank.ensure({one.sha256: one.directory for one in adapters})
    return Made(kind, zoo, adapters, engine)


def save(kind: Kind, zoo: Zoo, directory: Path, seed: int, **keys: Any) -> TinyAdapter:
    """An adapter as PEFT saves it after everything that may be trained has moved."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT warns of tied words that are changed apart.
        tuned = get_peft_model(copy.deepcopy(zoo.model), kind.config(zoo.family, seed, **keys))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT says that it saves the base model's own words too.
        tuned.save_pretrained(directory)
    return TinyAdapter(directory.name, directory, content_hash(directory))


def recipe_of(made: Made, merge: str, *, calibrated: bool = False) -> Recipe:
    components = tuple(
        Component(one.sha256, weight) for one, weight in zip(mixed_of(made), WEIGHTS, strict=True)
    )
    return Recipe(merge, 0.5, "float32", components, calibrated)


def mixed_of(made: Made) -> list[TinyAdapter]:
    """Both of the kind, and two plain LoRAs."""
    return [*made.adapters, made.zoo.all[5], made.zoo.even[2]]


@torch.inference_mode()
def test_a_mixture_is_the_sum_of_what_each_adds(made: Made) -> None:
    """Calibrated and not, beside a plain mixture and the bare model, which are not moved by it."""
    model, plain = made.zoo.model, made.zoo.even[0]
    mixed = PeftMixed(model, mixed_of(made), WEIGHTS)
    own, total = mixed.norms()
    updates, reports = made.engine.compose(
        [
            recipe_of(made, "cat"),
            recipe_of(made, "cat", calibrated=True),
            Recipe("linear", 1.0, "float32", (Component(plain.sha256, 0.5),)),
            Recipe("cat", 1.0, "float32", ()),
        ]
    )
    factor = sum(abs(weight) * norm for weight, norm in zip(WEIGHTS, own, strict=True)) / total
    assert reports[0].component_norms == pytest.approx(own, rel=1e-4)
    assert [one.update_norm for one in reports[:2]] == pytest.approx([total, total * factor], rel=1e-4)
    tokens = torch.randint(3, 200, (4, 9))
    found = logits(made.engine, tokens, updates)
    others = [PeftMixed(model, [plain], [0.5]).model, model]
    for row, one in enumerate([mixed, mixed, *others]):
        if row == 1:
            mixed.weights = [weight * factor for weight in WEIGHTS]
        asked = one.model if isinstance(one, PeftMixed) else one
        wanted = asked(input_ids=tokens[row : row + 1]).logits[0]
        assert (found[row] - wanted).norm() <= TOLERANCE * wanted.norm()


@pytest.mark.parametrize("made", ["dora beside biases", "ia3 beside biases", "head and words"], indirect=True)
def test_texts_and_choices_come_and_go_as_the_sum_says(made: Made) -> None:
    engine, recipe = made.engine, recipe_of(made, "cat")
    plain = Recipe("cat", 1.0, "float32", (Component(made.zoo.even[1].sha256, 0.5),))
    models = {recipe: PeftMixed(made.zoo.model, mixed_of(made), WEIGHTS).model}
    models[plain] = PeftMixed(made.zoo.model, [made.zoo.even[1]], [0.5]).model
    rows = [
        Row(prompt, one, max_new_tokens=length)
        for prompt, one, length in (
            ("tin drum", plain, 2),
            ("lark under seven", recipe, 9),
            ("pale gates where foxes trade old maps", recipe, 4),
            ("bell", plain, 12),
        )
    ]
    choices = ("maps of old", "bell")
    answers = engine.answer([*rows, Row("under the gates", recipe, "choose", choices, "none")])
    for row, answer in zip(rows, answers, strict=False):
        ids = torch.tensor([engine.text.prompt(row.prompt_text)])
        wanted = models[row.recipe].generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=row.max_new_tokens,
            do_sample=False,
            eos_token_id=None,
        )
        assert answer.token_ids == tuple(wanted[0, ids.shape[1] :].tolist())
    prompt = engine.text.prompt("under the gates")
    for choice, score in zip(choices, answers[-1].scores, strict=True):
        ids = engine.text.answer(choice)
        likely = models[recipe](input_ids=torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
        wanted = sum(float(likely[len(prompt) - 1 + place, token]) for place, token in enumerate(ids))
        assert score == pytest.approx(wanted, rel=1e-4)


@torch.inference_mode()
def test_other_merges_are_refused_by_name_and_alone_it_is_itself(made: Made) -> None:
    one = made.adapters[0]
    alone = [Recipe(merge, 0.5, "float32", (Component(one.sha256, 0.75),)) for merge in MERGES]
    updates, _ = made.engine.compose(alone)
    tokens = torch.randint(3, 200, (1, 7))
    wanted = PeftMixed(made.zoo.model, [one], [0.75]).model(input_ids=tokens).logits
    found = logits(made.engine, tokens.expand(len(alone), -1), updates)
    assert all((row - wanted[0]).norm() <= TOLERANCE * wanted.norm() for row in found)
    for recipe in alone:
        check(made.engine.bank, recipe)
    for merge in set(MERGES) - set(made.kind.merges):
        with pytest.raises(InvalidArgumentError, match=f"{merge} is not defined for the kind .* use cat"):
            check(made.engine.bank, recipe_of(made, merge))


def test_it_registers(made: Made) -> None:
    facts = [inspect(one.directory, "tiny", made.engine.bank.sizes, declared=True) for one in made.adapters]
    has_factors = not isinstance(made.kind.config(made.zoo.family, 1), IA3Config)
    words = made.kind.keys.get("trainable_token_indices", ())
    least = max(map(len, words.values())) if isinstance(words, dict) else len(words)
    assert [one.rank for one in facts] == ([max(2, least), 3] if has_factors else [1, 1])


@pytest.mark.parametrize("kind", ["dora", "ia3", "tied words"])
def test_an_engine_without_the_base_model_s_weights_says_which_has_them(
    zoo: Zoo, tmp_path: Path, kind: str
) -> None:
    one = save(KINDS[kind], zoo, tmp_path / "one", 1)
    with pytest.raises(AdapterRefusedError, match="LORADEX_ENGINE=torch does"):
        read_adapter(one.directory, one.sha256)


@torch.inference_mode()
def test_kinds_are_mixed_with_each_other_in_one_module(zoo: Zoo, tmp_path: Path) -> None:
    """By an engine that knows no adapter with factors when it first meets gates."""
    adapters = [save(KINDS[kind], zoo, tmp_path / kind, 1) for kind in ("ia3", "dora", "tied words")]
    engine = Engine(copy.deepcopy(zoo.model), byte_tokenizer(), bank_bytes=1 << 20)
    engine.bank.ensure({adapters[0].sha256: adapters[0].directory})
    tokens = torch.randint(3, 200, (1, 9))
    for count in (1, 3):
        engine.bank.ensure({one.sha256: one.directory for one in adapters[:count]})
        parts = tuple(Component(one.sha256, 0.5) for one in adapters[:count])
        updates, (report,) = engine.compose([Recipe("cat", 1.0, "float32", parts)])
        mixed = PeftMixed(zoo.model, adapters[:count], [0.5] * count)
        own, total = mixed.norms()
        assert report.component_norms == pytest.approx(own, rel=1e-4)
        assert report.update_norm == pytest.approx(total, rel=1e-4)
        wanted = mixed.model(input_ids=tokens).logits
        assert (logits(engine, tokens, updates) - wanted).norm() <= TOLERANCE * wanted.norm()


@pytest.mark.parametrize("merge", MERGES)
def test_words_and_head_merge_as_peft_merges_them(
    merge: str, zoos: Callable[[str], Zoo], tmp_path: Path
) -> None:
    zoo, kind = zoos("qwen"), Kind("qwen", {}, ("q_proj", "lm_head", "embed_tokens"))
    adapters = [save(kind, zoo, tmp_path / f"k{seed}", seed, r=3) for seed in (1, 2)]
    engine = zoo.engine()
    engine.bank.ensure({one.sha256: one.directory for one in adapters})
    peft = PeftModel.from_pretrained(copy.deepcopy(zoo.model), adapters[0].directory, adapter_name="k1")
    peft.load_adapter(adapters[1].directory, adapter_name="k2")
    combination, sign = PEFT_NAMES[merge]
    peft.add_weighted_adapter(
        ["k1", "k2"],
        [0.5, -0.75],
        "mix",
        combination_type=combination,
        density=0.5,
        majority_sign_method=sign,
    )
    peft.set_adapter("mix")
    recipe = Recipe(
        merge,
        0.5,
        "float32",
        tuple(Component(one.sha256, w) for one, w in zip(adapters, (0.5, -0.75), strict=True)),
    )
    updates, _ = engine.compose([recipe])
    tokens = torch.randint(3, 200, (1, 40))
    with torch.inference_mode():
        wanted, found = peft(input_ids=tokens).logits, logits(engine, tokens, updates)
    assert (found - wanted).norm() <= TOLERANCE * wanted.norm()


def test_the_sum_of_gates_is_peft_s_where_weights_add_up_to_one(zoo: Zoo, tmp_path: Path) -> None:
    adapters = [save(KINDS["ia3"], zoo, tmp_path / f"k{seed}", seed) for seed in (1, 2)]
    engine, weights = zoo.engine(), (1.5, -0.5)
    engine.bank.ensure({one.sha256: one.directory for one in adapters})
    peft = PeftModel.from_pretrained(copy.deepcopy(zoo.model), adapters[0].directory, adapter_name="k1")
    peft.load_adapter(adapters[1].directory, adapter_name="k2")
    peft.add_weighted_adapter(["k1", "k2"], list(weights), "mix")
    peft.set_adapter("mix")
    parts = tuple(Component(one.sha256, weight) for one, weight in zip(adapters, weights, strict=True))
    updates, _ = engine.compose([Recipe("cat", 1.0, "float32", parts)])
    tokens = torch.randint(3, 200, (1, 9))
    with torch.inference_mode():
        wanted, found = peft(input_ids=tokens).logits, logits(engine, tokens, updates)
    assert (found - wanted).norm() <= TOLERANCE * wanted.norm()


@torch.inference_mode()
def test_dora_of_words_that_the_model_scales(tmp_path: Path) -> None:
    """Gemma multiplies what its embedding says; PEFT measures the magnitude before that."""
    torch.manual_seed(3)
    config = Gemma3TextConfig(
        **WIDTHS, head_dim=8, sliding_window=16, vocab_size=len(byte_tokenizer()), tie_word_embeddings=False
    )
    zoo = Zoo("qwen", AutoModelForCausalLM.from_config(config).eval(), (), ())
    one = save(Kind("qwen", {"use_dora": True}, ("q_proj", "embed_tokens")), zoo, tmp_path / "one", 1)
    engine = zoo.engine()
    engine.bank.ensure({one.sha256: one.directory})
    updates, (report,) = engine.compose([Recipe("cat", 1.0, "float32", (Component(one.sha256, 0.5),))])
    mixed = PeftMixed(zoo.model, [one], [0.5])
    tokens = torch.randint(3, 200, (1, 9))
    wanted = mixed.model(input_ids=tokens).logits
    assert report.component_norms == pytest.approx(mixed.norms()[0], rel=1e-4)
    assert (logits(engine, tokens, updates) - wanted).norm() <= TOLERANCE * wanted.norm()


def test_a_part_that_stands_there_twice_is_refused_by_a_worker_too(zoo: Zoo, tmp_path: Path) -> None:
    one = save(KINDS["dora"], zoo, tmp_path / "one", 1)
    weights = one.directory / "adapter_model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith(".lora_magnitude_vector"))
    save_file({**tensors, f"{name}.weight": tensors[name].clone()}, weights)
    with pytest.raises(AdapterRefusedError, match="stands there twice"):
        read_adapter(one.directory, content_hash(one.directory), zoo.engine().bank.base)


def test_a_head_of_other_weights_is_refused(zoos: Callable[[str], Zoo], tmp_path: Path) -> None:
    """PEFT saves the base model's own head beside its factors; what was trained on another head is another model's."""
    zoo, kind = zoos("qwen"), KINDS["head and words"]
    one = save(kind, Zoo("qwen", tiny_model("qwen", seed=7), (), ()), tmp_path / "other", 1)
    with pytest.raises(AdapterRefusedError, match="trained on other weights than this base model's"):
        zoo.engine().bank.ensure({one.sha256: one.directory})
