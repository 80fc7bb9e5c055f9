"""A real stack whose worker has vLLM: a program of the other environment, which `make test-vllm` names."""

import os

import pytest
from tests.fix_models import WIDTHS
from tests.stocked import TASKS
from tests.tiny_library import TinyLibrary, build_tiny_library

PYTHON = os.environ.get("LORADEX_TEST_VLLM_PYTHON")

# In `make test` there is nothing to collect.
collect_ignore_glob = [] if PYTHON else ["test_*.py"]


@pytest.fixture(scope="session")
def tiny_library(tmp_path_factory: pytest.TempPathFactory) -> TinyLibrary:
    """As everywhere, with heads as wide as vLLM's kernels want them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, width in (("hidden_size", 64), ("num_attention_heads", 2), ("num_key_value_heads", 1)):
            patch.setitem(WIDTHS, name, width)
        return build_tiny_library(tmp_path_factory.mktemp("wider"), TASKS)
