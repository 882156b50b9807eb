"""What `import underway_pg` offers: every type that a public signature names, and every error."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing
from importlib.metadata import version
from typing import Any

import underway_pg
from underway_pg import errors

# Types that a caller gets and never names, or that are not of this package's users.
NOT_NAMED = {
    "Application",
    "Arguments",
    "Attempt",
    "ClaimedTask",
    "WaitsForTasks",
    "Connections",
    "DeclaredIn",
    "Session",
    "Statement",
    "Transaction",
}


def named(annotation: Any) -> set[type]:
    """The classes of this package in an annotation, however deep."""
    found = {annotation} if inspect.isclass(annotation) and annotation.__module__.startswith("underway_pg") else set()
    return found.union(*map(named, typing.get_args(annotation)))


def types_of(kind: type) -> set[type]:
    """The classes that the public methods and properties of a class name."""
    found: set[type] = set()
    for name, member in inspect.getmembers(kind):
        function = member.fget if isinstance(member, property) else member
        if (name.startswith("_") and name != "__init__") or not inspect.isfunction(function):
            continue
        names = {**vars(underway_pg), **vars(inspect.getmodule(function)), **lazily_imported()}
        found |= {each for hint in typing.get_type_hints(function, names).values() for each in named(hint)}
    return found


def lazily_imported() -> dict[str, Any]:
    import psycopg_pool

    from underway_pg import arguments
    from underway_pg.worker import attempt

    return {**vars(psycopg_pool), **vars(arguments), **vars(attempt)}


def test_every_type_in_a_public_signature_is_exported() -> None:
    missing = set()
    for name in underway_pg.__all__:
        kind = getattr(underway_pg, name)
        if inspect.isclass(kind):
            missing |= {each.__name__ for each in types_of(kind)}
    assert {name for name in missing - set(underway_pg.__all__) - NOT_NAMED if not name.startswith("_")} == set()


def test_every_error_is_exported() -> None:
    assert set(errors.__all__) - set(underway_pg.__all__) == {"translate_errors"}


def test_the_package_has_its_version() -> None:
    assert underway_pg.__version__ == version("underway-pg")


def test_an_error_of_the_package_is_defined_where_nobody_finds_it() -> None:
    for module in list(sys.modules.values()):
        if module.__name__.startswith("underway_pg"):
            for name, kind in vars(module).items():
                if inspect.isclass(kind) and issubclass(kind, errors.UnderwayError) and name[0] != "_":
                    assert kind.__module__ == "underway_pg.errors", f"{module.__name__}.{name}"


def test_a_job_shows_users_what_only_the_worker_uses() -> None:
    shown = {name for name in dir(underway_pg.Job) if not name.startswith("_")}
    assert shown == {
        "app", "arguments", "enqueue", "enqueue_async", "enqueue_many", "enqueue_many_async", "enqueue_unique",
        "enqueue_unique_async", "executor", "on_shard", "options", "schedule", "schedule_async", "task", "using",
    }  # fmt: skip


def test_the_import_of_the_package_imports_what_only_some_programs_need() -> None:
    """Each step may import no more than what is listed after it, of modules that take long."""
    heavy = {"asyncio", "croniter", "http.server", "multiprocessing", "psycopg", "pydantic", "rich", "typer"}
    program = """if True:
        import sys
        heavy = set(sys.argv[1:])
        import underway_pg
        print(*sorted(heavy & sys.modules.keys()))
        app = underway_pg.App("postgresql://")
        print(*sorted(heavy & sys.modules.keys()))
        app.job(name="x")(lambda: None)
        print(*sorted(heavy & sys.modules.keys()))
        """
    done = subprocess.run([sys.executable, "-c", program, *heavy], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["", "asyncio psycopg", "asyncio psycopg pydantic"]
