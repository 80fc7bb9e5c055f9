"""Which steps of a job wait until the disk has them: those that nothing could bring back."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.world import World


@contextmanager
def waits_for_the_disk(world: World, *, expected: bool) -> Iterator[None]:
    with world.connection.transaction():
        yield
        assert world.rows("show synchronous_commit") == [("on" if expected else "off",)]
    assert world.rows("show synchronous_commit") == [("on",)], "only that transaction"


def test_jobs_and_answers_are_kept_and_steps_between_can_be_done_again(world: World) -> None:
    with waits_for_the_disk(world, expected=True):
        (job,) = world.enqueue({})
    with waits_for_the_disk(world, expected=False):
        attempts = world.claim()
    with waits_for_the_disk(world, expected=False):
        routings = world.route([job], [world.near("clouds")])
    with waits_for_the_disk(world, expected=True):
        world.record(job, attempts[job], routings[job])
