"""An answer as it is written: an iterator of pieces of its text."""

from collections.abc import Generator
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loradex.errors import ClientClosedError
from loradex.service.client.answer import Answer
from loradex.service.client.outcome import JobOutcome
from loradex.service.client.transcript import Transcript

if TYPE_CHECKING:
    from loradex.service.client.job import Job


class Stream:
    """The pieces of one text, each as soon as it is there: joined they are the text of the answer.

    They come through Redis; what it loses comes from Postgres, at the end at the latest. A job whose text is not told
    while it is written gives one piece.

    Attributes:
        job: The job that is answered.
        answer: The answer of record, from Postgres; None before the end.
    """

    def __init__(self, job: "Job", *, timeout: float | None, cancel: bool) -> None:
        self.job = job
        self.answer: Answer | None = None
        self._seconds = timeout
        self._cancel = cancel
        self._closed = False
        self._heard: SimpleQueue[Any] | None = None
        self._transcript = Transcript()
        self._pieces = self._told()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """The next piece; it is waited for.

        Raises:
            JobFailedError: The job ended as failed; `JobCancelledError` and `JobExpiredError` are two of its kinds.
            StreamDiffersError: What was told is not the answer's text; `answer` has the one of record.
            WaitTimeoutError: There is no answer yet after `timeout` seconds; the job goes on.
            DatabaseUnavailableError: Postgres was away when the time was over.
            ClientClosedError: The client was closed, or the stream by another thread.
        """
        try:
            return next(self._pieces)
        except StopIteration:
            raise
        except BaseException:
            # Whoever reads on goes on behind what was said: a text that was broken off must not look whole.
            if self.answer is None and not self._closed:
                self._pieces = self._told()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more; the job goes on unless it was to be cancelled. Another thread may call it."""
        self._closed = True
        try:
            self._pieces.close()
        except ValueError:
            # Another thread reads, and is told: that the job was cancelled, or this.
            if self._heard is not None and not self._cancel:
                self._heard.put(_closed())
        finally:
            if self._cancel and self.job.ended is None:
                self.job.cancel()

    def _told(self) -> Generator[str]:
        for told in self.job.told(self._seconds, self._listens):
            if isinstance(told, JobOutcome):
                self.answer = told.answered()
                if rest := self._transcript.settle(self.answer, told.attempt):
                    yield rest
            elif piece := self._transcript.hear(told):
                yield piece

    def _listens(self, heard: "SimpleQueue[Any]") -> None:
        self._heard = heard
        if self._closed and not self._cancel:
            heard.put(_closed())


def _closed() -> ClientClosedError:
    """What whoever reads is told."""
    return ClientClosedError("the stream was closed by another thread")
