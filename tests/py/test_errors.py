"""The exceptions follow the list of translate_errors in the database."""

import pickle
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import underway_pg
from underway_pg import errors
from underway_pg.errors import (
    DatabaseRefusal,
    MissingPrivilege,
    QueueNotFound,
    SchemaMissing,
    TaskNotFound,
    translate_errors,
)


def test_there_is_one_class_for_each_refusal(database: str) -> None:
    with psycopg.connect(database) as connection:
        listed = connection.execute("select sqlstate, name, meaning from underway.error_code").fetchall()
    expected = {
        sqlstate: ("".join(word.capitalize() for word in name.split("_")), meaning)
        for sqlstate, name, meaning in listed
    }
    assert {code: (kind.__name__, kind.__doc__) for code, kind in DatabaseRefusal.by_sqlstate.items()} == expected


def test_the_tree_at_the_top_of_the_module_names_every_exception() -> None:
    described = set(re.findall(r"\b[A-Z]\w+[a-z]\w*", (errors.__doc__ or "").split("UnderwayError", 1)[1]))
    public = {name for name in errors.__all__ if name[0].isupper()} - {"UnderwayError"}
    assert public <= described


def test_a_refusal_keeps_message_hint_and_cause(database: str) -> None:
    with psycopg.connect(database) as connection, pytest.raises(QueueNotFound) as caught, translate_errors():
        connection.execute("select underway.enqueue('emial')")
    assert caught.value.message == "queue 'emial' does not exist"
    assert caught.value.hint == "Create it first: select underway.create_queue('emial');"
    assert isinstance(caught.value.__cause__, psycopg.Error)


def test_a_database_without_the_schema_is_told_from_other_errors(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        with pytest.raises(SchemaMissing, match="underway migrate"), translate_errors():
            connection.execute("select underway.enqueue('email')")
        with pytest.raises(psycopg.errors.UndefinedTable), translate_errors():
            connection.execute("select * from nowhere")


@pytest.mark.parametrize(
    ("role", "call"),
    [
        ("pg_monitor", lambda app: app.client.enqueue("default", {})),
        ("pg_monitor", lambda app: app.task(1)),
        ("underway_producer", lambda app: app.task(1)),
        ("underway_producer", lambda app: app.client.queues()),
        ("underway_observer", lambda app: app.client.pause_queue("default")),
    ],
)
def test_a_missing_right_is_an_error_of_psycopg_alone(database: str, role: str, call: Any) -> None:
    with underway_pg.App(make_conninfo(database, options=f"-c role={role}")) as app:
        with pytest.raises(
            MissingPrivilege, match=r"permission denied for .*: .*`grant underway_producer to"
        ) as caught:
            call(app)
        assert isinstance(caught.value, psycopg.errors.InsufficientPrivilege)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), MissingPrivilege)


def test_any_other_lack_of_rights_is_said_to_be_one_in_the_schema(database: str) -> None:
    with psycopg.connect(database, options="-c role=underway_worker", autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught, translate_errors():
            connection.execute("create role another")
        assert not isinstance(caught.value, MissingPrivilege)


def test_a_task_that_is_not_committed_yet_is_said_never_to_have_been(database: str) -> None:
    with underway_pg.App(database) as app, psycopg.connect(database) as connection:
        app.client.create_queue(underway_pg.Queue(name="default"))
        work = app.job(name="work")(lambda: None)
        task = work.using(connection).enqueue()
        with pytest.raises(TaskNotFound, match="or its transaction is not committed yet"):
            task.wait(1)


def in_order(names: list[str]) -> list[str]:
    """Constants, then classes, then functions."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_what_the_package_offers_is_sorted_and_there() -> None:
    assert underway_pg.__all__ == in_order(underway_pg.__all__)
    assert all(hasattr(underway_pg, name) for name in underway_pg.__all__)
    for path in Path(underway_pg.__file__).parent.rglob("*.py"):
        listed = re.search(r"^__all__ = \[(.*?)\]", path.read_text(), re.M | re.S)
        if listed:
            names = re.findall(r'"(\w+)"', listed[1])
            assert names == in_order(names), path.name
