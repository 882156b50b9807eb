"""TaskWaiter for tasks, without a database: what is open, when to look again, when to give up."""

from dataclasses import fields
from typing import Any

import pytest

from underway_pg.client.waiter import TaskWaiter
from underway_pg.errors import WaitTimeout
from underway_pg.models import State, TaskInfo


def task(id: int, state: State = "succeeded") -> TaskInfo:
    given: dict[str, Any] = {field.name: None for field in fields(TaskInfo)}
    return TaskInfo(**{**given, "id": id, "state": state})


def test_it_is_time_to_look_when_the_last_open_task_is_heard_of() -> None:
    waiting = TaskWaiter([1, 2, 3], None)
    waiting.note([task(2)])
    waiting.listen()
    assert [waiting.hear(payload) for payload in ("1", "1", "2", "4", "", "x", "-3", "3")] == [False] * 7 + [True]


def test_what_was_heard_counts_until_the_next_look_only() -> None:
    waiting = TaskWaiter([1, 2], None)
    waiting.listen()
    assert not waiting.hear("1")
    waiting.note([])
    waiting.listen()
    assert not waiting.hear("2")
    assert waiting.hear("1")


def test_a_task_that_was_retried_before_it_was_read_stays_open() -> None:
    waiting = TaskWaiter([1, 2], None)
    waiting.note([task(1, "pending"), task(2, "failed")])
    assert waiting.open == [1]
    waiting.note([task(1)])
    assert waiting.open == []
    assert [(id, found.state) for id, found in waiting.final.items()] == [(1, "succeeded"), (2, "failed")]


def test_a_task_that_is_given_twice_is_one() -> None:
    assert TaskWaiter([3, 1, 3], None).open == [3, 1]


def test_one_listens_for_a_second_at_most_and_not_beyond_the_time() -> None:
    assert TaskWaiter([1], None).listen() == 1
    assert TaskWaiter([1], 60).listen() == 1
    assert 0.4 < TaskWaiter([1], 0.5).listen() <= 0.5
    with pytest.raises(WaitTimeout, match=r"^task 1 was not final after 0 s; it goes on$"):
        TaskWaiter([1], 0).listen()
