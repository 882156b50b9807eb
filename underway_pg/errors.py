"""The exceptions of Underway.

UnderwayError
├── DatabaseRefusal              the database refused a call; one class for each SQLSTATE of underway.error_code
│   ├── InvalidArgument          UW001
│   ├── LeaseLost                UW002
│   ├── QueueNotFound            UW003
│   ├── TaskNotFound             UW004
│   ├── WrongState               UW005
│   ├── QueueInUse               UW006
│   ├── InputTooLarge            UW007
│   ├── InvalidCron              UW008
│   ├── ScheduleNotFound         UW009
│   ├── UniqueConflict           UW010
│   ├── QueueFull                UW011
│   ├── BatchNotFound            UW012
│   ├── BatchFinal               UW013
│   ├── OutputTooLarge           UW014
│   ├── TaskLocked               UW015
│   ├── JobNotFound              UW016
│   └── ShardInUse               UW017
├── DatabaseUnavailable          the database cannot be reached; also a psycopg.OperationalError
│   ├── ServerUnresponsive       the database has not answered in time
│   └── ShardsUnavailable        some of several databases cannot be reached
├── MissingPrivilege             the role lacks a right in schema underway; also psycopg's InsufficientPrivilege
├── MigrationBlocked             an open transaction kept the migration from the tables that it changes
├── ConfigurationError           the application is put together wrongly
│   ├── UnsupportedConnection    the object given as a connection is not supported; also a TypeError
│   ├── UnresolvedAnnotation     an annotation of a job's function names something that does not exist
│   ├── UnknownShard             no database of the application has the shard number of an id
│   ├── SchemaMissing            the database has no schema underway: run `underway migrate`
│   ├── SchemaTooOld             the schema is older than this package needs: run `underway migrate`
│   └── SchemaNewer              the schema is newer, and does not work with this package: upgrade it
├── InputError                   the arguments do not fit the job
│   └── UnknownArguments         the names of the arguments do not fit the job's function
├── InvalidOutput                the output of a task does not fit the return annotation of its job
├── TaskFailed                   a task that was waited for has failed
├── TaskCancelled                a task that was waited for was cancelled
├── WaitTimeout                  a task that was waited for is not final yet; also a TimeoutError
├── ProcessDied                  the process that ran a handler has died
└── HandlerSignal                raised by a handler to say how its attempt ends
    ├── Retry                    try again, after a delay that the handler chooses
    ├── Fatal                    do not try again
    └── Snooze                   put the task back; the attempt does not count
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple

import psycopg

__all__ = [
    "BatchFinal",
    "BatchNotFound",
    "ConfigurationError",
    "DatabaseRefusal",
    "DatabaseUnavailable",
    "Fatal",
    "HandlerSignal",
    "InputError",
    "InputTooLarge",
    "InvalidArgument",
    "InvalidCron",
    "InvalidOutput",
    "JobNotFound",
    "LeaseLost",
    "MigrationBlocked",
    "MissingPrivilege",
    "OutputTooLarge",
    "ProcessDied",
    "QueueFull",
    "QueueInUse",
    "QueueNotFound",
    "Retry",
    "ScheduleNotFound",
    "SchemaMissing",
    "SchemaNewer",
    "SchemaTooOld",
    "ServerUnresponsive",
    "ShardInUse",
    "ShardsUnavailable",
    "Snooze",
    "TaskCancelled",
    "TaskFailed",
    "TaskLocked",
    "TaskNotFound",
    "UnderwayError",
    "UniqueConflict",
    "UnknownArguments",
    "UnknownShard",
    "UnresolvedAnnotation",
    "UnsupportedConnection",
    "WaitTimeout",
    "WrongState",
    "translate_errors",
]


class UnderwayError(Exception):
    """The base of every exception of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception would call the class with the message, which is not what all of them take.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[UnderwayError], args: tuple[object, ...], attributes: dict[str, Any]) -> UnderwayError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class DatabaseRefusal(UnderwayError):
    """Something that the database refused. `hint` says what to do, `detail` has facts for programs, as JSON."""

    sqlstate: ClassVar[str]
    by_sqlstate: ClassVar[dict[str, type[DatabaseRefusal]]] = {}

    def __init__(self, message: str, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail

    def __init_subclass__(cls) -> None:
        DatabaseRefusal.by_sqlstate[cls.sqlstate] = cls

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class InvalidArgument(DatabaseRefusal):
    """An argument is invalid; nothing was changed."""

    sqlstate = "UW001"


class LeaseLost(DatabaseRefusal):
    """The caller no longer holds the task; discard the result."""

    sqlstate = "UW002"


class QueueNotFound(DatabaseRefusal):
    """No queue has this name; create it first."""

    sqlstate = "UW003"


class TaskNotFound(DatabaseRefusal):
    """No task has this id, neither live nor in the history."""

    sqlstate = "UW004"

    @property
    def moved_to(self) -> int | None:
        """The number of the shard to which the task was moved; None if it was not."""
        return json.loads(self.detail)["shard"] if self.detail else None


class WrongState(DatabaseRefusal):
    """The state of the task does not allow the call."""

    sqlstate = "UW005"


class QueueInUse(DatabaseRefusal):
    """The queue still has live tasks; wait until they have finished, or drop it with force."""

    sqlstate = "UW006"


class InputTooLarge(DatabaseRefusal):
    """The input is larger than the setting max_input_size allows."""

    sqlstate = "UW007"


class InvalidCron(DatabaseRefusal):
    """The cron expression or its time zone is invalid, or has no time in the future."""

    sqlstate = "UW008"


class ScheduleNotFound(DatabaseRefusal):
    """No schedule has this name; create it first."""

    sqlstate = "UW009"


class UniqueConflict(DatabaseRefusal):
    """Another task of the queue has the unique key."""

    sqlstate = "UW010"


class QueueFull(DatabaseRefusal):
    """The tasks would exceed the max_length of the queue."""

    sqlstate = "UW011"


class BatchNotFound(DatabaseRefusal):
    """No batch has this id."""

    sqlstate = "UW012"


class BatchFinal(DatabaseRefusal):
    """All tasks of the batch are final; it cannot be extended."""

    sqlstate = "UW013"


class OutputTooLarge(DatabaseRefusal):
    """The output is larger than the setting max_output_size allows."""

    sqlstate = "UW014"


class TaskLocked(DatabaseRefusal):
    """Another transaction has locked a task for too long; nothing was changed."""

    sqlstate = "UW015"


class JobNotFound(DatabaseRefusal):
    """No queue was given and no job of this name is registered; register it, or give the queue."""

    sqlstate = "UW016"


class ShardInUse(DatabaseRefusal):
    """Ids were given out under the shard number of this database; it cannot change any more."""

    sqlstate = "UW017"


class DatabaseUnavailable(UnderwayError, psycopg.OperationalError):
    """The database cannot be reached; `__cause__` is the error of psycopg.

    Raised for the connections of this package, never for one of the caller's. A statement that was sent before the
    connection broke may have been executed.
    """


class ServerUnresponsive(DatabaseUnavailable):
    """The database has not answered in time; whether the statement was executed is not known."""


class ShardsUnavailable(DatabaseUnavailable):
    """Some of several databases cannot be reached. `unreachable` has the error of each by name.

    `final` has how those tasks ended that were waited for in the other databases, by id.
    """

    def __init__(self, unreachable: Mapping[str, DatabaseUnavailable], final: Mapping[int, Any]) -> None:
        super().__init__("; ".join(f"database {name}: {error}" for name, error in unreachable.items()))
        self.unreachable = dict(unreachable)
        self.final = dict(final)


class MissingPrivilege(UnderwayError, psycopg.errors.InsufficientPrivilege):
    """The role of the connection lacks a right to the schema underway; the message says what to grant."""


class MigrationBlocked(UnderwayError):
    """An open transaction kept the installation from tables that it has to change; nothing was done."""


class ConfigurationError(UnderwayError):
    """The application is put together wrongly; the message says what to change."""


class UnsupportedConnection(ConfigurationError, TypeError):
    """Tasks cannot be enqueued on the object that was given as a connection; the message lists what is supported."""


class UnresolvedAnnotation(ConfigurationError):
    """An annotation names something that does not exist, or not yet."""


class UnknownShard(ConfigurationError):
    """No database of the application has the shard number that is in an id."""


class SchemaMissing(ConfigurationError):
    """The database has no schema underway, or an older one than this package needs."""


class SchemaTooOld(ConfigurationError):
    """The schema in the database is older than this package needs: run `underway migrate`."""


class SchemaNewer(ConfigurationError):
    """The schema in the database is newer than this package; upgrade the package."""


class InputError(UnderwayError):
    """Arguments that do not fit the signature of the job."""


class UnknownArguments(InputError):
    """The names of the arguments do not fit the parameters of the job's function."""


class InvalidOutput(UnderwayError):
    """The output of a task that was waited for does not fit the return annotation of its job."""


class TaskFailed(UnderwayError):
    """A task that was waited for has failed for good. `error` is its last error, as it is kept."""

    def __init__(self, task: int, error: dict[str, object]) -> None:
        super().__init__(f"task {task} failed: {error.get('type', 'error')}: {error.get('message', '')}")
        self.task = task
        self.error = error


class TaskCancelled(UnderwayError):
    """A task that was waited for was cancelled."""


class WaitTimeout(UnderwayError, TimeoutError):
    """A task that was waited for is not final yet; it goes on, and can be waited for again."""


class ProcessDied(UnderwayError):
    """The process that ran the handler has died: by `os._exit`, a crash, or a signal."""

    def __init__(self, code: int) -> None:
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code} ({signal.strsignal(-code)})"
        hint = "; perhaps out of memory; see max_memory_per_process" if code == -signal.SIGKILL else ""
        super().__init__(f"the process that ran the task ended {how}{hint}")
        self.code = code


class HandlerSignal(UnderwayError):
    """Raised by a handler to say how its attempt ends."""


def _delay(value: float | timedelta) -> timedelta:
    """The delay that a handler gives. Raises TypeError or ValueError for a bad one, and the attempt fails."""
    if not isinstance(value, (int, float, timedelta)):
        raise TypeError(f"the delay is {value!r}; give seconds or a timedelta")
    delay = value if isinstance(value, timedelta) else timedelta(seconds=value)
    if not timedelta(0) <= delay <= timedelta(days=36500):
        raise ValueError(f"the delay is {delay}; it must lie between 0 and 100 years")
    return delay


class Retry(HandlerSignal):
    """Try the task again, `after` a time of the handler's choice (seconds or timedelta; else the backoff)."""

    def __init__(self, message: str = "retry requested", *, after: float | timedelta | None = None) -> None:
        super().__init__(message)
        self.after = None if after is None else _delay(after)


class Fatal(HandlerSignal):
    """Do not try the task again, whatever attempts are left."""


class Snooze(HandlerSignal):
    """Put the task back for `delay` (seconds or timedelta); the attempt does not count."""

    def __init__(self, delay: float | timedelta) -> None:
        self.delay = _delay(delay)
        super().__init__(f"snoozed for {self.delay}")


# Undefined schema, function, table, and an object of the schema that an older installation lacks.
_SCHEMA_MISSING = frozenset({"3F000", "42883", "42P01", "42704"})


# The C function of PostgreSQL that raises the lack of a right to a schema, function or view, whatever the language of
# the message. Others raise, for example, that a role may not end a session.
_RIGHT_MISSING = "aclcheck_error"

_ROLES = (
    "grant a role of Underway to the role of this connection: `grant underway_producer to ...` to enqueue,"
    " underway_worker to work, underway_observer to read and to wait for results, underway_operator to manage queues,"
    " schedules and tasks"
)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what the database refuses into the exception of this package; other database errors pass untouched.

    The statements in the block are those of this package, which use nothing but the schema underway.
    """
    try:
        yield
    except Exception as error:
        found = _diagnostic(error)
        if found is None:
            raise
        refusal = DatabaseRefusal.by_sqlstate.get(found.sqlstate)
        if refusal is not None:
            raise refusal(found.message, found.hint, found.detail) from error
        if found.sqlstate in _SCHEMA_MISSING and "underway" in found.message:
            raise SchemaMissing(f"{found.message}: install the schema with `underway migrate`") from None
        if found.sqlstate == MissingPrivilege.sqlstate and found.source_function == _RIGHT_MISSING:
            raise MissingPrivilege(f"{found.message}: {_ROLES}") from error
        raise


class _Diagnostic(NamedTuple):
    """What PostgreSQL says of an error."""

    sqlstate: str
    message: str
    hint: str | None
    detail: str | None
    source_function: str | None


def _diagnostic(error: Any) -> _Diagnostic | None:
    """What PostgreSQL says, in an error of psycopg, psycopg2 or asyncpg, or of a library that wraps one of these."""
    # Django raises the other one when a transaction is used after an error; its cause is that earlier error.
    while error is not None and type(error).__name__ != "TransactionManagementError":
        if (found := getattr(error, "diag", None)) is not None and found.sqlstate:
            return _Diagnostic(
                found.sqlstate, found.message_primary, found.message_hint, found.message_detail, found.source_function
            )
        if hasattr(error, "server_source_function"):
            return _Diagnostic(error.sqlstate, error.message, error.hint, error.detail, error.server_source_function)
        error = getattr(error, "orig", None) or error.__cause__
    return None
