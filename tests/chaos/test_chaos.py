"""The scenarios in a short form, or with UNDERWAY_LONG in their long one: nothing is lost, and nothing is doubled."""

import os

import pytest

from tests.chaos.arena import LONG, SHORT
from tests.chaos.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_and_nothing_is_doubled(name: str) -> None:
    scale = LONG if os.environ.get("UNDERWAY_LONG") else SHORT
    outcome = SCENARIOS[name](name, scale)
    assert outcome.complaints == []
    assert outcome.report.tasks + outcome.report.lost_with_primary >= scale.tasks
