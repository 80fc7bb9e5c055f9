"""`Stream` for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loradex.errors import ClientClosedError, LoradexError
from loradex.service.client.answer import Answer
from loradex.service.client.outcome import JobOutcome
from loradex.service.client.transcript import Transcript

if TYPE_CHECKING:
    from loradex.service.client.async_job import AsyncJob


class AsyncStream:
    """The pieces of one text, each as soon as it is there; see `Stream`.

    Attributes:
        job: The job that is answered; None before the first piece is asked for, or `async with` is entered.
        answer: The answer of record, from Postgres; None before the end.

    Args:
        handed_in: Hands the job in, or waits until it is; once begun that is not broken off.
        keep: Has work done though nobody waits for it.
        timeout: Seconds until the answer must be there; None waits for ever.
        cancel: Whether a stream that is left before its end cancels its job.
    """

    def __init__(
        self,
        handed_in: "Callable[[], Awaitable[AsyncJob]]",
        *,
        keep: Callable[[Coroutine[Any, Any, None]], None],
        timeout: float | None,
        cancel: bool,
    ) -> None:
        self.job: AsyncJob | None = None
        self.answer: Answer | None = None
        self._handed_in = handed_in
        self._keep = keep
        self._handing = self._left = False
        self._seconds = timeout
        self._cancel = cancel
        self._closed = self._reading = False
        self._heard: asyncio.Queue[Any] | None = None
        self._transcript = Transcript()
        self._pieces = self._told()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """The next piece. Raises as `Stream.__next__` does, and at the first one as `AsyncClient.enqueue`."""
        self._reading = True
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            raise
        except BaseException:
            # Whoever reads on goes on behind what was said: a text that was broken off must not look whole.
            if self.answer is None and not self._closed:
                self._pieces = self._told()
            raise
        finally:
            self._reading = False

    async def __aenter__(self) -> Self:
        await self._begun()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Listen no more; the job goes on unless it was to be cancelled.

        What is being handed in by another task, whose reading this ends, is cancelled as soon as it has an id.
        """
        self._closed = True
        if self._cancel and self._handing:
            self._leave()
            return
        try:
            if not self._reading:
                await self._pieces.aclose()
            elif self._heard is not None and not self._cancel:
                self._heard.put_nowait(_closed())
        finally:
            if self._cancel and self.job is not None and self.job.ended is None:
                await self.job.cancel()

    async def _begun(self) -> "AsyncJob":
        if self.job is None:
            self._handing = True
            try:
                self.job = await self._handed_in()
            except asyncio.CancelledError:
                if self._cancel:
                    self._leave()
                raise
            finally:
                self._handing = False
        return self.job

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._keep(self._cancelled())

    async def _cancelled(self) -> None:
        """Cancel the job that is being handed in, once that is done; there is none where it was refused."""
        with suppress(LoradexError):
            await (await self._handed_in()).cancel()

    async def _told(self) -> AsyncGenerator[str]:
        job = await self._begun()
        async with aclosing(job.told(self._seconds, self._listens)) as heard:
            async for told in heard:
                if isinstance(told, JobOutcome):
                    self.answer = told.answered()
                    if rest := self._transcript.settle(self.answer, told.attempt):
                        yield rest
                elif piece := self._transcript.hear(told):
                    yield piece

    def _listens(self, heard: "asyncio.Queue[Any]") -> None:
        self._heard = heard
        if self._closed and not self._cancel:
            heard.put_nowait(_closed())


def _closed() -> ClientClosedError:
    """What whoever reads is told."""
    return ClientClosedError("the stream was closed by another task")
