"""The whole path with no more rights than each part needs."""

import pytest
from tests.fix_answering import Stack
from tests.fix_db import RoleUrl

from loradex.errors import PermissionRefusedError, UnknownAnswerError, UnknownJobError
from loradex.service.audit import Audit
from loradex.service.client import Client


def test_worker_and_clients_do_with_their_roles(stack: Stack, role_url: RoleUrl) -> None:
    worker = stack.worker(DATABASE_URL=role_url("loradex_worker")).start()
    alice = Client(role_url("loradex_client", member=True), stack.redis_url)
    bob = Client(role_url("loradex_client", member=True), stack.redis_url)
    with alice, bob:
        answer = alice.enqueue("Is the gate shut?", choices=["yes", "no"]).wait()
        assert answer.choice in {"yes", "no"}
        assert alice.explain(answer.answer_id)["answer_id"] == str(answer.answer_id)

        with pytest.raises(UnknownAnswerError):
            bob.explain(answer.answer_id)
        with pytest.raises(UnknownJobError):
            bob.job(answer.job_id)
        assert bob.enqueue("And the window?", max_new_tokens=2).wait().answer_id != answer.answer_id

    with pytest.raises(PermissionRefusedError), Audit.at(role_url("loradex_client")) as audit:
        audit.head()
    with Audit.at(role_url("loradex_reader")) as audit:
        head = audit.head()
        assert head is not None
        assert head.position == audit.length() == 2
        assert list(audit.breaks()) == []
    assert worker.alive


def test_a_worker_of_another_revision_does_not_start(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "base"
    other.mkdir()
    for file in stack.library.base.iterdir():
        content = file.read_bytes()
        other.joinpath(file.name).write_bytes(
            content if file.suffix != ".safetensors" else content[:-4] + b"\0\0\0\0"
        )
    worker = stack.worker(BASE_MODEL_PATH=str(other))
    worker.start(wait=False)
    assert worker.process is not None

    assert worker.process.wait(60) != 0

    assert "give this one a name of its own" in worker.tail()
    assert "Traceback" not in worker.tail()
    assert not worker.ready_file.exists()


def test_a_worker_that_may_not_register_says_so(stack: Stack, role_url: RoleUrl) -> None:
    worker = stack.worker(DATABASE_URL=role_url("loradex_worker"), BASE_MODEL="nobody-registered-me")
    worker.start(wait=False)
    assert worker.process is not None

    assert worker.process.wait(60) != 0

    assert "connect as a role that may do this" in worker.tail()
    assert "Traceback" not in worker.tail()
