"""The failover scenario that shows most, in a short form: `make shards` runs all of them, with 20,000 tasks each."""

from __future__ import annotations

from tests.shards import failover


def test_a_primary_that_is_killed_loses_no_task_and_runs_none_twice() -> None:
    outcome = failover.SCENARIOS["kill_server"]("kill_server", failover.SHORT)
    assert outcome.complaints == []
    assert outcome.acknowledged >= failover.SHORT.tasks
