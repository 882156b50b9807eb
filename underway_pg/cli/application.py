"""The application that a command is told to import, as `MODULE:APP`."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from ..app import App
from ..errors import ConfigurationError
from .database import NO_DATABASE
from .errors import WrongUsage

__all__ = ["Application", "import_application"]

logger = logging.getLogger("underway_pg")

Application = Annotated[str, typer.Argument(metavar="MODULE:APP", help="Where the App is; APP is app by default.")]


def import_application(path: str, dsn: str | None) -> App:
    """Import the application `module:name`, and have it use the database `dsn` where one is given."""
    module_name, _, name = path.partition(":")
    name = name or "app"
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise WrongUsage(f"{path!r} is no application; write MODULE:APP, such as tasks:app")
    if dsn:
        os.environ["DATABASE_URL"] = dsn  # for an application that connects while it is imported
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ConfigurationError:
        raise  # it names its place itself
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise WrongUsage(f"there is no module {error.name!r} in {Path.cwd()} or on the Python path") from None
        logger.debug("importing %s failed", module_name, exc_info=error)
        hint = "--log-level debug shows the traceback"
        raise ConfigurationError(f"importing {module_name} failed: {_where(error)}; {hint}") from error
    application = getattr(module, name, None)
    if not isinstance(application, App):
        found = ", ".join(f"{module_name}:{key}" for key, value in vars(module).items() if isinstance(value, App))
        raise WrongUsage(
            f"{name!r} in module {module_name!r} is no App; " + (f"found: {found}" if found else "it has none")
        )
    if dsn:
        application.dsn = dsn
    if not application.has_dsn:
        raise WrongUsage(f"{NO_DATABASE}, or give it to the App")
    return application


def _where(error: Exception) -> str:
    """An error of somebody else's code in one line, with its place."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return text  # it names its place itself
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text} ({last.filename}:{last.lineno})"
