"""TaskWaiter, without a database: which tasks are open, how the waiting ends, and when to give up."""

from dataclasses import fields
from typing import Any

import pytest

from underway_pg.client.waiter import TaskWaiter
from underway_pg.errors import TaskNotFound, WaitTimeout
from underway_pg.models import State, TaskInfo


def task(id: int, state: State = "succeeded") -> TaskInfo:
    given: dict[str, Any] = {field.name: None for field in fields(TaskInfo)}
    return TaskInfo(**{**given, "id": id, "state": state})


def test_a_task_that_was_retried_before_it_was_read_stays_open() -> None:
    waiter = TaskWaiter([1, 2])
    waiter.record(task(1, "pending"))
    waiter.record(task(2, "failed"))
    assert waiter.open == {1}
    assert not waiter.done
    waiter.record(task(1))
    assert waiter.done
    assert [(id, found.state) for id, found in waiter.final.items()] == [(1, "succeeded"), (2, "failed")]


def test_the_first_final_state_of_a_task_counts() -> None:
    waiter = TaskWaiter([1, 2])
    for state in ("failed", "succeeded"):
        waiter.record(task(1, state))  # type: ignore[arg-type]
    assert waiter.final[1].state == "failed"


def test_a_task_that_is_given_twice_is_one() -> None:
    assert TaskWaiter([3, 1, 3]).tasks == [3, 1]


def test_each_final_task_is_announced_once() -> None:
    announced: list[int] = []
    waiter = TaskWaiter([1, 2], on_final=lambda task: announced.append(task.id))
    for found in (task(2), task(1, "pending"), task(2), task(3)):
        waiter.record(found)
    assert announced == [2]


def test_waiting_that_failed_is_done_and_raises_its_error() -> None:
    waiter = TaskWaiter([1])
    waiter.fail(TaskNotFound("task 1 does not exist"))
    assert waiter.done
    with pytest.raises(TaskNotFound):
        _ = waiter.final


def test_the_time_left_ends_with_an_error_that_names_the_tasks() -> None:
    assert TaskWaiter([1]).seconds_left() is None
    assert 59 < (TaskWaiter([1], 60).seconds_left() or 0) <= 60
    with pytest.raises(WaitTimeout, match=r"^task 1 was not final after 0 s; it goes on$"):
        TaskWaiter([1], 0).seconds_left()
