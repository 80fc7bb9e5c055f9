"""Who waits for a job with which API key, and who is told."""

from uuid import uuid4

from loradex.errors import KeyRefusedError
from loradex.service.client.outcome import JobOutcome
from loradex.service.client.waiting import Ended, Waiting

JOB = uuid4()
ENDED = JobOutcome(JOB, "cancelled", "job_cancelled", "she did", None, 0)


def test_a_refused_key_is_nothing_to_those_who_wait_with_others() -> None:
    waiting = Waiting()
    told: dict[str | None, list[Ended]] = {"hers": [], "his": [], None: []}
    refused = KeyRefusedError("revoked")
    with (
        waiting.watch([JOB], told["hers"].append, "hers"),
        waiting.watch([JOB], told["his"].append, "his"),
        waiting.watch([JOB], told[None].append),
    ):
        assert waiting.by_key([JOB]) == {"hers": [JOB], "his": [JOB], None: [JOB]}
        waiting.refuse(refused, [JOB], "hers")
        assert told == {"hers": [refused], "his": [], None: []}
        assert waiting.by_key([JOB]) == {"his": [JOB], None: [JOB]}
        waiting.deliver(ENDED, "his")
        assert told == {"hers": [refused], "his": [ENDED], None: []}
    assert not waiting


def test_who_leaves_takes_nobody_along() -> None:
    waiting = Waiting()
    told: list[Ended] = []
    with waiting.watch([JOB], told.append, "hers"):
        with waiting.watch([JOB], told.append, "his"):
            pass
        assert waiting.all() == [JOB]
        assert waiting.by_key([JOB]) == {"hers": [JOB]}
        closed = RuntimeError("closed")
        waiting.fail(closed)
    assert told == [closed]
    assert not waiting
