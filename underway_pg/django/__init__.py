"""Underway in Django: add "underway_pg.django" to INSTALLED_APPS.

`app` is the application of the project. Its database is Django's; `@app.job` declares jobs, usually in the module
`tasks` of each Django application. A task that is enqueued inside `transaction.atomic()` is part of that transaction.
"""

from .application import app

__all__ = ["app"]
