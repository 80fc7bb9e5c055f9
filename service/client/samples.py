"""Several answers to one prompt: the same job, handed in so many times with seeds of their own."""

from dataclasses import replace

from loradex.errors import InvalidArgumentError
from loradex.service.client.request import BIGGEST_BIGINT, Request

MOST_SAMPLES = 16


def samples_of(request: Request, n: int) -> list[Request]:
    """The jobs that give `n` answers to it.

    A job without a seed draws by its id, so these draw differently anyway. With an idempotency key, asking again gives
    the same jobs. A worker reads the prompt once for those that begin together.

    Raises:
        InvalidArgumentError: `n` is no whole number from 1 to 16.
    """
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MOST_SAMPLES:
        raise InvalidArgumentError(f"n: must be a whole number from 1 to {MOST_SAMPLES}")
    if n == 1:
        return [request]
    return [
        replace(
            request,
            seed=seed_of_sample(request.seed, number),
            idempotency_key=request.idempotency_key and key_of_sample(request.idempotency_key, number),
        )
        for number in range(n)
    ]


def seed_of_sample(seed: int | None, number: int) -> int | None:
    """Seeds are counted up, and after the biggest comes 0."""
    return None if seed is None else (seed + number) % (BIGGEST_BIGINT + 1)


def key_of_sample(key: str, number: int) -> str:
    """The idempotency key of one of several jobs that were asked for under one."""
    return f"{key}:{number}"
