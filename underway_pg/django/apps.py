"""The Django application: what happens when Django starts, and after its migrations."""

from __future__ import annotations

import sys

from django.apps import AppConfig, apps
from django.core import checks
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

from ..blueprint import Blueprint
from .application import app
from .checks import check_settings
from .upgrade import after_migrate

__all__ = ["UnderwayConfig"]


class UnderwayConfig(AppConfig):
    """Underway in a Django project."""

    name = "underway_pg.django"
    label = "underway"
    verbose_name = "Underway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the module `tasks` of each application, and include the blueprints there."""
        checks.register(check_settings)
        post_migrate.connect(after_migrate, sender=self)
        app.configure()
        autodiscover_modules("tasks")
        for config in apps.get_app_configs():
            for value in vars(sys.modules.get(f"{config.name}.tasks", object)).values():
                if isinstance(value, Blueprint):
                    app.include(value)
