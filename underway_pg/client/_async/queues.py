"""The calls about queues, jobs and workers."""

from __future__ import annotations

from typing import Any

from ... import statements
from ...models import JobStats, QueueStats, WorkerStats
from ...settings import JobPolicy, Queue
from .calls import Calls

__all__ = ["QueueCalls"]


class QueueCalls(Calls):
    """The calls about queues, jobs and workers."""

    async def configure(
        self,
        *,
        max_input_size: int | str | None = None,
        max_output_size: int | str | None = None,
        connection: Any = None,
    ) -> None:
        """Change settings of the whole schema: the largest input and output of a task, in bytes or as "4 MB"."""
        await self.run(statements.configure(max_input_size, max_output_size), connection)

    async def create_queue(self, queue: Queue, *, connection: Any = None) -> None:
        """Create a queue, or change the settings that are given."""
        await self.run(statements.create_queue(queue), connection)

    async def drop_queue(self, name: str, *, force: bool = False, connection: Any = None) -> None:
        """Remove a queue; with `force` its live tasks are cancelled."""
        await self.run(statements.drop_queue(name, force), connection)

    async def pause_queue(self, name: str, *, connection: Any = None) -> bool:
        """Stop claims from a queue, for all workers at once. Returns whether it was running."""
        return await self.run(statements.pause_queue(name), connection)

    async def resume_queue(self, name: str, *, connection: Any = None) -> bool:
        """Let claims from a queue go on. Returns whether it was paused."""
        return await self.run(statements.resume_queue(name), connection)

    async def pause_key(self, queue: str, key: str, *, connection: Any = None) -> bool:
        """Stop claims of one concurrency key of a queue, for all workers at once. Returns whether it was running."""
        return await self.run(statements.pause_key(queue, key), connection)

    async def resume_key(self, queue: str, key: str, *, connection: Any = None) -> bool:
        """Let claims of a paused concurrency key go on. Returns whether it was paused."""
        return await self.run(statements.resume_key(queue, key), connection)

    async def queues(self, *, connection: Any = None) -> list[QueueStats]:
        """Every queue, with what lies in it."""
        return await self.run(statements.queues(), connection)

    async def register_job(self, job: JobPolicy, *, connection: Any = None) -> None:
        """Store what is declared of a job, in place of what was stored."""
        await self.run(statements.register_jobs([job]), connection)

    async def unregister_job(self, name: str, *, connection: Any = None) -> bool:
        """Forget the settings of a job; its tasks stay. Returns whether it was registered."""
        return await self.run(statements.unregister_job(name), connection)

    async def jobs(self, *, connection: Any = None) -> list[JobStats]:
        """Every registered job, with its settings."""
        return await self.run(statements.jobs(), connection)

    async def workers(self, *, connection: Any = None) -> list[WorkerStats]:
        """Every worker that is known."""
        return await self.run(statements.workers(), connection)

    async def stop_workers(
        self,
        *,
        worker: int | None = None,
        queue: str | None = None,
        all_workers: bool = False,
        connection: Any = None,
    ) -> int:
        """Ask a worker to stop by its id, those that serve a queue, or everyone, as a signal does. Returns how many."""
        return await self.run(statements.stop_workers(worker, queue, all_workers), connection)
