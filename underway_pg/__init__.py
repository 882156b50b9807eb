"""Underway: a job queue in PostgreSQL.

A name is imported when it is first used, so that a program pays only for the parts that it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import VERSION

if TYPE_CHECKING:
    from .app import (
        App,
    )
    from .blueprint import (
        Blueprint,
    )
    from .client import (
        AsyncClient,
        Client,
        EnqueueCall,
        EnqueueMiddleware,
        TaskHandle,
        check_connection,
    )
    from .connections import (
        Dsn,
    )
    from .errors import (
        BatchFinal,
        BatchNotFound,
        ConfigurationError,
        DatabaseRefusal,
        DatabaseUnavailable,
        Fatal,
        HandlerSignal,
        InputError,
        InputTooLarge,
        InvalidArgument,
        InvalidCron,
        InvalidOutput,
        JobNotFound,
        LeaseLost,
        MigrationBlocked,
        MissingPrivilege,
        OutputTooLarge,
        ProcessDied,
        QueueFull,
        QueueInUse,
        QueueNotFound,
        Retry,
        ScheduleNotFound,
        SchemaMissing,
        SchemaNewer,
        SchemaTooOld,
        ServerUnresponsive,
        ShardInUse,
        Snooze,
        TaskCancelled,
        TaskFailed,
        TaskLocked,
        TaskNotFound,
        UnderwayError,
        UniqueConflict,
        UnknownArguments,
        UnknownShard,
        UnresolvedAnnotation,
        UnsupportedConnection,
        WaitTimeout,
        WrongState,
    )
    from .job import (
        BoundJob,
        Job,
    )
    from .models import (
        AuditEntry,
        BatchStats,
        BlockedReason,
        Enqueued,
        Event,
        FailureGroup,
        FoundTasks,
        Health,
        JobStats,
        QueueDepth,
        QueueStats,
        RelatedTask,
        ScheduleStats,
        State,
        SyncChanges,
        SyncResult,
        TaskCount,
        TaskInfo,
        TaskStats,
        TaskSummary,
        TaskTotals,
        WorkerCounters,
        WorkerStats,
    )
    from .schema import (
        MigrationPlan,
    )
    from .settings import (
        AfterFailure,
        Duration,
        Executor,
        JobOptions,
        JobPolicy,
        NewTask,
        OnConflict,
        Options,
        Queue,
        RetryPolicy,
        Schedule,
        ScheduleSettings,
        TaskOptions,
        UniqueUntil,
    )
    from .worker import (
        Context,
        Middleware,
        Outcome,
        OutcomeKind,
        Worker,
        WorkerOptions,
        WorkerSettings,
        current_context,
    )

__all__ = [
    "AfterFailure",
    "App",
    "AsyncClient",
    "AuditEntry",
    "BatchFinal",
    "BatchNotFound",
    "BatchStats",
    "BlockedReason",
    "Blueprint",
    "BoundJob",
    "Client",
    "ConfigurationError",
    "Context",
    "DatabaseRefusal",
    "DatabaseUnavailable",
    "Dsn",
    "Duration",
    "EnqueueCall",
    "EnqueueMiddleware",
    "Enqueued",
    "Event",
    "Executor",
    "FailureGroup",
    "Fatal",
    "FoundTasks",
    "HandlerSignal",
    "Health",
    "InputError",
    "InputTooLarge",
    "InvalidArgument",
    "InvalidCron",
    "InvalidOutput",
    "Job",
    "JobNotFound",
    "JobOptions",
    "JobPolicy",
    "JobStats",
    "LeaseLost",
    "Middleware",
    "MigrationBlocked",
    "MigrationPlan",
    "MissingPrivilege",
    "NewTask",
    "OnConflict",
    "Options",
    "Outcome",
    "OutcomeKind",
    "OutputTooLarge",
    "ProcessDied",
    "Queue",
    "QueueDepth",
    "QueueFull",
    "QueueInUse",
    "QueueNotFound",
    "QueueStats",
    "RelatedTask",
    "Retry",
    "RetryPolicy",
    "Schedule",
    "ScheduleNotFound",
    "ScheduleSettings",
    "ScheduleStats",
    "SchemaMissing",
    "SchemaNewer",
    "SchemaTooOld",
    "ServerUnresponsive",
    "ShardInUse",
    "Snooze",
    "State",
    "SyncChanges",
    "SyncResult",
    "TaskCancelled",
    "TaskCount",
    "TaskFailed",
    "TaskHandle",
    "TaskInfo",
    "TaskLocked",
    "TaskNotFound",
    "TaskOptions",
    "TaskStats",
    "TaskSummary",
    "TaskTotals",
    "UnderwayError",
    "UniqueConflict",
    "UniqueUntil",
    "UnknownArguments",
    "UnknownShard",
    "UnresolvedAnnotation",
    "UnsupportedConnection",
    "WaitTimeout",
    "Worker",
    "WorkerCounters",
    "WorkerOptions",
    "WorkerSettings",
    "WorkerStats",
    "WrongState",
    "__version__",
    "check_connection",
    "current_context",
]

__version__ = VERSION

# The modules that define these names, each after those that it imports.
_MODULES = ("errors", "settings", "models", "connections", "client", "schema", "job", "worker", "blueprint", "app")

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f".{name}", __name__)
        if name in __all__:
            for module in _MODULES:
                value = vars(import_module(f".{module}", __name__)).get(name)
                if value is not None:
                    globals()[name] = value
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
