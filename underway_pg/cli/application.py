"""The application that a command imports, named as `MODULE:APP`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..app import App
from ..importing import import_module
from .database import NO_DATABASE
from .errors import WrongUsage

__all__ = ["Application", "import_application"]

Application = Annotated[
    str, typer.Argument(metavar="MODULE:APP", help="The module and the App in it; APP defaults to app.")
]


def import_application(path: str, dsn: str | None) -> App:
    """Import the application `module:name`. A `dsn` replaces that of the application."""
    module_name, _, name = path.partition(":")
    name = name or "app"
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise WrongUsage(f"{path!r} is not an application; write MODULE:APP, such as tasks:app")
    if dsn:
        os.environ["DATABASE_URL"] = dsn  # for an application that connects during its import
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise WrongUsage(str(error)) from None
    application = getattr(module, name, None)
    if not isinstance(application, App):
        found = ", ".join(f"{module_name}:{key}" for key, value in vars(module).items() if isinstance(value, App))
        raise WrongUsage(
            f"{name!r} in module {module_name!r} is not an App; "
            + (f"found: {found}" if found else "the module has none")
        )
    if dsn:
        application.dsn = dsn
    if not application.has_dsn:
        raise WrongUsage(f"{NO_DATABASE}, or pass a dsn to the App")
    return application
