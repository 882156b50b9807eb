"""`underway_pg.django.setup:app` is the application for commands that are not those of manage.py.

Set DJANGO_SETTINGS_MODULE, then run for example `underway sync underway_pg.django.setup:app --plan`.
"""

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from . import app

__all__ = ["app"]
