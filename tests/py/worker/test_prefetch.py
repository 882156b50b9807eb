"""The state machine that decides how much to claim, when to be idle, and when to look again. No database, no loop."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from underway_pg.worker.prefetch import Lane, Prefetch, Step
from underway_pg.worker.settings import WorkerSettings


class Claims:
    """A worker's claims at times that the test chooses."""

    def __init__(self, **settings: Any) -> None:
        self.settings = WorkerSettings(**{"queues": ["q"], **settings})
        self.prefetch = Prefetch(self.settings)
        self.lane, *self.others = Lane.of(self.settings)

    def claim(self, count: int, room: int = 10, at: float = 100.0, *, retried: bool = False) -> Step:
        self.prefetch.claiming(self.lane, at)
        step = self.prefetch.claimed(self.lane, count, room, at, retried=retried)
        if step.idle is not None:
            self.prefetch.declared(step.idle)
        return step

    def tick(self, pause: float, at: float = 100.0, *, forced: bool = False, full: bool = False) -> tuple[Step, float]:
        return self.prefetch.ticked(pause, at, forced=forced, full=full)

    def room(self, at: float = 100.0) -> int:
        return self.prefetch.room(self.lane, at)


# How many


def test_a_worker_that_knows_no_durations_claims_as_many_tasks_as_it_has_slots() -> None:
    assert Claims(concurrency=7).room() == 7


def test_running_and_waiting_tasks_leave_less_room() -> None:
    claims = Claims(concurrency=7)
    claims.lane.running = 4
    assert claims.room() == 3


@pytest.mark.parametrize(
    ("mean", "room"), [(10.0, 10), (1.0, 12), (0.25, 20), (0.025, 110), (0.0001, 1000)], ids=lambda value: str(value)
)
def test_short_tasks_are_prefetched_for_the_time_that_is_set(mean: float, room: int) -> None:
    claims = Claims(concurrency=10, prefetch_seconds=0.25)
    claims.prefetch.ended(mean)
    assert claims.room() == room


def test_nothing_is_prefetched_where_that_is_turned_off() -> None:
    claims = Claims(concurrency=10, prefetch_seconds=0)
    claims.prefetch.ended(0.001)
    assert claims.room() == 10


def test_a_buffer_that_is_half_full_is_not_filled_up() -> None:
    claims = Claims(concurrency=10, prefetch_seconds=0.25)
    claims.prefetch.ended(0.025)  # 100 ahead
    claims.lane.running = 10
    claims.lane.ready = deque([None] * 51)  # type: ignore[list-item]
    assert claims.room() == 0
    claims.lane.ready.pop()
    assert claims.room() == 50


def test_after_a_task_that_is_retried_nothing_is_prefetched_for_a_while() -> None:
    claims = Claims(concurrency=10, prefetch_seconds=0.25, cautious_for=1.0)
    claims.prefetch.ended(0.025)
    claims.claim(1, retried=True, at=100.0)
    assert (claims.room(at=100.9), claims.room(at=101.1)) == (10, 110)


def test_tasks_that_waited_in_the_buffer_for_too_long_end_the_prefetching() -> None:
    claims = Claims(concurrency=10, prefetch_seconds=0.25, release_prefetched_after=1.0)
    claims.prefetch.ended(0.001)
    claims.prefetch.waited()
    assert claims.room() == 12


def test_a_lane_without_a_queue_has_no_room() -> None:
    claims = Claims()
    claims.lane.serving = []
    assert claims.room() == 0


def test_each_queue_with_a_concurrency_of_its_own_has_a_lane() -> None:
    claims = Claims(queues={"email": 20, "reports": 2})
    lanes = [claims.lane, *claims.others]
    assert [(lane.queues, claims.prefetch.room(lane, 100.0)) for lane in lanes] == [(["email"], 20), (["reports"], 2)]


# Idle or busy


def test_a_claim_that_finds_too_little_declares_the_worker_idle_and_claims_once_more() -> None:
    assert Claims().claim(3) == Step(idle=True, claim=True)


def test_an_idle_worker_that_finds_nothing_sleeps() -> None:
    claims = Claims()
    claims.claim(0)
    assert claims.claim(0) == Step()


def test_a_full_claim_is_followed_by_another_while_there_is_room() -> None:
    claims = Claims(concurrency=20)
    assert claims.claim(10) == Step(claim=True)
    claims.lane.running = 20
    assert claims.claim(10) == Step()
    assert claims.lane.backlog_likely


def test_a_worker_is_declared_busy_only_after_full_claims_for_a_while() -> None:
    claims = Claims(busy_after=0.5)
    claims.claim(0, at=100.0)
    assert claims.claim(10, at=100.4).idle is None
    assert claims.claim(10, at=100.6).idle is False
    assert claims.claim(10, at=100.7).idle is None


def test_a_worker_that_was_removed_from_the_list_declares_itself_idle_again() -> None:
    claims = Claims()
    claims.claim(0)
    assert claims.prefetch.forgotten() == Step(claim=True)
    assert claims.claim(0) == Step(idle=True, claim=True)


# When to look again


def test_a_notification_that_leads_to_nothing_asks_what_is_due() -> None:
    claims = Claims()
    claims.claim(0)
    assert claims.prefetch.notified() == Step(claim=True)
    assert claims.claim(0) == Step(tick=True)
    assert claims.claim(0) == Step()


def test_a_due_task_that_cannot_be_claimed_is_looked_for_again_after_a_pause() -> None:
    claims = Claims(recheck_locked_after=0.02)
    claims.claim(0)
    assert claims.tick(0.0) == (Step(claim=True), 1.0)
    assert claims.claim(0) == Step(tick_after=0.02)


def test_a_due_task_that_was_claimed_asks_for_the_next_one() -> None:
    claims = Claims()
    claims.claim(0)
    claims.tick(0.0)
    assert claims.claim(1) == Step(tick=True)


def test_a_tick_waits_until_the_next_task_is_due() -> None:
    claims = Claims(idle_claim_interval=30.0)
    claims.claim(0, at=100.0)
    assert claims.tick(0.3, at=110.0) == (Step(), 0.3)


def test_an_idle_worker_claims_now_and_then_to_learn_that_its_queue_was_dropped() -> None:
    claims = Claims(idle_claim_interval=30.0)
    claims.claim(0, at=100.0)
    assert claims.tick(0.3, at=131.0) == (Step(claim=True), 0.3)


def test_a_full_worker_does_not_ask_what_is_due_in_the_meantime() -> None:
    assert Claims(poll_interval=2.0).tick(0.1, full=True) == (Step(claim=True), 2.0)


# Draining


def test_a_draining_worker_stops_only_after_the_maintenance_has_brought_nothing() -> None:
    claims = Claims(drain=True)
    claims.claim(0)
    assert claims.prefetch.found_nothing() == Step(tick=True)
    assert claims.prefetch.wants_maintenance
    assert claims.tick(0.5, forced=True)[0] == Step(claim=True)
    claims.claim(0)
    assert claims.prefetch.found_nothing() == Step(stop=True)


def test_a_draining_worker_goes_on_when_the_maintenance_has_brought_a_task() -> None:
    claims = Claims(drain=True)
    claims.claim(0)
    claims.prefetch.found_nothing()
    claims.tick(0.5, forced=True)
    claims.claim(1)
    assert claims.prefetch.found_nothing() == Step(tick=True)
