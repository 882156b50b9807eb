"""The options of a new task as arguments of a call and as a JSON object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from ..errors import InputError
from ..settings import NewTask, OptionMapping, Options
from ._base import convert_each, dump_json, short
from ._literals import composite, id_array

__all__ = ["given_options", "option_arguments", "task_object", "task_objects"]

_OPTIONS: dict[str, tuple[Any, OptionMapping]] = {
    field.name: (field.default, field.metadata["sql"]) for field in fields(Options)
}

# Values that have another form as a parameter than in a JSON object, by their type in SQL.
_AS_PARAMETER: dict[str, Callable[[Any], str]] = {
    "text::underway.retry_policy": composite,
    "text::bigint[]": id_array,
}


def given_options(options: Options) -> list[tuple[OptionMapping, Any]]:
    """The options that differ from their defaults, with their values as JSON. Most tasks have few of them."""
    given = []
    for name, (default, mapping) in _OPTIONS.items():
        value = getattr(options, name)
        if value is not default and value != default:
            if mapping.if_time is not None and isinstance(value, datetime):
                mapping = mapping.if_time
            given.append((mapping, value if mapping.as_json is None else mapping.as_json(value)))
    return given


def option_arguments(options: Options, job: str | None) -> tuple[str, dict[str, Any]]:
    """The options as arguments of a call, and their parameters; only those that are given, because each one costs."""
    sql, parameters = [], {}
    if job is not None:
        sql.append(", job => %(job)s")
        parameters["job"] = job
    for mapping, value in given_options(options):
        sql.append(f", {mapping.argument} => %({mapping.argument})s::{mapping.cast}")
        convert = _AS_PARAMETER.get(mapping.cast)
        if convert is not None:
            value = convert(value)
        parameters[mapping.argument] = dump_json(value) if isinstance(value, dict) else value
    return "".join(sql), parameters


def task_objects(tasks: Iterable[NewTask]) -> str:
    """Tasks as the JSON array that the database takes."""
    return dump_json(convert_each("task", tasks, task_object))


def task_object(task: NewTask) -> dict[str, Any]:
    """A task as the JSON object that the database takes."""
    if not isinstance(task, NewTask):
        raise InputError(f"{short(task)} is not a NewTask; make one with Job.task")
    given = {"queue": task.queue, "input": task.input, "job": task.job}
    given = {name: value for name, value in given.items() if value is not None or name == "input"}
    return given | {mapping.argument: value for mapping, value in given_options(task.options)}
