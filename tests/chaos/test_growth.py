"""What counts as growth in a soak."""

import random

import pytest

from tests.chaos.growth import ALLOWED, grown


@pytest.mark.parametrize("name", ALLOWED)
def test_what_goes_up_and_down_does_not_grow(name: str) -> None:
    chance = random.Random(1)
    warming_up = [1.0] * 10
    assert grown({name: warming_up + [100 + chance.uniform(-4, 4) for _ in range(50)]}) == []


@pytest.mark.parametrize(("name", "end"), [(name, 100_000.0 if name == "dead rows" else 1000.0) for name in ALLOWED])
def test_what_goes_up_all_the_time_grows(name: str, end: float) -> None:
    (sentence,) = grown({name: [100 + (end - 100) * number / 60 for number in range(60)]})
    assert sentence.startswith(f"{name} has grown from ")


def test_a_single_peak_is_no_growth() -> None:
    series = [100.0] * 60
    series[57] = 10_000.0
    assert grown({"connections": series}) == []


def test_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="take at least 12"):
        grown({"connections": [1.0] * 11})
