"""What runs around each call that enqueues tasks: it may give them headers, and learns their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from ..statements import Statement

__all__ = ["EnqueueCall", "EnqueueMiddleware", "around_enqueue"]

T = TypeVar("T")


@dataclass(kw_only=True)
class EnqueueCall:
    """A call that enqueues tasks, as an enqueue middleware sees it.

    count    how many tasks it enqueues, callbacks of a batch not counted
    queue    their queue, if the call names one for all of them; without a queue a task goes to that of its job
    job      their job, if the call names one for all of them
    headers  to be filled before the `yield`: headers for all of these tasks. Those that a task has already stay
    answer   what the call returns, after the `yield`: an id, or a list of them. None if it has failed
    """

    count: int
    queue: str | None
    job: str | None
    headers: dict[str, Any] = field(default_factory=dict)
    answer: Any = None


EnqueueMiddleware: TypeAlias = Callable[[EnqueueCall], AbstractContextManager[Any]]


@dataclass
class _Around(Generic[T]):
    """The statement to run instead of the given one. Call `done` with its answer."""

    statement: Statement[T]
    _call: EnqueueCall | None

    def done(self, answer: T) -> T:
        """Let the middleware know the answer. Returns it."""
        if self._call is not None:
            self._call.answer = answer
        return answer


@contextmanager
def around_enqueue(middleware: Sequence[EnqueueMiddleware], statement: Statement[T]) -> Iterator[_Around[T]]:
    """Run middleware around a statement, the first one outermost, if the statement enqueues tasks."""
    new_tasks = statement.new_tasks
    if new_tasks is None or not middleware:
        yield _Around(statement, None)
        return
    call = EnqueueCall(count=new_tasks.count, queue=new_tasks.queue, job=new_tasks.job)
    with ExitStack() as stack:
        for make in middleware:
            stack.enter_context(make(call))
        yield _Around(new_tasks.with_headers(call.headers) if call.headers else statement, call)
