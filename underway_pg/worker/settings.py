"""The settings of a worker."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, TypedDict

from ..checks import check_each, check_kind
from ..connections import SILENT_AFTER
from ..errors import ConfigurationError

__all__ = ["Queues", "WorkerOptions", "WorkerSettings"]

# What a setting takes, by the type of its default.
_KINDS: tuple[tuple[type, Any, str], ...] = (
    (bool, bool, "True or False"),
    (int, int, "an integer"),
    (float, (int, float), "a number of seconds"),
)

Queues: TypeAlias = "str | Iterable[str] | Mapping[str, int]"


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """The settings of a worker. All times are in seconds.

    queues            the queues to serve: a name, several, or a mapping of names to how many of their tasks this worker
                      runs at once; empty for all queues of the application
    concurrency       how many tasks run at once; with a mapping of queues, the sum of its values instead
    shutdown_timeout  how long running tasks may continue when the worker stops; then they are released
    unknown_jobs      what to do with a task whose job, or the names of whose arguments, this worker does not know:
                      "skip" puts it back for another worker, without using an attempt; "fail" fails it permanently
    prefetch_seconds  how many seconds of work to prefetch, estimated from the average task duration. A prefetched task
                      loses an attempt if the worker is killed. 0 disables prefetching
    drain             stop as soon as no task is ready and none is running
    sync              write the queues, jobs and schedules of the application into the database at the start, as far as
                      the role may. Without it, the worker compares them and logs a warning that names the differences
    vacuum            vacuum the tables of the queue whenever many of their rows are dead, as far as the role may.
                      Autovacuum looks at a table only once a minute
    max_tasks_per_process   how many tasks a process runs before it is replaced
    max_memory_per_process  bytes that a process may have in memory after a task; one with more is replaced
    log_tasks         log the start and the end of each task at INFO; failures are logged in any case
    log_inputs        include the input of the task, at most 1000 characters of it, in the line of the start
    name              the name of this worker; by default host and process id
    listen_dsn        direct DSN used only for LISTEN/NOTIFY, for a `dsn` that goes through a pooler

    The others are for tuning and for tests.

    poll_interval         how often maintenance runs; without notifications also how often the worker looks for tasks
    max_claim             how many tasks one claim may return
    max_unsettled         no claims while so many results wait to be settled
    max_settlement_bytes  size of the results in one statement; a single larger result is sent alone
    connect_timeout       how long to wait for a connection before the database counts as unavailable
    silent_after          how long the server may take to answer before a statement is given up, with its connection;
                          then twice as long each time, for it may only be slow
    unready_after         a worker that has not reached the database for so long is not ready
    stop_step             how long a handler has to react before it is asked to stop harder
    forced_stop_step      the same while the worker gives everything back at once
    block_warning         log a warning when a handler has blocked the event loop for so long
    release_prefetched_after  give prefetched tasks back that have not started after so long
    cautious_for          no prefetching for so long after a claim that brought a retried task
    busy_after            a worker that found enough tasks for so long asks for no notifications
    idle_claim_interval   how often an idle worker claims although nothing is due
    recheck_queues_after  how soon to look again for a queue that was dropped
    recheck_locked_after  how soon to look again for tasks that are due but could not be claimed
    result_retries, result_retry_pause  how often, and how soon, to send a result again that was cancelled by the server
    max_loop_slice        how long to start handlers before other work of the loop gets its turn
    """

    queues: Queues = ()
    concurrency: int = 10
    shutdown_timeout: float = 30.0
    unknown_jobs: Literal["skip", "fail"] = "skip"
    prefetch_seconds: float = 0.25
    drain: bool = False
    sync: bool = True
    vacuum: bool = True
    max_tasks_per_process: int = 1000
    max_memory_per_process: int | None = None
    log_tasks: bool = True
    log_inputs: bool = False
    name: str | None = None
    listen_dsn: str | None = None

    poll_interval: float = 1.0
    max_claim: int = 1000
    max_unsettled: int = 4000
    max_settlement_bytes: int = 1 << 24
    connect_timeout: float = 2.0
    silent_after: float = SILENT_AFTER
    unready_after: float = 5.0
    stop_step: float = 5.0
    forced_stop_step: float = 1.0
    block_warning: float = 1.0
    release_prefetched_after: float = 1.0
    cautious_for: float = 1.0
    busy_after: float = 0.5
    idle_claim_interval: float = 30.0
    recheck_queues_after: float = 2.0
    recheck_locked_after: float = 0.02
    result_retries: int = 3
    result_retry_pause: float = 1.0
    max_loop_slice: float = 0.002

    def __post_init__(self) -> None:
        """Check the values. Raises ConfigurationError."""
        self._check_kinds()
        for queue, concurrency in self.lanes.items():
            if concurrency < 1:
                of_queue = f" of queue {queue}" if isinstance(self.queues, Mapping) else ""
                raise ConfigurationError(f"concurrency{of_queue} is {concurrency}; it must be at least 1")
        if self.concurrency < 1:
            raise ConfigurationError(f"concurrency is {self.concurrency}; it must be at least 1")
        if self.shutdown_timeout < 0:
            raise ConfigurationError(f"shutdown_timeout is {self.shutdown_timeout} s; it must be at least 0")
        if not 0 <= self.prefetch_seconds <= 1:
            raise ConfigurationError(f"prefetch_seconds is {self.prefetch_seconds} s; it must lie between 0 and 1")
        if self.unknown_jobs not in ("skip", "fail"):
            raise ConfigurationError(f'unknown_jobs is {self.unknown_jobs!r}; it is "skip" or "fail"')
        if self.max_tasks_per_process < 1:
            raise ConfigurationError(f"max_tasks_per_process is {self.max_tasks_per_process}; it must be at least 1")
        if self.poll_interval <= 0:
            raise ConfigurationError(f"poll_interval is {self.poll_interval} s; it must be more than 0")

    def _check_kinds(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            for kind, accepted, wanted in _KINDS:
                if type(field.default) is kind:
                    check_kind(field.name, value, accepted, wanted)
        if isinstance(self.queues, str):
            return
        queues = check_each("queues", self.queues, str, "names of queues, as strings")
        if len(set(queues)) < len(queues):
            raise ConfigurationError(f"queues is {self.queues!r}; give each name once")
        if isinstance(self.queues, Mapping):
            for queue, concurrency in self.queues.items():
                check_kind(f"concurrency of queue {queue}", concurrency, int, "an integer of at least 1")
        else:
            object.__setattr__(self, "queues", queues)

    @property
    def queue_names(self) -> list[str]:
        """The names of the queues to serve."""
        return [self.queues] if isinstance(self.queues, str) else list(self.queues)

    @property
    def lanes(self) -> dict[str, int]:
        """The queues that have a concurrency of their own."""
        return dict(self.queues) if isinstance(self.queues, Mapping) else {}

    @property
    def total_concurrency(self) -> int:
        """How many tasks run at once."""
        return sum(self.lanes.values()) or self.concurrency

    def with_defaults(self, queues: Sequence[str] = ()) -> WorkerSettings:
        """These settings with a name, and with the queues of the application where none are given."""
        return replace(
            self,
            name=self.name or f"{socket.gethostname()}:{os.getpid()}",
            queues=self.queues or tuple(queues),
        )


class WorkerOptions(TypedDict, total=False):
    """The fields of WorkerSettings, as keyword arguments of `App.worker` and `App.run`."""

    queues: Queues
    concurrency: int
    shutdown_timeout: float
    unknown_jobs: Literal["skip", "fail"]
    prefetch_seconds: float
    drain: bool
    sync: bool
    vacuum: bool
    max_tasks_per_process: int
    max_memory_per_process: int | None
    log_tasks: bool
    log_inputs: bool
    name: str | None
    listen_dsn: str | None
    poll_interval: float
    max_claim: int
    max_unsettled: int
    max_settlement_bytes: int
    connect_timeout: float
    silent_after: float
    unready_after: float
    stop_step: float
    forced_stop_step: float
    block_warning: float
    release_prefetched_after: float
    cautious_for: float
    busy_after: float
    idle_claim_interval: float
    recheck_queues_after: float
    recheck_locked_after: float
    result_retries: int
    result_retry_pause: float
    max_loop_slice: float
