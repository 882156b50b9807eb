"""How a process finds the jobs of its worker: it imports the module of the job, or the worker's program."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import logging
import os
import pickle
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from ...connections import Dsn, ShardDsn
from ...errors import ConfigurationError
from ...importing import ImportStopped, importing_program
from ...job import Job
from .messages import Program

__all__ = ["describe_program", "import_job", "import_path"]

# The name of the worker's main module in a process; multiprocessing uses it too.
_MAIN = "__mp_main__"

_GUARD = 'put what the program does at its end, under `if __name__ == "__main__":`'


def import_path(job: Job[..., Any]) -> tuple[str, str]:
    """The module of a job and its name there, by which another process finds it.

    Raises ConfigurationError for a job that cannot be found so.
    """
    module_name = job.function.__module__
    module = sys.modules.get(module_name)
    names = [name for name, value in vars(module).items() if value is job] if module is not None else []
    if not names:
        raise ConfigurationError(
            f"job {job.name}: a process imports a job by its name in module {module_name!r}, which has no such name;"
            " define the job at the top level of a module"
        )
    if module_name == "__main__" and not hasattr(module, "__file__"):
        raise ConfigurationError(f"job {job.name}: a process cannot import a program that has no file")
    return module_name, names[0]


def describe_program(dsn: Dsn) -> Program:
    """The program that runs here."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    return Program(
        dsn=dsn if isinstance(dsn, str) else None,
        shard=dsn.shard if isinstance(dsn, ShardDsn) else None,
        argv=sys.argv,
        main_name=None if spec is None else spec.name,
        main_file=None if file is None else str(Path(file).absolute()),
        log_level=logging.getLogger().getEffectiveLevel(),
        log_formatter=_formatter(),
        django_databases=_django_databases(),
    )


def _django_databases() -> dict[str, str | None] | None:
    module = sys.modules.get("django.apps")
    # A program that calls settings.configure() does so again when the process imports it.
    if module is None or not module.apps.ready or "DJANGO_SETTINGS_MODULE" not in os.environ:
        return None
    from django.db import connections

    return {alias: connections.settings[alias]["NAME"] for alias in connections}


def _set_up_django(databases: dict[str, str | None]) -> None:
    """Start Django as the worker's program has done, before the first import of a model."""
    import django
    from django.db import connections

    django.setup()
    for alias, name in databases.items():
        connections.settings[alias]["NAME"] = name


def _formatter() -> bytes | None:
    """The formatter of the first handler of the log, pickled, if that is possible."""
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(Exception):  # whatever the formatter of a stranger raises
            return None if handler.formatter is None else pickle.dumps(handler.formatter)
        return None
    return None


def import_job(program: Program, module_name: str, name: str, included_by: str | None) -> Job[..., Any]:
    """Import a job in a process of the worker that runs this program, and the application of its blueprint."""
    sys.argv[:] = program.argv
    if program.dsn is not None:
        os.environ["DATABASE_URL"] = program.dsn  # for an application without a dsn
    try:
        with importing_program():
            if program.django_databases is not None:
                _set_up_django(program.django_databases)
            module = _import(program, module_name)
            if included_by is not None:
                _import(program, included_by)
    except ImportStopped:
        raise ConfigurationError(
            f"module {module_name} enqueues a task or runs a worker when it is imported, and so in each process that"
            f" imports it for job {name}; {_GUARD}"
        ) from None
    job: Job[..., Any] = getattr(module, name)
    if program.dsn is not None:
        job.app.dsn = program.dsn
    _set_up_log(program)
    return job


def _import(program: Program, name: str) -> ModuleType:
    return _import_main(program) if name == "__main__" else importlib.import_module(name)


def _import_main(program: Program) -> ModuleType:
    """The worker's main module, under another name, up to where it enqueues a task or runs a worker."""
    name = program.main_name or _MAIN
    if program.main_name is not None:
        spec = importlib.util.find_spec(name)
    else:
        spec = importlib.util.spec_from_file_location(name, program.main_file or "")
    known = sys.modules.get(name)
    if known is not None and known is not sys.modules["__main__"]:  # which multiprocessing has under this name too
        return known
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        try:
            spec.loader.exec_module(module)
        except ImportStopped as stopped:
            _check_definitions(module, stopped)
    except BaseException:
        del sys.modules[name]  # the next task tries again
        raise
    package, _, attribute = name.rpartition(".")
    if package:
        setattr(sys.modules[package], attribute, module)
    return module


def _check_definitions(module: ModuleType, stopped: ImportStopped) -> None:
    """Raise ConfigurationError if the program defines something after the line that has ended its import."""
    lines = [line for frame, line in traceback.walk_tb(stopped.__traceback__) if frame.f_globals is vars(module)]
    defining = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    for statement in ast.parse(Path(module.__file__ or "").read_bytes()).body:
        if isinstance(statement, defining) and statement.lineno > lines[0]:
            raise ConfigurationError(
                f"{module.__file__}, line {lines[0]}, enqueues a task or runs a worker, where a process that imports"
                f" the program for its jobs has to stop; line {statement.lineno} defines more. So {_GUARD}"
            )


def _set_up_log(program: Program) -> None:
    """Log as the worker does, unless the application has configured its log while it was imported."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    # Only after the import; a class of the program itself is not found under its name here.
    with contextlib.suppress(Exception):
        if program.log_formatter is not None:
            handler.setFormatter(pickle.loads(program.log_formatter))
    logging.basicConfig(level=program.log_level, handlers=[handler])
