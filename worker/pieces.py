"""Tells whoever listens what is written of an answer, while it is written: a thread that talks to Redis, and loses."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from loradex.pieces import (
    KEPT_AFTER_END_SECONDS,
    KEPT_SECONDS,
    LONGEST_PIECE,
    MOST_MESSAGES,
    End,
    Message,
    Piece,
    fields_of,
    place_of,
)
from loradex.wakeup import advice_on, reason_of, redis_url
from loradex.worker.jobs import Job

SOCKET_SECONDS = 2.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
BREATH_SECONDS = 0.01
"""Between two pipelines: what is written meanwhile goes together, and the engine has the processor."""

MOST_CHARACTERS = 4 << 20
"""Of all texts that are being written; what is beyond is not told."""


@dataclass
class _Text:
    """What was written of a job; `sent` characters of it, and its end, went to Redis."""

    place: str
    attempt: int
    text: str = ""
    sent: int = 0
    lost: bool = False
    end: End | None = None


class Pieces:
    """Sends pieces to Redis while it is entered. Calls return at once and raise nothing, whatever Redis does.

    The texts that are being written stay here until they end, so a Redis that was away gets them again from the
    beginning. Memory is bounded: beyond it a text is told no further, and its listeners have the rest from Postgres.

    Args:
        url: Where Redis is.
    """

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            redis_url(url),
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
        )
        self._texts: dict[UUID, _Text] = {}
        self._characters = 0
        self._news: set[UUID] = set()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._failures = 0
        self._log = structlog.get_logger("pieces")
        self._thread = threading.Thread(target=self._run, name="pieces", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stop.set()
            self._changed.notify()
        self._thread.join()
        self._redis.close()

    def put(self, job: Job, text: str) -> None:
        """Tell the listeners of a job what was written after the pieces before; nothing is done where none listen.

        Args:
            job: The attempt that writes; a later one than before begins anew.
            text: The piece, of any length.
        """
        if job.pieces_key is None or not text:
            return
        with self._changed:
            one = self._text_of(job, job.pieces_key)
            if one is None:
                return
            if one.lost or self._characters + len(text) > MOST_CHARACTERS:
                self._lose(one)
                return
            # Postgres stores no NUL either.
            one.text += text.replace("\0", "\ufffd")
            self._characters += len(text)
            self._tell(job.id)

    def end(self, job: Job, answer_id: UUID | None = None) -> None:
        """Tell them that no more comes: this is the answer that was recorded, or there is none."""
        if job.pieces_key is None:
            return
        with self._changed:
            one = self._text_of(job, job.pieces_key)
            if one is not None:
                one.end = End(job.attempt, answer_id)
                self._tell(job.id)

    def leave(self, job: Job) -> None:
        """The job waits again: whoever takes it begins its text anew, and nothing is told of this one any more."""
        with self._changed:
            one = self._texts.get(job.id)
            if one is not None and one.attempt <= job.attempt:
                self._forget(job.id)

    def _text_of(self, job: Job, pieces_key: UUID) -> _Text | None:
        """The text of this attempt, begun if it was not; None where a later one writes already."""
        one = self._texts.get(job.id)
        if one is not None and one.attempt > job.attempt:
            return None
        if one is None or one.attempt < job.attempt:
            self._forget(job.id)
            one = self._texts[job.id] = _Text(place_of(pieces_key), job.attempt)
        return one

    def _tell(self, job: UUID) -> None:
        self._news.add(job)
        self._changed.notify()

    def _lose(self, one: _Text) -> None:
        self._characters -= len(one.text)
        one.text, one.lost = "", True

    def _forget(self, job: UUID) -> None:
        one = self._texts.pop(job, None)
        self._news.discard(job)
        if one is not None:
            self._characters -= len(one.text)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news or self._stop.is_set())
                last, due = self._stop.is_set(), self._due()
            pause = BREATH_SECONDS
            try:
                self._send(due)
            except (RedisError, OSError) as error:
                pause = self._failed(error)
            except Exception:  # noqa: BLE001 - nothing that goes wrong here is worth a worker
                self._log.exception("pieces.failed")
            else:
                self._succeeded()
            if last:
                return
            self._stop.wait(pause)

    def _due(self) -> list[tuple[_Text, list[Message]]]:
        """What is to be told, text by text; what has ended is forgotten here, told or not."""
        due = []
        for job in self._news:
            one = self._texts[job]
            due.append((one, _messages(one)))
            one.sent = len(one.text)
            if one.end is not None:
                self._characters -= len(one.text)
                del self._texts[job]
        self._news.clear()
        return due

    def _send(self, due: Sequence[tuple[_Text, Sequence[Message]]]) -> None:
        with self._redis.pipeline(transaction=False) as several:
            for one, messages in due:
                for message in messages:
                    fields: dict[Any, Any] = dict(fields_of(message))
                    several.xadd(one.place, fields, maxlen=MOST_MESSAGES, approximate=True)
                several.expire(one.place, KEPT_SECONDS if one.end is None else KEPT_AFTER_END_SECONDS)
                several.publish(one.place, "")
            answers = iter(several.execute(raise_on_error=False))
        refused = []
        for one, messages in due:
            said = [next(answers) for _ in (*messages, "expire", "publish")]
            errors = [answer for answer in said if isinstance(answer, Exception)]
            refused += [(one, error) for error in errors[:1]]
        if refused and len(refused) == len(due):
            raise refused[0][1]
        with self._changed:
            for one, error in refused:
                # Its place holds something else. Whoever listens there has the text from Postgres.
                # The place is not logged, since whoever knows it can read there.
                self._log.warning("pieces.refused", reason=reason_of(error))
                if one.end is None:
                    self._lose(one)

    def _failed(self, error: Exception) -> float:
        """Redis may have lost all that was told; the seconds to wait before it is told again from the beginning."""
        if not self._failures:
            self._log.warning("pieces.not_told", reason=reason_of(error), cure=advice_on(error))
        with self._changed:
            for job, one in self._texts.items():
                one.sent = 0
                self._news.add(job)
        pause = SHORTEST_PAUSE * 2.0 ** min(self._failures, 10)
        self._failures += 1
        return min(pause, LONGEST_PAUSE)

    def _succeeded(self) -> None:
        if self._failures:
            self._log.info("pieces.told_again", tries=self._failures)
        self._failures = 0


def _messages(one: _Text) -> list[Message]:
    found: list[Message] = [
        Piece(one.attempt, at, one.text[at : at + LONGEST_PIECE])
        for at in range(one.sent, len(one.text), LONGEST_PIECE)
    ]
    return [*found, one.end] if one.end is not None else found
