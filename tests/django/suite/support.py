"""What the tests share."""

from django.core.management import call_command
from django.db import connections

from underway_pg.django import app


def work(*options):
    """Run all tasks that are ready, in a worker of this process."""
    call_command("underway_worker", "--drain", "--no-log-config", *options)


def states():
    """The states of all tasks by their jobs."""
    return [(each.job, each.state) for each in reversed(app.client.tasks())]


def query(sql, *parameters, alias="default"):
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
