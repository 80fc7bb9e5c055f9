"""A real stack whose worker has vLLM: a program of the other environment, which `make test-vllm` names."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.fix_answering import Stack, StackOn
from tests.fix_models import WIDTHS
from tests.repository import ROOT
from tests.stocked import TASKS
from tests.tiny_library import TinyLibrary, build_tiny_library
from tests.worker_process import WorkerProcess

PYTHON = os.environ.get("LORADEX_TEST_VLLM_PYTHON")
WITH_VLLM = {
    "ENGINE": "vllm",
    "DTYPE": "float32",
    "BATCH_BYTES": str(64 << 20),
    "VLLM_ARGUMENTS": json.dumps({"enforce_eager": True, "max_num_seqs": 16}),
}
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "src"), "TORCH_COMPILE_DISABLE": "1"}

# In `make test` there is nothing to collect.
collect_ignore_glob = [] if PYTHON else ["test_*.py"]


def python() -> str:
    """The program that has vLLM."""
    return str(ROOT / str(PYTHON))


@contextmanager
def wider_heads() -> Iterator[None]:
    """Tiny models have heads as wide as vLLM's kernels want them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, width in (("hidden_size", 64), ("num_attention_heads", 2), ("num_key_value_heads", 1)):
            patch.setitem(WIDTHS, name, width)
        yield


@pytest.fixture(scope="session")
def tiny_library(tmp_path_factory: pytest.TempPathFactory) -> TinyLibrary:
    with wider_heads():
        return build_tiny_library(tmp_path_factory.mktemp("wider"), TASKS)


@pytest.fixture(scope="session")
def with_vllm(stack_on: StackOn) -> Iterator[tuple[Stack, WorkerProcess]]:
    """A stack, and its worker with vLLM."""
    with stack_on("vllm") as stack:
        worker = stack.worker(**WITH_VLLM)
        worker.python, worker.environment = python(), ENVIRONMENT
        worker.start()
        yield stack, worker
