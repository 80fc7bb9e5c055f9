"""Several processes that measure the tasks of one plan side by side, each with models of its own."""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.queues import Queue
from queue import Empty

from loradex.errors import EvaluationFailedError, LoradexError
from loradex.evaluation.cells import Cell
from loradex.evaluation.pages import keep_freed_pages

NAME = "loradex-evaluation"
"""What its processes are called in this one."""

LOOKS_PER_SECOND = 2
"""How often the parent looks whether its processes live."""


@dataclass(frozen=True)
class Step:
    """Share of a case that was done since the last time."""

    name: str
    done: float


@dataclass(frozen=True)
class ProcessFailed:
    """Why a process cannot go on; an error itself may not travel between processes."""

    text: str


Message = Cell | Step | ProcessFailed | None
Measure = Callable[[Iterator[str], Callable[[str, float], None]], Iterator[Cell]]
"""Takes the names of tasks, one after the other, to their cells; it must be picklable."""


def side_by_side(
    measure: Measure, tasks: Sequence[str], count: int, advance: Callable[[str, float], None]
) -> Iterator[Cell]:
    """Yield the cells of the tasks as they come; `count` processes take the next task when they are done.

    Raises:
        EvaluationFailedError: A process died or met an error; the others are stopped.
    """
    # torch is imported once, by a server that has no threads yet, and every process is a copy of it.
    context = get_context("forkserver")
    context.set_forkserver_preload(["loradex.evaluation.session"])
    waiting: Queue[str | None] = context.Queue()
    messages: Queue[Message] = context.Queue()
    for name in (*tasks, *(None for _ in range(count))):
        waiting.put(name)
    processes = [
        context.Process(target=_work, args=(measure, waiting, messages), name=f"{NAME}-{number}", daemon=True)
        for number in range(1, count + 1)
    ]
    for process in processes:
        process.start()
    try:
        working = count
        while working:
            try:
                message = messages.get(timeout=1 / LOOKS_PER_SECOND)
            except Empty:
                if any(process.exitcode for process in processes):
                    raise EvaluationFailedError(
                        "a process of the evaluation was killed; is there memory for so many? "
                        "Try fewer --processes: the same command goes on where it stopped"
                    ) from None
                continue
            if isinstance(message, Step):
                advance(message.name, message.done)
            elif isinstance(message, Cell):
                yield message
            elif isinstance(message, ProcessFailed):
                raise EvaluationFailedError(message.text)
            else:
                working -= 1
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(measure: Measure, waiting: "Queue[str | None]", messages: "Queue[Message]") -> None:
    """One process: until there is no task left, or no parent to hear of it."""
    keep_freed_pages()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told to stop, and stops its processes

    parent = parent_process()

    def tell(name: str, done: float) -> None:
        if parent is not None and not parent.is_alive():
            raise SystemExit
        messages.put(Step(name, done))

    try:
        for cell in measure(iter(waiting.get, None), tell):
            messages.put(cell)
        messages.put(None)
    except LoradexError as error:
        messages.put(ProcessFailed(str(error)))
