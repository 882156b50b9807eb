"""Migrations, what follows them, and the system checks."""

import importlib
import io
from unittest import mock

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections, transaction
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from library.tasks import app, lend_book

from suite.support import query, states
from underway_pg import Queue, schema
from underway_pg.django import checks, migrations
from underway_pg.django.application import DjangoApp
from underway_pg.django.settings import read_settings

INSTALLED = "select count(*) from pg_proc where pronamespace = to_regnamespace('underway') and proname = 'enqueue'"


def output(*command, **options):
    out = io.StringIO()
    call_command(*command, stdout=out, no_color=True, **options)
    return out.getvalue()


class Migrations(TransactionTestCase):
    def test_each_version_of_the_schema_has_a_migration(self):
        names = sorted(path.stem for path in importlib.resources.files(migrations).iterdir() if path.stem[:1].isdigit())
        found = [importlib.import_module(f"{migrations.__name__}.{name}").Migration.operations[0] for name in names]
        self.assertEqual([each.version for each in found], [each.version for each in schema.migrations()])

    def test_the_models_need_no_other_migration(self):
        self.assertIn("No changes", output("makemigrations", check=True))

    def test_sqlmigrate_shows_the_schema_and_its_functions(self):
        text = output("sqlmigrate", "underway", "0001")
        for part in ("create table underway.task (", "create or replace function underway.enqueue("):
            self.assertIn(part, text)
        self.assertIn("drop schema if exists underway", output("sqlmigrate", "underway", "0001", backwards=True))

    def test_the_migrations_can_be_reversed_and_applied_again(self):
        output("migrate", "underway", "zero")
        self.assertEqual(query("select to_regnamespace('underway')"), [(None,)])
        output("migrate", "underway")
        lend_book.enqueue(book=1)
        self.assertEqual(states(), [("lend_book", "pending")])

    def test_migrate_brings_the_functions_of_a_new_package(self):
        query("update underway.installation set functions = 'of an older package'")
        query("drop function underway.why")
        output("migrate")
        self.assertEqual(query("select count(*) from underway.why(%s)", lend_book.enqueue(book=1)), [(1,)])

    def test_migrate_adopts_a_schema_that_underway_migrate_has_installed(self):
        output("migrate", "underway", "zero")
        schema.migrate(app.dsn)
        output("migrate", "underway")
        self.assertEqual(query(INSTALLED), [(1,)])

    def test_migrate_writes_what_the_code_declares(self):
        query("select underway.unschedule('close_library'), underway.drop_queue('quick', force => true)")
        output("migrate")
        self.assertEqual(query("select schedule from underway.schedule_stats"), [("close_library",)])
        self.assertEqual(
            query("select (retry_policy).max_attempts from underway.queue_stats where queue = 'quick'"), [(2,)]
        )

    def test_projects_that_skip_migrations_in_tests_have_the_schema(self):
        output("migrate", "underway", "zero")
        with override_settings(MIGRATION_MODULES={"underway": None}):
            output("migrate", run_syncdb=True)
        self.assertEqual(query(INSTALLED), [(1,)])
        output("migrate", "underway", fake=True)

    def test_a_schema_that_belongs_to_somebody_else_is_left_alone(self):
        query("update underway.installation set functions = 'of an older package'")
        query("create role guest")
        try:
            query("grant select, insert on all tables in schema public to guest")
            query("set role guest")
            output("migrate")
        finally:
            query("reset role")
            query("drop owned by guest")
            query("drop role guest")
        self.assertEqual(query("select functions from underway.installation"), [("of an older package",)])
        output("migrate")


class OtherDatabase(TransactionTestCase):
    databases = ("default", "other")

    def test_only_the_database_of_the_application_has_the_schema(self):
        self.assertEqual(query("select to_regnamespace('underway')", alias="other"), [(None,)])
        lend_book.enqueue(book=1)
        self.assertEqual(query("select count(*) from underway.task_list"), [(1,)])

    def test_an_application_on_another_database_enqueues_there(self):
        with override_settings(UNDERWAY={"DATABASE": "other"}):
            other = DjangoApp()
        job = other.job(lend_book.function)
        schema.migrate(other.dsn)
        try:
            with self.assertRaises(ZeroDivisionError), transaction.atomic(using="other"):
                job.enqueue(book=1)
                raise ZeroDivisionError
            job.enqueue(book=2)
            self.assertEqual(
                query("select input from underway.task_list l, underway.task_info(l.id)", alias="other"),
                [('{"book": 2}',)],
            )
            self.assertEqual(states(), [])
        finally:
            query("drop schema underway cascade", alias="other")


class Settings(SimpleTestCase):
    def problems(self, underway):
        with override_settings(UNDERWAY=underway):
            return [(each.id, each.message) for each in read_settings().problems]

    def test_right_settings_have_no_problems(self):
        self.assertEqual(checks.check_settings(), [])
        for right in ({}, {"DATABASE": "other", "NAME": "shop", "QUEUES": [Queue(name="a")], "LIFESPAN": None}):
            self.assertEqual(self.problems(right), [])

    def test_wrong_settings_are_reported_with_their_values(self):
        for wrong, id, message in (
            (7, "E001", "UNDERWAY is 7"),
            ({"QUEUS": []}, "E002", "'QUEUS', which is unknown"),
            ({"DATABASE": "defualt"}, "E003", "'defualt' is not in DATABASES, which has default, other"),
            ({"NAME": 3}, "E003", "it is 3"),
            ({"QUEUES": ["a"]}, "E003", "one of it is 'a'"),
            ({"QUEUES": [Queue(name="a"), Queue(name="a")]}, "E003", "give each name once"),
            ({"MIDDLEWARE": [print]}, "E003", "built-in function print"),
            ({"LIFESPAN": 1}, "E003", "it is 1"),
        ):
            with self.subTest(wrong=wrong):
                ((found, text),) = self.problems(wrong)
                self.assertEqual(found, id)
                self.assertIn(message, text)

    def test_all_problems_are_listed_at_once_and_refuse_the_first_use(self):
        wrong = {"QUEUS": [], "NAME": 3, "MIDDLEWARE": ["library.measure.mesured"]}
        with override_settings(UNDERWAY=wrong):
            broken = DjangoApp()
            broken.configure()
        with mock.patch.object(checks, "app", broken):
            found = checks.check_settings()
        self.assertEqual([each.id for each in found], ["underway.E002", "underway.E003", "underway.E004"])
        self.assertEqual(found[0].hint, "Did you mean 'QUEUES'?")
        self.assertIn("library.measure.mesured", found[2].msg)
        with self.assertRaisesMessage(ImproperlyConfigured, "'QUEUS'"):
            _ = broken.client

    def test_another_database_than_postgresql_is_an_error(self):
        with mock.patch.object(type(connections["default"]), "vendor", "sqlite"):
            (found,) = checks.check_settings()
        self.assertEqual(
            (found.id, found.msg), ("underway.E005", "Underway needs PostgreSQL, and the database 'default' is sqlite")
        )
