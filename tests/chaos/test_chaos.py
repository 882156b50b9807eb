"""The scenarios in a short form, or with UNDERWAY_LONG in their long one: nothing is lost, and nothing is doubled.

`make test` runs a few of them, `make check` all.
"""

import os

import pytest

from tests.chaos.arena import LONG, SHORT, Arena, Scale, run
from tests.chaos.scenarios import SCENARIOS, cluster

# Those that show most of the others' faults: a worker dies, a server dies, connections fall silent.
ALWAYS = ("calm", "kill_workers", "restart_server", "black_hole")


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.thorough) for name in SCENARIOS]
)
def test_nothing_is_lost_and_nothing_is_doubled(name: str) -> None:
    scale = LONG if os.environ.get("UNDERWAY_LONG") else SHORT
    outcome = SCENARIOS[name](name, scale)
    assert outcome.complaints == []
    assert outcome.report.tasks + outcome.report.lost_with_primary >= scale.tasks


def test_a_worker_that_is_started_last_is_there_before_it_is_told_to_stop() -> None:
    def trouble(arena: Arena) -> None:
        arena.workers.start()

    with cluster() as server:
        outcome = run("late", Scale(tasks=6, trouble=0.0, drain=60.0), trouble, cluster=server)
    assert (outcome.complaints, outcome.report.tasks) == ([], 6)
