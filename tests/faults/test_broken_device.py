"""A worker whose device breaks for good ends by itself; the job that broke it fails, and no other."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fix_answering import Stack, StackOn
from tests.worker_process import WorkerProcess

from loradex.errors import JobFailedError

POISON = "poison"
MAX_ATTEMPTS = 2

BREAKS = f"""
import sys
import torch
from loradex.worker.__main__ import main
from loradex.worker.engine.forward import Forward
from loradex.worker.engine.text import Text

prompts, tokens = Forward.prompts, Text.prompt
poisonous = set()

def read(self, text, *more):
    ids = tokens(self, text, *more)
    if {POISON!r} in str(text):
        poisonous.add(tuple(ids))
    return ids

def broken(self, ids, view):
    if poisonous.intersection(map(tuple, ids)):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    return prompts(self, ids, view)

Text.prompt, Forward.prompts = read, broken
sys.exit(main())
"""


@pytest.fixture
def site(stack_on: StackOn) -> Iterator[Stack]:
    with stack_on("broken") as made:
        yield made


def start(site: Stack, program: Path) -> WorkerProcess:
    worker = site.worker(LEASE_SECONDS="1", MAX_ATTEMPTS=str(MAX_ATTEMPTS))
    worker.within = (sys.executable, str(program))
    return worker.start(wait=False)


def ended_with(worker: WorkerProcess) -> int:
    assert worker.process is not None
    return worker.process.wait(90)


def test_a_job_that_breaks_the_device_ends_its_workers_and_fails_alone(site: Stack, tmp_path: Path) -> None:
    program = tmp_path / "breaks.py"
    program.write_text(BREAKS)
    with site.client() as client:
        innocent = [client.enqueue(f"question {number}", max_new_tokens=20) for number in range(3)]
        poison = client.enqueue(POISON, max_new_tokens=4)
        ended = []
        while len(ended) < MAX_ATTEMPTS:
            worker = start(site, program)
            ended.append(ended_with(worker))
            assert '"code": "device_broken"' in worker.tail()
        # Whoever starts it anew does so a last time.
        start(site, program)
        for job in innocent:
            job.wait(60)
        with pytest.raises(JobFailedError) as failed:
            poison.wait(60)
    assert failed.value.code == "too_many_attempts"
    assert ended == [1] * MAX_ATTEMPTS
