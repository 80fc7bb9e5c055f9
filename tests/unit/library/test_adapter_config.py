import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft import IA3Config, LoHaConfig, LoraConfig, PeftType
from tests.fix_adapters import CONFIG
from tests.repository import ROOT

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_config import MAX_RANK, parse_config
from loradex.library.adapter_forms import FORMS
from loradex.library.adapter_keys import EXACT, KEYS, READ, SILENT
from loradex.library.adapter_refused import REFUSED
from loradex.library.kinds_page import written


def config(**changes: Any) -> bytes:
    return json.dumps({**CONFIG, **changes}).encode()


def test_every_key_that_peft_writes_is_known() -> None:
    assert LoraConfig().to_dict().keys() <= SILENT | READ | EXACT.keys()
    for kind, config_of in (("LOHA", LoHaConfig), ("IA3", IA3Config)):
        known = KEYS[kind]
        assert config_of().to_dict().keys() == known.silent | known.read | known.exact.keys()


def test_the_square_of_a_loha_s_rank_is_bounded() -> None:
    fields = LoHaConfig(r=16, alpha=4, target_modules=["q_proj"], base_model_name_or_path="tiny").to_dict()
    settings = parse_config(json.dumps(fields, default=list).encode())
    assert (settings.rank, settings.scaling_of("q_proj"), settings.form.product_rank(16)) == (
        16,
        0.25,
        MAX_RANK,
    )
    with pytest.raises(AdapterRefusedError, match="not a rank from 1 to 16"):
        parse_config(json.dumps(fields | {"r": 17}, default=list).encode())


def test_what_peft_writes_by_default_is_accepted() -> None:
    fields = LoraConfig(
        target_modules=["q_proj"], base_model_name_or_path="tiny", task_type="CAUSAL_LM"
    ).to_dict()
    settings = parse_config(json.dumps(fields, default=list).encode())
    assert (settings.rank, settings.alpha, settings.targets) == (8, 8.0, ("q_proj",))


def test_the_settings_are_read() -> None:
    settings = parse_config(config())
    assert (settings.base_model, settings.rank, settings.alpha) == ("someone/Tiny-Llama", 2, 4.0)
    assert settings.targets == ("down_proj", "q_proj")
    assert settings.scaling_of("model.layers.0.self_attn.q_proj") == 2.0


def test_each_module_has_its_own_rank_and_scale() -> None:
    settings = parse_config(
        config(
            r=4,
            lora_alpha=8,
            use_rslora=True,
            rank_pattern={r"layers\.(0|1)\.self_attn.q_proj": 16, "q_proj": 9},
            alpha_pattern={"model.layers.0.self_attn.q_proj": 2},
        )
    )
    names = [f"model.layers.{layer}.self_attn.q_proj" for layer in range(3)] + ["model.layers.0.mlp.up_proj"]
    assert [settings.rank_of(name) for name in names] == [16, 16, 9, 4]
    assert [settings.scaling_of(name) for name in names] == [2 / 4, 8 / 4, 8 / 3, 8 / 2]


def test_a_key_of_a_later_peft_that_says_nothing_is_left_out() -> None:
    settings = parse_config(config(use_new=False, new_config=None, new_pattern={}, new_list=[]))
    assert settings.left_out == ("new_config", "new_list", "new_pattern", "use_new")


@pytest.mark.parametrize(
    "changes",
    [
        # PEFT up to 0.2 wrote these.
        {"enable_lora": None, "merge_weights": False, "fan_in_fan_out": None},
        {"rank_pattern": {"q_proj": 2}},
        {"init_lora_weights": "eva", "eva_config": {"rho": 2.0}},
        # What PEFT writes once it converted them.
        {"corda_config": {"corda_method": "kpm"}},
        {"lora_ga_config": {"direction": "ArBr"}},
        {"loftq_config": {"loftq_bits": 4}},
        {"modules_to_save": ["lm_head", "embed_tokens"]},
        {"trainable_token_indices": [1, 2]},
        {"trainable_token_indices": {"embed_tokens": [1], "lm_head": [2]}, "target_modules": None},
        {"alora_invocation_tokens": [5, 6]},
        {"init_lora_weights": "mica"},
        {"use_rslora": True},
        {"fan_in_fan_out": True},
        {"base_model_name_or_path": None},
        {"bias": "all"},
        {"task_type": "SEQ_2_SEQ_LM"},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.(q_proj|v_proj)"},
        {"target_modules": [f"layers.{number}.q_proj" for number in range(500)]},
    ],
)
def test_what_changes_only_names_ranks_and_scales_is_accepted(changes: dict[str, Any]) -> None:
    parse_config(config(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peft_type": "OFT"}, "peft_type is 'OFT', not LORA or LOHA or IA3: .* train a LoRA instead"),
        ({"peft_type": "LOHA"}, "LOHA has no key 'bias'"),
        ({"use_dora": "yes"}, "use_dora"),
        ({"bias": "some"}, "bias"),
        ({"modules_to_save": "lm_head"}, "modules_to_save"),
        ({"modules_to_save": [1]}, "modules_to_save"),
        ({"modules_to_save": ["score"]}, "score, which writes no text"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": 1}, "init_lora_weights"),
        ({"target_parameters": ["w"]}, "target_parameters"),
        ({"trainable_token_indices": [-1]}, "trainable_token_indices"),
        ({"trainable_token_indices": {"embed_tokens": []}}, "trainable_token_indices"),
        ({"trainable_token_indices": list(range(MAX_RANK + 1))}, "list of 1 to 256 numbers"),
        ({"alora_invocation_tokens": []}, "alora_invocation_tokens"),
        ({"alora_invocation_tokens": [True]}, "alora_invocation_tokens"),
        (
            {"alora_invocation_tokens": [1], "use_dora": True},
            "plain factors alone, and this adapter has magnitude",
        ),
        ({"task_type": "SEQ_CLS"}, "task_type"),
        ({"shiny_new_key": 1}, "no key 'shiny_new_key'"),
        ({"shiny_new_key": 0}, "no key 'shiny_new_key'"),
        ({"shiny_new_key": True}, "no key 'shiny_new_key'"),
        ({"shiny_new_key": {"a": None}}, "no key 'shiny_new_key'"),
        ({"r": 0}, "r = 0"),
        ({"r": True}, "r = True"),
        ({"r": MAX_RANK + 1}, "not a rank"),
        ({"r": 10**400}, "not a rank"),
        ({"lora_alpha": -1}, "lora_alpha"),
        ({"lora_alpha": 10**400}, "lora_alpha"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"enable_lora": [True]}, "enable_lora"),
        ({"merge_weights": True}, "merge_weights"),
        ({"use_rslora": 1}, "use_rslora"),
        ({"fan_in_fan_out": "yes"}, "fan_in_fan_out"),
        ({"rank_pattern": {"q_proj": 0}}, "rank_pattern = 0"),
        ({"rank_pattern": {"q_proj": 2.5}}, "rank_pattern = 2.5"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": "8"}}, "alpha_pattern"),
        ({"alpha_pattern": {"(a+)+$": 8}}, "alpha_pattern has the pattern"),
        ({"alpha_pattern": {"(a|aa)" * 40 + "b": 8}}, "alpha_pattern has the pattern"),
        ({"alpha_pattern": {"(a|.)" * 40 + "b": 8}}, "alpha_pattern has the pattern"),
        ({"alpha_pattern": {r"(\.a|\.ab)(\.a|\.ab)": 8}}, "alpha_pattern has the pattern"),
        ({"alpha_pattern": {"((a|b)|c)": 8}}, "alpha_pattern has the pattern"),
        ({"alpha_pattern": {"(a|b)?" * 20: 8}}, "alpha_pattern has the pattern"),
        ({"rank_pattern": {".*.*x": 8}}, "rank_pattern has the pattern"),
        ({"rank_pattern": {"(": 8}}, "rank_pattern has the pattern"),
        ({"rank_pattern": {"q" * 300: 8}}, "rank_pattern has the pattern"),
        ({"rank_pattern": {str(number): 8 for number in range(3000)}}, "3000 patterns"),
        ({"init_lora_weights": "pissa_niter_4"}, "path_initial_model_for_weight_conversion"),
        ({"base_model_name_or_path": " "}, "base_model_name_or_path"),
        ({"base_model_name_or_path": 3}, "base_model_name_or_path"),
        ({"target_modules": ""}, "target_modules"),
        ({"target_modules": []}, "target_modules"),
        ({"target_modules": [1]}, "target_modules"),
    ],
)
def test_what_cannot_be_composed_exactly_is_refused_with_the_reason(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AdapterRefusedError, match=reason):
        parse_config(config(**changes))


def test_the_page_has_the_tables_that_the_code_makes() -> None:
    page = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
    assert written(page) == page, "run python -m loradex.library.kinds_page docs/adapters.md"


def test_every_kind_of_peft_is_accepted_or_refused_by_name() -> None:
    assert FORMS.keys() | REFUSED.keys() == {kind.value for kind in PeftType}
    assert not FORMS.keys() & REFUSED.keys()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff{}",
        b'{"r": 1, "r": 2}',
        b'{"lora_alpha": NaN}',
        b'{"lora_alpha": 1e999}',
        b"[" * 100_000,
        b'{"r": ' + b"9" * 5000 + b"}",
    ],
)
def test_broken_json_is_refused(raw: bytes) -> None:
    with pytest.raises(AdapterRefusedError, match=r"adapter_config\.json"):
        parse_config(raw)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(sorted(SILENT | READ | EXACT.keys())) | st.text(max_size=8), values, max_size=5
    )
)
def test_any_config_is_accepted_in_bounds_or_refused(changes: dict[str, Any]) -> None:
    try:
        settings = parse_config(config(**changes))
    except AdapterRefusedError:
        return
    assert 1 <= settings.rank <= MAX_RANK
    assert settings.alpha > 0
    assert settings.targets is None or settings.targets
