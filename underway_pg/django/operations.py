"""The schema `underway` in Django's migrations."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.db.migrations.operations.base import Operation

from ..schema import steps
from .application import app

__all__ = ["SchemaVersion"]


class SchemaVersion(Operation):
    """Take the schema to a version, the number of one of its migrations, from the one before; or back.

    Nothing happens in databases other than that of the application. What is installed already is not installed again,
    so `underway migrate` may have been there before.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(self, version: int) -> None:
        self.version = version

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The schema has no models; its views are models, which migrations create beside this."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Install this version."""
        self._run(app_label, schema_editor, self.version - 1, self.version)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Go back to the version before. Before the first the schema is removed, with all tasks."""
        self._run(app_label, schema_editor, self.version, self.version - 1)

    def _run(self, app_label: str, schema_editor: Any, from_version: int, to_version: int) -> None:
        alias = schema_editor.connection.alias
        if alias == app.database and router.allow_migrate(alias, app_label):
            for statement in steps(from_version, to_version):
                schema_editor.execute(statement, params=None)

    def describe(self) -> str:
        """What `manage.py migrate --plan` says."""
        return f"Version {self.version} of the schema underway"

    @property
    def migration_name_fragment(self) -> str:
        """What a migration with this operation alone would be called."""
        return f"version_{self.version}"
