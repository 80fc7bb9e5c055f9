"""Questions as real jobs: through client, Redis, worker and Postgres, each with its provenance."""

from collections.abc import Callable

from loradex.errors import InvalidArgumentError
from loradex.evaluation.methods import RIVALS
from loradex.evaluation.plan import Case
from loradex.evaluation.routing import Routing
from loradex.evaluation.scoring import Outcome
from loradex.evaluation.subject import Subject
from loradex.service.client import Client

PATIENCE_SECONDS = 3600.0


class AsJobs:
    """Hands every question in and waits for its answer.

    Args:
        client: Of a stack whose worker runs.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def ask(
        self, subject: Subject, case: Case, *, written: bool, advance: Callable[[int], None]
    ) -> tuple[list[Routing], list[Outcome]]:
        """How each question was routed, and what came out; `advance` is told how many are done.

        Raises:
            InvalidArgumentError: The method is none of a job's.
            JobFailedError: A job ended as failed.
            WaitTimeoutError: No answer came.
        """
        if case.method in RIVALS:
            raise InvalidArgumentError(f"{case.method} is not a method of jobs; leave --as-jobs out")
        routings, outcomes = [], []
        for job in self._client.enqueue_many(subject.requests(case, written=written)):
            answer = job.wait(PATIENCE_SECONDS)
            # How it was merged is the worker's business; only what was chosen is looked at here.
            routings.append(
                Routing(
                    merge="cat",
                    calibrated=False,
                    density=1.0,
                    mixture=answer.mixture,
                    distribution=answer.distribution,
                )
            )
            outcomes.append(Outcome(answer.scores, None if answer.choices else answer.text))
            advance(1)
        return routings, outcomes
