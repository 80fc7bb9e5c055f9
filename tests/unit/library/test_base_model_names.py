"""What adapters' configs call a base model; the forms are those of real ones, the names are not."""

import pytest

from loradex.library.base_model_names import is_local, matched

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("configured", ["Other/Name", "other/name/", "/models/Nickname", "x/nickname/1"])
def test_an_alias_is_a_whole_name_or_the_last_part_of_one(configured: str) -> None:
    aliases = frozenset({"other/name", "nickname"})
    assert matched(configured, "small-1b", aliases) is not None
    assert matched("third/name", "small-1b", aliases) is None


@pytest.mark.parametrize(
    ("configured", "name"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("smollm2-135m-instruct", "SmolLM2-135M-Instruct"),
        ("/models/smollm2-135m-instruct/", "smollm2-135m-instruct"),
        ("C:\\models\\smollm2-135m-instruct", "smollm2-135m-instruct"),
        (f"/home/user/.cache/hub/models--org--Small-1B/snapshots/{COMMIT}", "small-1b"),
        (f"models--Small-1B/snapshots/{COMMIT}/", "small-1b"),
        ("C:\\cache\\models--org--Small-1B\\snapshots\\main", "small-1b"),
        ("/home/user/models/Small2___5-1___5B-Chat", "small2.5-1.5b-chat"),
        ("/kaggle/input/small/transformers/small-1b-chat/1", "small-1b-chat"),
        ("/kaggle/input/small/transformers/1b-chat/12", "small-1b-chat"),
        ("/kaggle/input/small-1b/PyTorch/default/1", "small-1b"),
        ("/home/user/.cache/hub/models--org--Small-1B", "small-1b"),
    ],
)
def test_one_model_has_many_names(configured: str, name: str) -> None:
    found = matched(configured, name)
    assert found is not None
    assert found.warning is None


@pytest.mark.parametrize(
    "copy",
    [
        "-bnb-4bit",
        "-bnb-8bit",
        "-unsloth-bnb-4bit",
        "-AWQ",
        "-GPTQ",
        "-GPTQ-Int4",
        "-awq-int4",
        "-gptq-INT8",
        "-FP8-dynamic",
        "-4bit",
        "-quantized.w4a16",
        "-GPTQ-4bit-128g",
        "-GGUF",
    ],
)
def test_a_quantised_copy_is_the_model_with_a_warning(copy: str) -> None:
    found = matched(f"someone/Small-1B{copy}", "small-1b")
    assert found is not None
    assert "a quantised copy" in str(found.warning)
    assert matched(f"someone/Small-1B{copy}", f"small-1b{copy}") is not None


@pytest.mark.parametrize(
    ("configured", "name"),
    [
        (None, "small-1b"),
        ("", "small-1b"),
        ("/", "small-1b"),
        ("org/Small-2B", "small-1b"),
        ("org/Small-1B-Instruct", "small-1b"),
        ("org/Small-1B", "small-1b-instruct"),
        ("org/Small-1B-4bit-tuned", "small-1b"),
        ("/home/user/models/default/1", "1b"),
        ("/kaggle/input/small-1b/transformers/other/1", "small-1b"),
        ("org/Small-1B-dynamic", "small-1b"),
        ("org/Small-1B-unsloth", "small-1b"),
        ("/home/user/small-1b/checkpoints", "small-1b"),
        (f"models--org--Small-1B/blobs/{COMMIT}", "small-1b"),
    ],
)
def test_another_model_is_not_taken_for_it(configured: str | None, name: str) -> None:
    assert matched(configured, name) is None


@pytest.mark.parametrize(
    ("configured", "local"),
    [
        (None, True),
        ("/home/user/x", True),
        ("./x", True),
        ("~/x", True),
        ("C:\\x", True),
        ("a/b/c", True),
        ("org/name", False),
        ("name", False),
    ],
)
def test_a_folder_is_told_from_a_name_of_a_hub(configured: str | None, local: bool) -> None:
    assert is_local(configured) is local
