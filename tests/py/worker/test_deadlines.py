"""What is due for attempts, and when. No database."""

from __future__ import annotations

import asyncio
import struct
import time
import weakref
from collections.abc import Iterable
from typing import Any

from underway_pg.models import ClaimedTask
from underway_pg.worker.attempt import Attempt, AttemptState, Environment
from underway_pg.worker.deadlines import DeadlineHeap, Deadlines
from underway_pg.worker.executors.loop import LoopExecutor
from underway_pg.worker.settings import WorkerSettings
from underway_pg.worker.shared import Shared


def interval(seconds: float) -> bytes:
    return struct.pack("!qii", int(seconds * 1_000_000), 0, 0)


def attempt(id: int = 1, *, timeout: float = 60.0, heartbeat: float = 30.0, claimed_at: float = 0.0) -> Attempt:
    fields: dict[str, Any] = dict.fromkeys(ClaimedTask._fields)
    fields |= {"id": id, "timeout": interval(timeout), "heartbeat": interval(heartbeat), "attempt": 1}
    return Attempt(ClaimedTask(**fields), Environment(), claimed_at)


def test_a_lease_is_due_after_a_third_of_its_heartbeat_and_a_timeout_at_its_time() -> None:
    held = {one := attempt(timeout=25, heartbeat=30)}
    heap = DeadlineHeap(held.__contains__)
    heap.add(0.5, [one])
    assert heap.pop(9.9) == ([], [])
    for due, at in (([], [one]), 10.0), (([], [one]), 20.0), (([one], []), 25.0):
        assert heap.next_at == at
        assert heap.pop(at) == due
    assert heap.next_at == 30.0


def test_an_attempt_that_is_looked_at_for_two_reasons_is_due_once() -> None:
    held = {one := attempt(heartbeat=30)}
    heap = DeadlineHeap(held.__contains__)
    for _ in range(3):
        heap.add(1.0, [one])
    assert heap.pop(1.0) == ([], [])
    assert heap.pop(10.0) == ([], [one])


def test_an_attempt_that_is_not_held_any_more_is_dropped() -> None:
    held = {one := attempt(1), other := attempt(2)}
    heap = DeadlineHeap(held.__contains__)
    heap.add(0.5, [one, other])
    held.discard(one)
    assert heap.pop(1.0) == ([], [])
    held.discard(other)
    assert heap.pop(20.0) == ([], [])
    assert heap.next_at == float("inf")


def test_an_attempt_whose_result_waits_is_renewed_and_does_not_time_out() -> None:
    held = {one := attempt(timeout=5, heartbeat=30)}
    one.state = AttemptState.ENDED
    heap = DeadlineHeap(held.__contains__)
    heap.add(5.0, [one])
    assert heap.pop(6.0) == ([], [])
    assert heap.pop(10.0) == ([], [one])


def test_renewing_many_leases_takes_time_in_proportion_to_their_number() -> None:
    def seconds(count: int) -> float:
        attempts = [attempt(id, claimed_at=id / count) for id in range(count)]
        held = set(attempts)
        heap = DeadlineHeap(held.__contains__)
        heap.add(0.5, attempts)
        started_at = time.process_time()
        for step in range(100):
            heap.pop(9.5 + step / 50)
        return time.process_time() - started_at

    seconds(100)
    few, many = (min(seconds(count) for _ in range(3)) for count in (1_000, 10_000))
    assert many < 40 * max(few, 0.001)


def test_an_attempt_that_has_ended_soon_after_its_claim_is_not_kept_in_memory() -> None:
    async def main() -> None:
        nothing: Any = None
        shared = Shared.of(WorkerSettings(queues="q"), "w", nothing, {})
        deadlines = Deadlines("w", shared, LoopExecutor(nothing, shared.held), nothing)
        one = attempt(claimed_at=time.monotonic())
        shared.held.add(one)
        deadlines.claimed([one], one.claimed_at)
        shared.held.discard(one)
        reference = weakref.ref(one)
        del one
        assert reference() is None

    asyncio.run(main())


def test_an_attempt_gets_its_entry_in_time_for_its_timeout() -> None:
    async def main(timeout: float) -> float:
        nothing: Any = None
        shared = Shared.of(WorkerSettings(queues="q"), "w", nothing, {})
        expired: asyncio.Queue[list[Attempt]] = asyncio.Queue()
        deadlines = Deadlines("w", shared, LoopExecutor(nothing, shared.held), expired.put_nowait)
        deadlines.start()
        for age in (0.4, 0.0):  # the thread looks for the older one when the other one is too young for an entry
            now = time.monotonic()
            shared.held.add(one := attempt(timeout=timeout, claimed_at=now))
            deadlines.claimed([one], now)
            await asyncio.sleep(age)
        try:
            await asyncio.wait_for(expired.get(), 5)
            (last,) = await asyncio.wait_for(expired.get(), 5)
            assert last is one
            return time.monotonic() - one.claimed_at
        finally:
            deadlines.close()

    for timeout in (0.2, 1.1):
        assert timeout <= asyncio.run(main(timeout)) < timeout + 2


def test_a_loop_that_answers_while_its_blocking_is_reported_ends_no_thread() -> None:
    class AnswersMeanwhile(LoopExecutor):
        def running_now(self, attempts: Iterable[Attempt]) -> None:
            deadlines._answer(0.0)

    nothing: Any = None
    deadlines: Deadlines = nothing

    async def main() -> None:
        nonlocal deadlines
        shared = Shared.of(WorkerSettings(queues="q", block_warning=0.0), "w", nothing, {})
        shared.held.add(attempt())
        deadlines = Deadlines("w", shared, AnswersMeanwhile(nothing, shared.held), nothing)
        deadlines._check_loop()  # asks the loop, which cannot answer
        deadlines._check_loop()  # reports it

    asyncio.run(main())
