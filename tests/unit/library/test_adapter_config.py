import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from tests.fix_adapters import CONFIG

from loradex.errors import AdapterRefusedError
from loradex.library.adapter_config import EXACT, MAX_RANK, READ, SILENT, is_named, parse_config


def config(**changes: Any) -> bytes:
    return json.dumps({**CONFIG, **changes}).encode()


def test_every_key_that_peft_writes_is_known() -> None:
    assert LoraConfig().to_dict().keys() <= SILENT | READ | EXACT.keys()


def test_what_peft_writes_by_default_is_accepted() -> None:
    fields = LoraConfig(
        target_modules=["q_proj"], base_model_name_or_path="tiny", task_type="CAUSAL_LM"
    ).to_dict()
    settings = parse_config(json.dumps(fields, default=list).encode())
    assert (settings.rank, settings.alpha, settings.target_modules) == (8, 8.0, ("q_proj",))


def test_the_settings_are_read() -> None:
    settings = parse_config(config())
    assert (settings.base_model, settings.rank, settings.alpha) == ("someone/Tiny-Llama", 2, 4.0)
    assert settings.target_modules == ("down_proj", "q_proj")
    assert settings.scaling == 2.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'"),
        ({"use_rslora": True}, "rsLoRA"),
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": 1}, "init_lora_weights"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"target_parameters": ["w"]}, "target_parameters"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"task_type": "SEQ_CLS"}, "task_type"),
        ({"shiny_new_key": 1}, "no key 'shiny_new_key'"),
        ({"r": 0}, "r = 0"),
        ({"r": True}, "r = True"),
        ({"r": MAX_RANK + 1}, "not a rank"),
        ({"r": 10**400}, "not a rank"),
        ({"lora_alpha": -1}, "lora_alpha"),
        ({"lora_alpha": 10**400}, "lora_alpha"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"target_modules": "all-linear"}, "target_modules"),
        ({"target_modules": []}, "target_modules"),
        ({"target_modules": [1]}, "target_modules"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path"),
    ],
)
def test_what_cannot_be_composed_exactly_is_refused_with_the_reason(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AdapterRefusedError, match=reason):
        parse_config(config(**changes))


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
    assert settings.target_modules


@pytest.mark.parametrize(
    ("configured", "name", "same"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct", True),
        ("/models/smollm2-135m-instruct/", "smollm2-135m-instruct", True),
        ("C:\\models\\smollm2-135m-instruct", "smollm2-135m-instruct", True),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", "smollm2-135m-instruct", False),
        ("", "smollm2-135m-instruct", False),
    ],
)
def test_a_base_model_is_known_by_the_last_part_of_its_path(configured: str, name: str, same: bool) -> None:
    assert is_named(configured, name) is same
