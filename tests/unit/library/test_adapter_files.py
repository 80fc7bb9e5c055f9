import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.fix_adapters import SHAPES, MakeAdapter, safetensors_bytes, tensors
from torch import nn

from loradex.errors import AdapterChangedError, AdapterRefusedError
from loradex.library.adapter_files import LFS_POINTER, content_hash, inspect, read_files
from loradex.library.adapter_roots import AdapterRoots
from loradex.library.module_sizes import Size, module_sizes

BASE = "tiny-llama"
FIRST = "base_model.model.model.layers.0.self_attn.q_proj"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_content_hash_is_over_names_and_hashes_of_both_files(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    lines = "".join(
        f"{name}\0{sha(directory / name)}\n" for name in ("adapter_config.json", "adapter_model.safetensors")
    )
    assert content_hash(directory) == hashlib.sha256(lines.encode()).hexdigest()


def test_other_files_do_not_change_the_content_hash(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    before = content_hash(directory)
    (directory / "README.md").write_text("hello")
    assert content_hash(directory) == before


def test_a_swapped_file_is_noticed_when_it_is_read(make_adapter: MakeAdapter) -> None:
    directory, other = make_adapter("one", seed=1), make_adapter("two", seed=2)
    registered = content_hash(directory)
    assert read_files(directory, registered).sha256 == registered
    (other / "adapter_model.safetensors").replace(directory / "adapter_model.safetensors")
    with pytest.raises(AdapterChangedError, match=registered):
        read_files(directory, registered)


@pytest.mark.parametrize(("dtype", "stored"), [("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16")])
def test_the_facts_of_a_good_adapter(make_adapter: MakeAdapter, dtype: str, stored: str) -> None:
    factors = tensors()
    directory = make_adapter(weights=safetensors_bytes(factors, dtype))
    facts = inspect(directory, BASE)
    products = [
        2.0 * b.astype(np.float64) @ a.astype(np.float64)
        for a, b in zip(list(factors.values())[::2], list(factors.values())[1::2], strict=True)
    ]
    assert facts.sha256 == content_hash(directory)
    assert (facts.rank, facts.alpha, facts.dtype) == (2, 4.0, stored)
    assert facts.target_modules == ("down_proj", "q_proj")
    assert facts.parameters == sum(array.size for array in factors.values())
    expected = np.sqrt(sum((product**2).sum() for product in products))
    assert facts.update_norm == pytest.approx(expected, rel=1e-5 if dtype == "F32" else 2e-2)
    assert facts.update_rms == pytest.approx(expected / np.sqrt(sum(p.size for p in products)), rel=2e-2)
    assert facts.warnings == ()


def test_what_peft_saves_is_accepted_and_measured_as_peft_merges_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"q_proj": nn.Linear(8, 6), "other": nn.Linear(6, 6)})
    lora = get_peft_model(
        model, LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"], init_lora_weights=False)
    )
    lora.peft_config["default"].base_model_name_or_path = BASE
    lora.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    facts = inspect(tmp_path / "adapter", BASE)
    delta = lora.base_model.model["q_proj"].get_delta_weight("default")
    assert facts.update_norm == pytest.approx(float(delta.detach().norm()), rel=1e-5)


def test_an_update_as_large_as_the_model_is_flagged(make_adapter: MakeAdapter) -> None:
    huge = {name: array * 100 for name, array in tensors().items()}
    facts = inspect(make_adapter(weights=safetensors_bytes(huge)), BASE)
    assert len(facts.warnings) == 1
    assert "as large as a model's own weights" in facts.warnings[0]


def test_an_update_of_nothing_is_flagged(make_adapter: MakeAdapter) -> None:
    zero = {name: array * 0 for name, array in tensors().items()}
    assert "zero" in inspect(make_adapter(weights=safetensors_bytes(zero)), BASE).warnings[0]


def without(name: str) -> dict[str, np.ndarray]:
    return {key: array for key, array in tensors().items() if name not in key}


def with_value(value: float) -> dict[str, np.ndarray]:
    factors = tensors()
    next(iter(factors.values()))[0, 0] = value
    return factors


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (b"", "shorter"),
        (safetensors_bytes({}), "no tensors"),
        (safetensors_bytes(tensors())[:-1], "end at byte"),
        (safetensors_bytes(tensors(rank=3)), "do not fit rank 2"),
        (safetensors_bytes(without("lora_B")), "lora_A alone"),
        (
            safetensors_bytes({**tensors(), "base_model.model.lm_head.weight": np.ones((2, 2))}),
            "not a lora_A",
        ),
        (
            safetensors_bytes({k.removeprefix("base_model.model."): v for k, v in tensors().items()}),
            "does not begin with 'base_model.model.'",
        ),
        *(
            (safetensors_bytes({**tensors(), f"{FIRST}.{part}": np.ones(8)}), reason)
            for part, reason in (
                ("lora_magnitude_vector.weight", "belongs to DoRA"),
                ("lora_B.bias", "lora_bias is not set"),
                ("base_layer.bias", 'bias is "none"'),
                ("base_layer.weight", "its module's weight"),
            )
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (
            safetensors_bytes({k.replace("q_proj", "k_proj"): v for k, v in tensors().items()}),
            "in no target_modules",
        ),
        (safetensors_bytes({k: v.ravel() for k, v in tensors().items()}), "do not fit"),
        (safetensors_bytes(with_value(np.nan)), "NaN or infinity"),
        (safetensors_bytes(with_value(-np.inf)), "NaN or infinity"),
        (safetensors_bytes(with_value(np.nan), "BF16"), "NaN or infinity"),
        (safetensors_bytes(with_value(np.inf), "F16"), "NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_their_config_are_refused(
    make_adapter: MakeAdapter, weights: bytes, reason: str
) -> None:
    with pytest.raises(AdapterRefusedError, match=reason):
        inspect(make_adapter(weights=weights), BASE)


@pytest.mark.parametrize(
    ("keys", "part", "numbers", "reason"),
    [
        ({"use_dora": True}, "lora_magnitude_vector", 8, "has no lora_magnitude_vector"),
        ({"use_dora": True}, "lora_magnitude_vector", 9, "has no lora_magnitude_vector"),
        ({"lora_bias": True}, "lora_B.bias", 9, r"is \[9\], its module's weight \[8, 8\]"),
        ({"bias": "lora_only"}, "bias", 8, None),
        ({"bias": "all"}, "bias", 8, None),
    ],
)
def test_what_lies_beside_factors_is_held_against_config_and_model(
    make_adapter: MakeAdapter, keys: dict[str, Any], part: str, numbers: int, reason: str | None
) -> None:
    weights = safetensors_bytes({**tensors(), f"{FIRST}.{part}": np.ones(numbers)})
    directory = make_adapter(config=keys, weights=weights)
    if reason is None:
        assert inspect(directory, BASE, base_sizes(16)).rank == 2
    else:
        with pytest.raises(AdapterRefusedError, match=reason):
            inspect(directory, BASE, base_sizes(16))


def test_a_bias_of_another_module_is_refused_where_the_model_is_at_hand(make_adapter: MakeAdapter) -> None:
    weights = safetensors_bytes({**tensors(), "base_model.model.model.norm.bias": np.ones(8)})
    directory = make_adapter(config={"bias": "all"}, weights=weights)
    with pytest.raises(AdapterRefusedError, match="lora_only"):
        inspect(directory, BASE, base_sizes(16))


def test_two_dtypes_in_one_file_are_refused(make_adapter: MakeAdapter) -> None:
    content = safetensors_bytes(tensors()).replace(b'"dtype": "F32"', b'"dtype": "I32"', 1)
    with pytest.raises(AdapterRefusedError, match="F32, I32"):
        inspect(make_adapter(weights=content), BASE)


def test_an_adapter_of_another_base_model_is_refused(make_adapter: MakeAdapter) -> None:
    with pytest.raises(AdapterRefusedError, match="trained for 'someone/Tiny-Llama'"):
        inspect(make_adapter(), "smollm2-135m-instruct")


def base_sizes(d_in: int) -> dict[str, Size]:
    sizes = {f"model.layers.{layer}.{module}": shape for layer in (0, 1) for module, shape in SHAPES.items()}
    return sizes | {"model.layers.1.mlp.down_proj": (8, d_in)}


def test_factors_must_fit_the_base_model_where_it_is_at_hand(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    directory, model = make_adapter(), tmp_path / "model"
    model.mkdir()
    arrays = {f"{name}.weight": np.zeros(shape) for name, shape in base_sizes(16).items()}
    arrays |= {"model.norm.weight": np.zeros(8), "model.layers.0.self_attn.q_proj.bias": np.zeros(8)}
    arrays |= {"model.ln.weight": np.zeros(8), "model.ln.bias": np.zeros(8)}
    (model / "model.safetensors").write_bytes(safetensors_bytes(arrays))
    assert module_sizes(model) == base_sizes(16) | {"model.ln": (8, 0)}
    assert inspect(directory, BASE, module_sizes(model)).rank == 2
    with pytest.raises(AdapterRefusedError, match=r"weight of \[8, 16\], the base model has \[8, 17\]"):
        inspect(directory, BASE, base_sizes(17))
    with pytest.raises(AdapterRefusedError, match="none of that name"):
        inspect(directory, BASE, {})


def test_a_tensor_whose_name_could_not_be_stored_names_no_module(tmp_path: Path) -> None:
    names = ("model.q_proj", "model.a\0b", "model.\ud800")
    arrays = {f"{name}.weight": np.zeros((8, 4)) for name in names}
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(arrays))
    assert module_sizes(tmp_path) == {"model.q_proj": (8, 4)}


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "adapter_model.pkl"])
def test_a_pickle_is_never_read(make_adapter: MakeAdapter, name: str) -> None:
    directory = make_adapter()
    (directory / name).write_bytes(b"\x80\x04.")
    assert inspect(directory, BASE).warnings == (f"{name} is not read, only adapter_model.safetensors is",)
    (directory / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterRefusedError, match="a pickle can run code"):
        inspect(directory, BASE)


@pytest.mark.parametrize(
    ("names", "shown", "cure"),
    [
        (
            ("adapter_model-00001-of-00002.safetensors", "adapter_model.safetensors.index.json"),
            "adapter_model-00001-of-00002.safetensors",
            "its weights are in parts, and one file is read; join them",
        ),
        (
            ("adapter_model-00001-of-00002.bin", "adapter_model.bin.index.json"),
            "adapter_model-00001-of-00002.bin",
            "save it as one with PEFT's save_pretrained",
        ),
        (("adapter_model.gguf",), "adapter_model.gguf", "llama.cpp's form"),
        (("rte-f16.gguf",), "rte-f16.gguf", "llama.cpp's form"),
        (("adapters.safetensors",), "adapters.safetensors", "MLX's form"),
        (("adapter_model.npz",), "adapter_model.npz", "this form is not read"),
    ],
)
def test_another_form_is_told_with_its_own_cure(
    make_adapter: MakeAdapter, names: tuple[str, ...], shown: str, cure: str
) -> None:
    directory = make_adapter()
    weights = directory / "adapter_model.safetensors"
    for name in names:
        (directory / name).write_bytes(weights.read_bytes())
    weights.unlink()
    with pytest.raises(AdapterRefusedError) as refused:
        inspect(directory, BASE)
    assert str(refused.value).startswith(f"{directory / shown}: ")
    assert cure in str(refused.value)
    assert "convert" not in str(refused.value)


def test_the_code_that_joins_parts_makes_the_adapter(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    weights = directory / "adapter_model.safetensors"
    whole, facts = tensors(), inspect(directory, BASE)
    names = sorted(whole)
    weights.unlink()
    for number, some in enumerate((names[:3], names[3:]), start=1):
        part = directory / f"adapter_model-0000{number}-of-00002.safetensors"
        part.write_bytes(safetensors_bytes({name: whole[name] for name in some}))
    with pytest.raises(AdapterRefusedError) as refused:
        inspect(directory, BASE)
    code = re.search(r"save_file\((.*), 'adapter_model.safetensors'\)", str(refused.value))
    assert code is not None
    parts = sorted(directory.glob("adapter_model-*"))
    save_file(eval(code[1], {"parts": parts, "load_file": load_file}), weights)
    assert inspect(directory, BASE).update_norm == pytest.approx(facts.update_norm)


def test_a_whole_model_is_told_from_an_adapter(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    (directory / "adapter_model.safetensors").rename(directory / "model.safetensors")
    with pytest.raises(AdapterRefusedError, match="name the directory that has it"):
        inspect(directory, BASE)
    (directory / "adapter_config.json").unlink()
    with pytest.raises(AdapterRefusedError, match="a whole model lies there and no adapter"):
        inspect(directory, BASE)


def test_a_config_that_git_lfs_points_to_is_said(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    (directory / "adapter_config.json").write_bytes(LFS_POINTER + b"v1\n")
    with pytest.raises(AdapterRefusedError, match="git lfs pull"):
        inspect(directory, BASE)


def test_modules_without_weights_and_keys_that_say_nothing_are_warnings(make_adapter: MakeAdapter) -> None:
    directory = make_adapter(config={"modules_to_save": ["lm_head"], "use_new": False})
    first, second = inspect(directory, BASE).warnings
    assert "modules_to_save names lm_head, which have no weights" in first
    assert "PEFT 0.21 does not know use_new" in second


def test_a_repository_of_the_hub_is_told_from_a_directory(tmp_path: Path) -> None:
    with pytest.raises(AdapterRefusedError, match="name it hf://someone/fixer@<commit>"):
        AdapterRoots((tmp_path,)).found("someone/fixer")


def test_an_adapter_in_a_folder_below_is_named(make_adapter: MakeAdapter) -> None:
    directory = make_adapter("run/checkpoint-20")
    with pytest.raises(AdapterRefusedError, match=str(directory)):
        inspect(directory.parent, BASE)


def test_a_target_that_was_not_trained_is_a_warning(make_adapter: MakeAdapter) -> None:
    facts = inspect(make_adapter(weights=safetensors_bytes(without("down_proj"))), BASE)
    assert facts.target_modules == ("q_proj",)
    assert facts.warnings == ("target_modules names down_proj, which have no factors",)


@pytest.mark.parametrize("targets", ["all-linear", r".*\.(q_proj|down_proj)"])
def test_where_a_pattern_chose_the_factors_tell(make_adapter: MakeAdapter, targets: str) -> None:
    assert inspect(make_adapter(config={"target_modules": targets}), BASE).target_modules == (
        "down_proj",
        "q_proj",
    )


def test_the_largest_rank_is_the_adapter_s(make_adapter: MakeAdapter) -> None:
    weights = {k: v for k, v in tensors().items() if "q_proj" in k}
    weights |= {k: v for k, v in tensors(rank=5).items() if "down_proj" in k}
    directory = make_adapter(config={"rank_pattern": {"down_proj": 5}}, weights=safetensors_bytes(weights))
    assert inspect(directory, BASE).rank == 5


def test_the_scale_of_rslora_is_in_the_norm(make_adapter: MakeAdapter) -> None:
    plain = inspect(make_adapter("plain"), BASE)
    rslora = inspect(make_adapter("rslora", config={"use_rslora": True}), BASE)
    assert rslora.update_norm == pytest.approx(plain.update_norm * np.sqrt(2))


def test_factors_the_other_way_round_do_not_fit_whatever_the_config_says(make_adapter: MakeAdapter) -> None:
    """The sizes are those of the loaded model's weights, of GPT-2's turned ones too, and so are PEFT's factors."""
    turned = {name: shape[::-1] for name, shape in base_sizes(16).items()}
    for name, fan in (("plain", False), ("fan", True)):
        directory = make_adapter(name, config={"fan_in_fan_out": fan})
        assert inspect(directory, BASE, base_sizes(16)).rank == 2
        with pytest.raises(AdapterRefusedError, match="is for a weight of"):
            inspect(directory, BASE, turned)


WORDS = "base_model.model.model.embed_tokens"
MAGNITUDE = "lora_magnitude_vector"


def magnitudes(*extra: str) -> dict[str, np.ndarray]:
    modules = dict.fromkeys(name.partition(".lora_")[0] for name in tensors())
    return {f"{module}.{MAGNITUDE}": np.ones(8) for module in (*modules, *extra)}


@pytest.mark.parametrize(
    ("keys", "more", "reason"),
    [
        ({"use_dora": True}, magnitudes(WORDS), "embed_tokens' has lora_magnitude_vector and no factors"),
        (
            {"lora_bias": True},
            {f"{WORDS}.lora_B.bias": np.ones(8)},
            "embed_tokens' has lora_B.bias and no factors",
        ),
        (
            {"use_dora": True, "modules_to_save": ["q_proj"]},
            magnitudes() | {f"{FIRST}.weight": np.ones((8, 8))},
            "its weight was trained beside it",
        ),
        (
            {"use_dora": True},
            magnitudes() | {f"{FIRST}.{MAGNITUDE}.weight": np.ones(8)},
            "are one part of a module; take one of the two out",
        ),
        (
            {},
            {f"{FIRST}.lora_embedding_A": np.ones((2, 8)), f"{FIRST}.lora_embedding_B": np.ones((8, 2))},
            "are one part of a module; take one of the two out",
        ),
        (
            {"bias": "all"},
            {f"{FIRST}.bias": np.ones(8), f"{FIRST}.base_layer.bias": np.ones(8)},
            "are one part of a module; take one of the two out",
        ),
    ],
)
def test_what_no_worker_could_read_is_not_registered(
    make_adapter: MakeAdapter, keys: dict[str, Any], more: dict[str, np.ndarray], reason: str
) -> None:
    directory = make_adapter(config=keys, weights=safetensors_bytes(tensors() | more))
    with pytest.raises(AdapterRefusedError, match=reason):
        inspect(directory, BASE)


@pytest.mark.parametrize(("module", "size"), [("embed_tokens", (8, 20)), ("lm_head", (20, 8))])
def test_words_beyond_the_vocabulary_are_refused(
    make_adapter: MakeAdapter, module: str, size: tuple[int, int]
) -> None:
    sizes = base_sizes(16) | {f"model.{module}": size}
    delta = {f"base_model.model.model.{module}.token_adapter.trainable_tokens_delta": np.ones((2, 8))}
    for name, words, reason in (
        ("in", [3, 19], None),
        ("out", [3, 20], "has 20 words, and .* names word 20"),
    ):
        directory = make_adapter(
            name,
            config={"trainable_token_indices": {module: words}},
            weights=safetensors_bytes(tensors() | delta),
        )
        if reason is None:
            assert inspect(directory, BASE, sizes).rank == 2
        else:
            with pytest.raises(AdapterRefusedError, match=reason):
                inspect(directory, BASE, sizes)


def test_words_of_a_module_that_the_config_does_not_name_are_refused(make_adapter: MakeAdapter) -> None:
    sizes = base_sizes(16) | {"model.embed_tokens": (8, 20)}
    delta = {f"{WORDS}.token_adapter.trainable_tokens_delta": np.ones((0, 8))}
    directory = make_adapter(
        config={"trainable_token_indices": {"lm_head": [3]}}, weights=safetensors_bytes(tensors() | delta)
    )
    with pytest.raises(AdapterRefusedError, match="names none of it"):
        inspect(directory, BASE, sizes)


def test_a_word_stands_once_among_those_that_were_trained(make_adapter: MakeAdapter) -> None:
    with pytest.raises(AdapterRefusedError, match="names a token twice"):
        inspect(make_adapter(config={"trainable_token_indices": [3, 5, 3]}), BASE)


@pytest.mark.parametrize(
    ("configured", "sizes", "said"),
    [
        (
            None,
            None,
            "for a model it does not name; that tiny-llama is meant was declared and could not be checked",
        ),
        ("/home/user/models/default/1", None, "could not be checked"),
        ("./out", None, "could not be checked"),
        ("other/Name", base_sizes(16), "was declared, and its shapes fit"),
        ("someone/tiny-llama-bnb-4bit", None, "a quantised copy"),
    ],
)
def test_who_declares_the_base_model_is_believed_as_far_as_it_can_be_checked(
    make_adapter: MakeAdapter, configured: str | None, sizes: dict[str, Size] | None, said: str
) -> None:
    directory = make_adapter(config={"base_model_name_or_path": configured})
    (warning,) = inspect(directory, BASE, sizes, declared=True).warnings
    assert said in warning


@pytest.mark.parametrize("configured", [None, "/home/user/models/default/1", "other/Name", "x/tiny-llama-2"])
def test_another_base_model_s_name_is_refused_with_what_to_say(
    make_adapter: MakeAdapter, configured: str | None
) -> None:
    directory = make_adapter(config={"base_model_name_or_path": configured})
    with pytest.raises(AdapterRefusedError, match="--base-model tiny-llama"):
        inspect(directory, BASE)


def test_shapes_decide_whatever_is_declared(make_adapter: MakeAdapter) -> None:
    directory = make_adapter(config={"base_model_name_or_path": "other/Name"})
    with pytest.raises(AdapterRefusedError, match="not at hand"):
        inspect(directory, BASE, declared=True)
    with pytest.raises(AdapterRefusedError, match="is for a weight of"):
        inspect(directory, BASE, base_sizes(17), declared=True)


def cached(root: Path, adapter: Path, folder: str = ".") -> Path:
    """The adapter as a hub's cache keeps it: a snapshot of links to blobs, or a folder of one."""
    repository = root / "models--someone--fixer"
    snapshot, blobs = repository / "snapshots" / ("0" * 40) / folder, repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(adapter.iterdir())):
        blob = str(number).rjust(64, "a")
        path.rename(blobs / blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / blob, snapshot))
    return snapshot


@pytest.mark.parametrize("folder", [".", "checkpoints/20"])
def test_a_snapshot_of_a_hub_s_cache_is_read_through_its_own_links(
    make_adapter: MakeAdapter, tmp_path: Path, folder: str
) -> None:
    directory = make_adapter()
    expected = content_hash(directory)
    snapshot = cached(tmp_path / "hub", directory, folder)
    assert inspect(snapshot, BASE).sha256 == expected
    roots = AdapterRoots.of((tmp_path / "hub",), tmp_path)
    assert roots.locate(roots.uri(snapshot)) == snapshot
    with pytest.raises(AdapterRefusedError, match="outside the adapter root"):
        AdapterRoots((snapshot,)).place(snapshot)


@pytest.mark.parametrize(
    "target", ["../../../elsewhere", "../../blobs/../../elsewhere", "/etc/hostname", "../../blobs/short"]
)
def test_no_other_link_of_a_cache_is_followed(make_adapter: MakeAdapter, tmp_path: Path, target: str) -> None:
    snapshot = cached(tmp_path / "hub", make_adapter())
    link = snapshot / "adapter_config.json"
    (tmp_path / "hub" / "elsewhere").write_bytes(link.read_bytes())
    link.unlink()
    link.symlink_to(target)
    with pytest.raises(AdapterRefusedError, match="symbolic link"):
        inspect(snapshot, BASE)


def test_a_blob_that_is_a_link_is_not_followed(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    snapshot = cached(tmp_path / "hub", make_adapter())
    blob = (snapshot / "adapter_config.json").resolve()
    blob.rename(tmp_path / "moved")
    blob.symlink_to(tmp_path / "moved")
    with pytest.raises(AdapterRefusedError, match="symbolic link"):
        inspect(snapshot, BASE)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(make_adapter: MakeAdapter, name: str) -> None:
    directory = make_adapter()
    (directory / name).unlink()
    with pytest.raises(AdapterRefusedError, match=name):
        inspect(directory, BASE)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_linked_file_is_not_followed(make_adapter: MakeAdapter, name: str, tmp_path: Path) -> None:
    directory = make_adapter()
    (directory / name).rename(tmp_path / name)
    (directory / name).symlink_to(tmp_path / name)
    with pytest.raises(AdapterRefusedError, match="symbolic link"):
        inspect(directory, BASE)


def test_a_pipe_is_refused_and_not_waited_for(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    (directory / "adapter_model.safetensors").unlink()
    os.mkfifo(directory / "adapter_model.safetensors")
    with pytest.raises(AdapterRefusedError, match="not a regular file"):
        inspect(directory, BASE)


def test_a_giant_file_is_refused_unread(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    os.truncate(directory / "adapter_model.safetensors", 2 << 30)
    with pytest.raises(AdapterRefusedError, match="the limit is"):
        inspect(directory, BASE)


def test_no_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(AdapterRefusedError, match="not a directory"):
        inspect(tmp_path / "nowhere", BASE)


def test_the_card_is_kept_and_a_broken_one_refused(make_adapter: MakeAdapter) -> None:
    directory = make_adapter()
    (directory / "card.json").write_text('{"seed": 7}')
    assert inspect(directory, BASE).card == {"seed": 7}
    for broken in (
        '{"seed": NaN}',
        '{"loss": 1e999}',
        '{"notes": ["a\\u0000b"]}',
        '{"a\\u0000": 1}',
        '{"by": "\\ud800"}',
        '{"seed": ' + "1" * 5000 + "}",
    ):
        (directory / "card.json").write_text(broken)
        with pytest.raises(AdapterRefusedError, match=re.escape(f"{directory / 'card.json'}: ")):
            inspect(directory, BASE)
    (directory / "card.json").unlink()
    (directory / "card.json").symlink_to(directory / "nowhere")
    with pytest.raises(AdapterRefusedError, match="a symbolic link is not followed"):
        inspect(directory, BASE)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_changed_byte_is_another_adapter_or_refused(
    data: Any, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    directory = tmp_path / "poisoned"
    if not directory.exists():
        make_adapter("poisoned")
    path = directory / data.draw(st.sampled_from(["adapter_config.json", "adapter_model.safetensors"]))
    original, registered = path.read_bytes(), content_hash(directory)
    place = data.draw(st.integers(0, len(original) - 1))
    changed = bytes([original[place] ^ data.draw(st.integers(1, 255))])
    path.write_bytes(original[:place] + changed + original[place + 1 :])
    try:
        with pytest.raises(AdapterChangedError):
            read_files(directory, registered)
        with suppress(AdapterRefusedError):
            assert inspect(directory, BASE).sha256 != registered
    finally:
        path.write_bytes(original)
