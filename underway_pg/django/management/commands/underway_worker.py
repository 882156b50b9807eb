"""`manage.py underway_worker`: what `underway worker` does, for the jobs of this project."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ....cli import main
from ... import app

__all__ = ["Command"]


class Command(BaseCommand):
    """Runs a worker. Options that are not Django's are those of `underway worker`."""

    help = "Run the jobs of this project until SIGTERM or SIGINT. A second signal releases running tasks at once."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """A parser of Django's options, which keeps the others for `underway worker`."""
        parser = super().create_parser(prog_name, subcommand, **options)
        parse_known_args, print_help = parser.parse_known_args, parser.print_help

        def parse_args(args: Any = None, namespace: Any = None) -> Any:
            known, others = parse_known_args(args, namespace)
            known.worker_options = others
            return known

        def print_both(file: Any = None) -> None:
            print_help(file)
            main(["worker", "--help"])

        parser.parse_args, parser.print_help = parse_args, print_both
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        """Let the processes of the worker find the modules of the project where this one does."""
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
        super().run_from_argv(argv)

    def handle(self, *args: Any, worker_options: list[str], **options: Any) -> None:
        """Run the worker."""
        if connections[app.database].in_atomic_block:
            raise CommandError(
                "a worker has connections of its own and sees nothing of this transaction: run it in a"
                " TransactionTestCase, or run the tasks in a TestCase with underway_pg.testing.run_pending"
            )
        connections.close_all()  # those of the system checks
        if code := main(["worker", "underway_pg.django.setup:app", *worker_options]):
            sys.exit(code)
