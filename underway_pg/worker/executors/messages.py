"""What a worker and the processes that run its handlers send each other, pickled, over a socket pair."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from ...connections import Session
from ...models import ClaimedTask
from ..attempt import StopReason
from ..failure import Failure

__all__ = [
    "Ended",
    "FromProcess",
    "HowEnded",
    "Program",
    "Progress",
    "RunTask",
    "Running",
    "SessionOpened",
    "Shutdown",
    "Started",
    "StopTask",
    "Stopping",
    "Terminate",
    "ToProcess",
]

# From the worker


@dataclass(frozen=True)
class Program:
    """What a process must know of the worker's program: sent once, first.

    `dsn` is None where the worker asks a function for it; a process then asks the application, which has that function.
    `shard` is then the name of the worker's database, if the application has several.
    `main_name` is the worker's main module where `python -m` started it, `main_file` its file. `log_formatter` is the
    pickled formatter of the worker's log. `django_databases` has the names of Django's databases, which differ in
    tests, by their aliases; it is None where Django is not used.
    """

    dsn: str | None
    shard: str | None
    argv: list[str]
    main_name: str | None
    main_file: str | None
    log_level: int
    log_formatter: bytes | None
    django_databases: dict[str, str | None] | None


@dataclass(frozen=True)
class RunTask:
    """Run a task with the job that the module has under this name.

    included_by     the module that includes the blueprint of the job in its application; None without a blueprint
    max_output_size, skip_unknown, silent_after   as in the worker's Environment
    """

    module: str
    name: str
    included_by: str | None
    task: ClaimedTask
    max_output_size: int
    skip_unknown: bool
    silent_after: float


@dataclass(frozen=True)
class StopTask:
    """Raise an exception in the handler of the task that runs now."""

    reason: StopReason


@dataclass(frozen=True)
class Terminate:
    """A SIGTERM of the worker follows, which is not to be ignored."""


@dataclass(frozen=True)
class Shutdown:
    """There are no more tasks: exit."""


ToProcess = RunTask | StopTask | Terminate | Shutdown

# From the process


@dataclass(frozen=True)
class Started:
    """The process has received the task: from now on its death is the attempt's."""


@dataclass(frozen=True)
class Running:
    """The job is imported and its handler begins: its time counts from now on."""


@dataclass(frozen=True)
class Progress:
    """The progress that the handler reports, as JSON text."""

    text: str


@dataclass(frozen=True)
class SessionOpened:
    """The session of a transaction, sent before it begins: nobody else can tell if this process is killed."""

    session: Session


@dataclass(frozen=True)
class Stopping:
    """The stack of the handler at the moment when it was asked to stop."""

    stack: str


class HowEnded(Enum):
    """How a handler ended."""

    RETURNED = auto()
    RAISED = auto()
    SNOOZED = auto()
    LEASE_LOST = auto()
    STOPPED = auto()


@dataclass(frozen=True)
class Ended:
    """The handler has ended.

    output          JSON text, if it RETURNED
    failure         if it RAISED
    delay           if it SNOOZED
    completed       whether a transaction of the handler has completed the task
    memory          bytes that the process has in memory
    lost_sessions   the sessions of broken transactions
    """

    how: HowEnded
    output: str | None = None
    failure: Failure | None = None
    delay: timedelta | None = None
    completed: bool = False
    memory: int = 0
    lost_sessions: tuple[Session, ...] = ()


FromProcess = Started | Running | Progress | SessionOpened | Stopping | Ended
